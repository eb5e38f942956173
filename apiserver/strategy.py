"""What is particular about a kind that clients write: defaults, validation, what may change, how it goes
away.

``Strategy`` does what Kubernetes does for a kind without peculiarities. A kind with some overrides the
methods that it needs. Documents given to these methods carry no kind, apiVersion and resourceVersion;
``default``, ``prepare_*`` may change the one they are given in place (never ``old``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apiserver.auth import User
from apiserver.errors import FieldError, invalid_value, required
from apiserver.names import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    LABEL_TEXT,
    SUBDOMAIN_TEXT,
    label_value_problem,
    qualified_name_problem,
)
from apiserver.resources import Object

ANNOTATIONS_LIMIT = 256 * 1024


@dataclass(slots=True)
class Operation:
    """On whose behalf something is written, and how."""

    user: User = field(default_factory=lambda: User("system:apiserver", ("system:masters",)))
    field_manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Ignore"  # Strict, Warn, Ignore
    warnings: list[str] = field(default_factory=list)
    force: bool = False  # of a server-side apply


class Strategy:
    """The defaults. Attributes say what the kind has; methods are called by Collection."""

    status_subresource = False
    """Writes to the object keep its status, writes to /status keep all else."""

    unconditional_update = True
    """An update without a resourceVersion is taken; custom resources demand one."""

    generation = True
    """metadata.generation starts at 1 and moves when anything but metadata and status changes."""

    name_is_label = False
    """Names are RFC 1123 labels (namespaces, services) instead of subdomains."""

    free_names = False
    """Names are only path segments (RBAC, events): anything without "/" and "%"."""

    return_deleted = False
    """DELETE answers the object instead of a Status."""

    strategic_merge = True
    """Strategic merge patches are taken; custom resources refuse them."""

    default_propagation = "Background"

    def default(self, document: Object) -> None:
        """Fills in what the client left out. Also called on the result of every update."""

    def prepare_for_create(self, document: Object, op: Operation) -> None:
        """Sets what only the server may set."""

    def prepare_for_update(self, document: Object, old: Object, op: Operation) -> None:
        """Resets what this update may not change."""

    def prepare_for_status_update(self, document: Object, old: Object, op: Operation) -> None:
        """The same for /status, after everything but the status has been reset."""

    def validate(self, document: Object, op: Operation) -> list[FieldError]:
        return []

    def validate_update(self, document: Object, old: Object, op: Operation) -> list[FieldError]:
        return self.validate(document, op)

    def validate_status_update(self, document: Object, old: Object, op: Operation) -> list[FieldError]:
        return []

    async def admit(self, operation: str, document: Object | None, old: Object | None, op: Operation) -> None:
        """Last word before something is stored (create, update, delete); raises StatusError to refuse, and
        may change the document. The only method that may wait."""

    def grace_seconds(self, document: Object, requested: int | None) -> int:
        """How long the object lives on after DELETE (Pods: until kubelet has stopped them)."""
        return 0

    def may_vanish(self, document: Object) -> bool:
        """Whether a deleted object can be removed as far as the kind is concerned (Namespaces:
        spec.finalizers)."""
        return True

    def mark_deleted(self, document: Object) -> None:
        """Called when deletion starts but the object stays (Namespaces: status.phase becomes Terminating)."""

    def written(self, old: Object | None, new: Object | None) -> None:
        """Called after every change has been published, for those who follow up on it."""

    # --- names and metadata, the same for all kinds ---

    def validate_name(self, name: str, path: str = "metadata.name") -> list[FieldError]:
        if not name:
            return [required(path, "name or generateName is required")]
        if self.free_names:
            if name in (".", ".."):
                return [invalid_value(path, name, f"may not be '{name}'")]
            return [invalid_value(path, name, f"may not contain '{sign}'") for sign in "/%" if sign in name]
        limit, pattern, text = (
            (63, DNS_LABEL, LABEL_TEXT) if self.name_is_label else (253, DNS_SUBDOMAIN, SUBDOMAIN_TEXT)
        )
        if len(name) > limit:
            return [invalid_value(path, name, f"must be no more than {limit} characters")]
        return [] if pattern.match(name) else [invalid_value(path, name, text)]

    def validate_metadata(self, document: Object) -> list[FieldError]:
        """Name, labels, annotations and finalizers, as Kubernetes validates ObjectMeta."""
        metadata = document["metadata"]
        found = self.validate_name(str(metadata.get("name") or ""))
        found += validate_labels(metadata.get("labels"), "metadata.labels")
        annotations = metadata.get("annotations") or {}
        found += _string_map(annotations, "metadata.annotations")
        if not found:
            for key in annotations:
                found += validate_qualified_name(key.lower(), "metadata.annotations", shown=key)
            if sum(len(k) + len(v) for k, v in annotations.items()) > ANNOTATIONS_LIMIT:
                text = f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
                found.append(FieldError("FieldValueTooLong", "metadata.annotations", text))
        for index, name in enumerate(metadata.get("finalizers") or []):
            found += validate_qualified_name(str(name), f"metadata.finalizers[{index}]")
        return found


def _string_map(value: Any, path: str) -> list[FieldError]:
    if not isinstance(value, dict):
        return [invalid_value(path, value, "must be a map of strings")]
    return [
        invalid_value(f"{path}[{k}]", v, "must be a string")
        for k, v in value.items()
        if not isinstance(v, str)
    ]


def validate_qualified_name(name: str, path: str, shown: str = "") -> list[FieldError]:
    """``[prefix/]name``, as keys of labels and annotations and finalizers are."""
    problem = qualified_name_problem(name)
    return [] if problem is None else [invalid_value(path, shown or name, problem)]


def validate_label_value(value: str, path: str) -> list[FieldError]:
    problem = label_value_problem(value)
    return [] if problem is None else [invalid_value(path, value, problem)]


def validate_labels(labels: Any, path: str) -> list[FieldError]:
    """A map of labels. Also for label maps inside specs."""
    if not labels:
        return []
    found = _string_map(labels, path)
    if found:
        return found
    for key, value in labels.items():
        found += validate_qualified_name(key, path)
        found += validate_label_value(value, path)
    return found


def immutable(document: Object, old: Object, paths: Sequence[str]) -> list[FieldError]:
    """Errors for those of the dotted paths whose value has changed."""
    return [
        invalid_value(path, value_at(document, path), "field is immutable")
        for path in paths
        if value_at(document, path) != value_at(old, path)
    ]


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document
