"""What the registry asks of a kind. Servers subclass `Kind` for each kind that they keep.

Objects are JSON documents (dicts) without kind and apiVersion. Methods work on the document in place where
they prepare, and only read where they validate. None of them does I/O or looks at other objects; rules that
need other objects are the registry's admission.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.schema import decode
from apiserver.documents.shape import MergedShape, SchemaShape, Shape
from apiserver.resources import WRITE_VERBS, Object


class Heading(NamedTuple):
    """A column of `kubectl get`; what stands in it is `Kind.cells`' affair."""

    name: str
    type: str = "string"
    priority: int = 0  # 1 and above: only with -o wide
    format: str = ""


def clone(value: Any) -> Any:
    """A deep copy of JSON data, several times faster than copy.deepcopy."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


class Kind:
    """Identity and behaviour of one resource in one version. The methods here are those of a kind without
    peculiarities."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    list_kind: str = ""  # default: the kind and "List"
    verbs: tuple[str, ...] = WRITE_VERBS
    schema: Object | None = None  # OpenAPI v3, for custom resources
    custom: bool = False  # a custom resource: no strategic merge patch, items of lists carry their kind
    has_status: bool = False  # writes to the object keep its status, writes to /status keep all else
    tracks_generation: bool = False
    allows_unconditional_update: bool = True
    creates_on_update: bool = False  # PUT of an object that is not there creates it
    returns_deleted: bool = False  # DELETE answers with the object instead of a Status
    deprecation: str = ""  # what clients of this version are warned of
    checks_slowly: bool = False  # validation of even a small object may take long: it is done off the loop

    @property
    def resource(self) -> str:
        """The unique name of the resource: `pods`, `networkpolicies.networking.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def decode(self, document: Object) -> tuple[Object, list[str]]:
        """The document as the kind keeps it, and the fields it does not know. DecodeError: wrong types."""
        return decode(document, self.schema, self.api_version, self.kind)

    def check_name(self, name: str) -> list[str]:
        return formats.dns_subdomain(name)

    def default(self, obj: Object) -> None:
        """Fills in what the writer left out."""

    def prepare_create(self, obj: Object) -> None:
        """Drops what a client may not set on creation."""
        if self.has_status:
            obj.pop("status", None)

    def prepare_update(self, new: Object, old: Object) -> None:
        """Takes over from the old object what an update of the main resource may not change."""
        if self.has_status:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)

    def prepare_status_update(self, new: Object, old: Object) -> Object:
        """An update of the status subresource: everything but status stays."""
        result = dict(old)
        if "status" in new:
            result["status"] = new["status"]
        else:
            result.pop("status", None)
        return result

    def generation_part(self, obj: Object) -> Any:
        """The generation moves when this differs: by default the spec."""
        return obj.get("spec")

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        """Everything but metadata."""

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        self.validate(new, errors)

    def validate_status(self, new: Object, old: Object, errors: FieldErrors) -> None:
        """Of an update of the status subresource."""

    def warnings(self, obj: Object) -> list[str]:
        return []

    # --- how objects go away ---

    def grace_seconds(self, obj: Object, requested: int | None) -> int:
        """How long the object lives on after DELETE (pods: until their kubelet has stopped them)."""
        return 0

    def may_vanish(self, obj: Object) -> bool:
        """Whether a deleted object can be removed as far as the kind is concerned (namespaces:
        spec.finalizers)."""
        return True

    def mark_deleted(self, obj: Object) -> None:
        """Prepares an object that is being deleted but stays for now (namespaces: status.phase)."""

    # --- what is seen of objects ---

    def fields(self, obj: Object) -> dict[str, str]:
        """What field selectors can ask for, besides metadata.name and metadata.namespace."""
        return {}

    @property
    def columns(self) -> Sequence[Heading] | None:
        """Of `kubectl get`; None stands for Name and Created At."""
        return None

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        """What stands in the columns."""
        return []

    def shape(self) -> Shape:
        """How objects are made up, for field ownership."""
        if self.schema is not None:
            return SchemaShape(self.schema, root=True)
        return MergedShape(self.kind)
