"""The objects of the cluster and the rules of writing them.

Every write goes through here, whoever writes: a client over HTTP, a controller of this process, a manifest.
All of it is synchronous: an operation reads, decides and publishes without giving way, so two writers never
see a half-done one. Observers are told of each change after it has been published; they must not write at
once but queue what follows (see lab.api.reactor), so that changes stay in order.

Stored documents have no kind, apiVersion and resourceVersion, and are never changed in place.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apis.record import Change
from apiserver import errors
from apiserver.documents import Document
from apiserver.errors import StatusError
from apiserver.resources import ResourceInfo
from apiserver.stores import Stored, Stores
from lab.api import clock
from lab.api.kinds.kind import Kind, Object, clone
from lab.api.validation.errors import FieldErrors
from lab.api.validation.metadata import (
    FOREGROUND,
    ORPHAN,
    validate_metadata,
    validate_metadata_update,
)

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no lookalikes: generated names spell nothing
_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
)
Observer = Callable[[Kind, Object | None, Object | None], None]
Admission = Callable[[Kind, "Operation"], None]


class Result(NamedTuple):
    """An object after a write, and its version."""

    document: Object
    version: int


@dataclass(slots=True)
class Operation:
    """What admission sees and may change: `new` in place."""

    verb: str  # create, update or delete
    namespace: str
    name: str
    new: Object | None
    old: Object | None
    subresource: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)


def info_for(kind: Kind) -> ResourceInfo:
    """Just enough for error messages."""
    return ResourceInfo(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)


def refuse(kind: Kind, name: str, problems: FieldErrors) -> StatusError:
    """422 with one cause for each field."""
    details: Object = {"name": name} if name else {}
    if kind.group:
        details["group"] = kind.group
    details.update(kind=kind.kind, causes=problems.causes())
    message = f'{kind.qualified_kind} "{name}" is invalid: {problems.text()}'
    return StatusError(422, "Invalid", message, details)


def _wrong_uid(given: str, old: Object) -> str:
    return f"Precondition failed: UID in precondition: {given}, UID in object meta: {old['metadata']['uid']}"


def generate_name(prefix: str) -> str:
    return prefix[:58] + "".join(random.choices(_SUFFIX, k=5))


class Registry:
    """``journal`` gets (resource, namespace, name, document or None, version) before anybody is told."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.kinds: dict[str, Kind] = {}  # by resource name; several versions of a custom resource share one
        self.journal: Callable[[str, str, str, Object | None, int], None] = lambda *_: None
        self._observers: list[Observer] = []
        self._admissions: list[Admission] = []

    # --- composition ---

    def add_kind(self, kind: Kind) -> None:
        self.kinds[kind.resource] = kind
        self.stores.add(kind.resource)

    def remove_kind(self, resource: str) -> None:
        self.kinds.pop(resource, None)
        self.stores.drop(resource)

    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def admit(self, admission: Admission) -> None:
        self._admissions.append(admission)

    def kind_of(self, api_version: str, kind: str) -> Kind | None:
        group = api_version.rpartition("/")[0]
        for candidate in self.kinds.values():
            if candidate.kind == kind and candidate.group == group:
                return candidate
        return None

    # --- reading ---

    def stored(self, resource: str, namespace: str, name: str) -> Stored | None:
        return self.stores.get(resource, (namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The stored document, not to be changed, or None."""
        stored = self.stores.get(resource, (namespace, name))
        return stored.record.document if stored is not None else None  # type: ignore[attr-defined]

    def items(self, resource: str, namespace: str | None = None) -> Iterator[Object]:
        for (where, _), stored in self.stores.items(resource):
            if namespace is None or where == namespace:
                yield stored.record.document  # type: ignore[attr-defined]

    def namespace_active(self, name: str) -> bool:
        namespace = self.get("namespaces", "", name)
        return namespace is not None and not namespace["metadata"].get("deletionTimestamp")

    def restore(self, resource: str, document: Object, version: int) -> None:
        """Takes over an object of an earlier process, version included. Observers see it as created."""
        kind = self.kinds[resource]
        self.stores.restore(resource, Document(document), version)
        for observer in self._observers:
            observer(kind, None, document)

    # --- writing ---

    def create(
        self, kind: Kind, obj: Object, operation: Operation | None = None, status: Object | None = None
    ) -> Result:
        """Creates the decoded object (the registry owns it from now on). Raises StatusError.

        ``status`` is for those who bring a state along (manifests): clients write it in a second step.
        """
        metadata = obj.setdefault("metadata", {})
        operation = operation or Operation(
            "create", metadata.get("namespace", ""), metadata.get("name", ""), obj, None
        )
        operation.new = obj
        if metadata.pop("resourceVersion", ""):
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        for key in _SERVER_METADATA:
            metadata.pop(key, None)
        if not kind.namespaced:
            metadata.pop("namespace", None)
        generated = not metadata.get("name") and bool(metadata.get("generateName"))
        if generated:
            metadata["name"] = self._free_name(kind, metadata)
        operation.name = metadata.get("name", "")
        kind.default(obj)
        for admission in self._admissions:
            admission(kind, operation)
        kind.prepare_create(obj)
        if status is not None:
            obj["status"] = status
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = clock.stamp()
        if kind.tracks_generation:
            metadata["generation"] = 1
        problems = FieldErrors()
        validate_metadata(metadata, kind.namespaced, kind.check_name, problems)
        kind.validate(obj, problems)
        name = metadata.get("name", "")
        if problems:
            raise refuse(kind, name, problems)
        operation.warnings += kind.warnings(obj)
        if self.stores.get(kind.resource, (metadata.get("namespace", ""), name)) is not None:
            raise errors.already_exists(info_for(kind), name)
        if operation.dry_run:
            return Result(obj, 0)
        return self._publish(kind, None, obj)

    def _free_name(self, kind: Kind, metadata: Object) -> str:
        for _ in range(8):
            name = generate_name(metadata["generateName"])
            if self.stores.get(kind.resource, (metadata.get("namespace", ""), name)) is None:
                break
        return name

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Object, int], Object],
        *,
        subresource: str = "",
        unconditional: bool = False,
        operation: Operation | None = None,
    ) -> Result:
        """Replaces an object by what ``change(current, version)`` returns (``current`` is a copy to modify).

        The result's metadata.resourceVersion, if any, must be the current version (Conflict otherwise).
        """
        stored = self.stores.get(kind.resource, (namespace, name))
        if stored is None:
            raise errors.not_found(info_for(kind), name)
        old: Object = stored.record.document  # type: ignore[attr-defined]
        new = change(clone(old), stored.version)
        metadata = new.setdefault("metadata", {})
        given = metadata.pop("resourceVersion", "")
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise errors.conflict(info_for(kind), name, _wrong_uid(uid, old))
        if given and given != str(stored.version):
            raise errors.modified_conflict(info_for(kind), name)
        if not given and not unconditional and not kind.allows_unconditional_update:
            problems = FieldErrors()
            problems.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise refuse(kind, name, problems)
        self._keep_server_metadata(metadata, old["metadata"])
        if subresource != "status":
            kind.default(new)
        operation = operation or Operation("update", namespace, name, new, old, subresource)
        operation.new, operation.old = new, old
        if subresource == "status":
            managed = metadata.get("managedFields")
            kept = kind.prepare_status_update(new, old)
            new = {**kept, "metadata": dict(old["metadata"])}
            if managed is not None:
                new["metadata"]["managedFields"] = managed
            kind.default(new)
            operation.new = new
        elif not subresource:
            kind.prepare_update(new, old)
        for admission in self._admissions:
            admission(kind, operation)
        metadata = new["metadata"]
        bound = subresource == "binding"  # a pod's node is the cluster's choice, not its writer's
        if kind.tracks_generation and not bound and kind.generation_part(new) != kind.generation_part(old):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        problems = FieldErrors()
        validate_metadata_update(metadata, old["metadata"], problems)
        if subresource == "status":
            kind.validate_status(new, old, problems)
        elif subresource not in ("binding", "finalize"):
            kind.validate_update(new, old, problems)
        if problems:
            raise refuse(kind, name, problems)
        operation.warnings += kind.warnings(new) if not subresource else []
        if self._finished(kind, new):
            if not operation.dry_run:
                self._publish(kind, new, None)
            return Result(new, stored.version if operation.dry_run else self.stores.version)
        if operation.dry_run or _same(new, old):
            return Result(new, stored.version)
        return self._publish(kind, old, new)

    @staticmethod
    def _keep_server_metadata(new: Object, old: Object) -> None:
        for key in _SERVER_METADATA:
            if key in old:
                new[key] = old[key]
            else:
                new.pop(key, None)
        new.setdefault("name", old["name"])
        if "namespace" in old:
            new.setdefault("namespace", old["namespace"])
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not new.get(key, True):
                del new[key]

    def _finished(self, kind: Kind, obj: Object) -> bool:
        """Whether a deleting object has nothing left to wait for."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
            return False
        if kind.resource == "namespaces":
            return not obj.get("spec", {}).get("finalizers")
        return not metadata.get("deletionGracePeriodSeconds")

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        options: Object | None = None,
        operation: Operation | None = None,
    ) -> tuple[Result, bool]:
        """Deletes or begins to; the flag says whether the object is gone. Raises StatusError."""
        options = options or {}
        stored = self.stores.get(kind.resource, (namespace, name))
        if stored is None:
            raise errors.not_found(info_for(kind), name)
        old: Object = stored.record.document  # type: ignore[attr-defined]
        self._check_preconditions(kind, name, old, stored.version, options)
        operation = operation or Operation("delete", namespace, name, None, old)
        operation.old = old
        for admission in self._admissions:
            admission(kind, operation)
        new = clone(old)
        metadata = new["metadata"]
        self._set_propagation(metadata, options)
        grace = self._grace(kind, old, options)
        deleting = bool(metadata.get("deletionTimestamp"))
        if kind.resource == "namespaces":
            new.setdefault("status", {})["phase"] = "Terminating"
        waits = bool(metadata.get("finalizers")) or (
            kind.resource == "namespaces" and bool(new["spec"].get("finalizers"))
        )
        if not waits and not grace:
            if not operation.dry_run:
                self._publish(kind, old, None)
            return Result(old, self.stores.version), True
        if not deleting:
            metadata["deletionTimestamp"] = clock.stamp(clock.now() + clock.datetime.timedelta(seconds=grace))
            if kind.resource != "namespaces":
                metadata["deletionGracePeriodSeconds"] = grace
            if metadata.get("generation"):
                metadata["generation"] += 1
        elif grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = clock.stamp(clock.now() + clock.datetime.timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
        if operation.dry_run or _same(new, old):
            return Result(new, stored.version), False
        return self._publish(kind, old, new), False

    @staticmethod
    def _check_preconditions(kind: Kind, name: str, old: Object, version: int, options: Object) -> None:
        wanted = options.get("preconditions") or {}
        uid = wanted.get("uid")
        if uid is not None and uid != old["metadata"]["uid"]:
            raise errors.conflict(info_for(kind), name, _wrong_uid(uid, old))
        given = wanted.get("resourceVersion")
        if given is not None and given != str(version):
            words = (
                f"Precondition failed: ResourceVersion in precondition: {given}, "
                f"ResourceVersion in object meta: {version}"
            )
            raise errors.conflict(info_for(kind), name, words)

    @staticmethod
    def _set_propagation(metadata: Object, options: Object) -> None:
        policy = options.get("propagationPolicy")
        if policy is None and options.get("orphanDependents") is not None:
            policy = "Orphan" if options["orphanDependents"] else "Background"
        if policy is None:
            return
        finalizers = [f for f in metadata.get("finalizers", ()) if f not in (ORPHAN, FOREGROUND)]
        if policy == "Orphan":
            finalizers.append(ORPHAN)
        elif policy == "Foreground":
            finalizers.append(FOREGROUND)
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]

    @staticmethod
    def _grace(kind: Kind, obj: Object, options: Object) -> int:
        """Only pods that a node has taken are deleted gracefully: their kubelet confirms with grace 0."""
        if kind.resource != "pods":
            return 0
        spec, status = obj.get("spec", {}), obj.get("status", {})
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        given = options.get("gracePeriodSeconds")
        grace = spec.get("terminationGracePeriodSeconds", 30) if given is None else given
        return 1 if grace < 0 else int(grace)

    def _publish(self, kind: Kind, old: Object | None, new: Object | None) -> Result:
        document = new if new is not None else old
        assert document is not None
        metadata = document["metadata"]
        before = Document(old) if old is not None else None
        after = Document(new) if new is not None else None
        version = self.stores.publish([Change(kind.resource, before, after)])
        self.journal(kind.resource, metadata.get("namespace", ""), metadata["name"], new, version)
        for observer in self._observers:
            observer(kind, old, new)
        return Result(document, version)


def _same(new: Object, old: Object) -> bool:
    """Equal but for the times in managedFields."""
    if new == old:
        return True
    if "managedFields" not in new["metadata"] and "managedFields" not in old["metadata"]:
        return False

    def bare(obj: Object) -> Any:
        managed = [
            {k: v for k, v in entry.items() if k != "time"}
            for entry in obj["metadata"].get("managedFields", ())
        ]
        return {**obj, "metadata": {**obj["metadata"], "managedFields": managed}}

    return bool(bare(new) == bare(old))
