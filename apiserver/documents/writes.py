"""The steps of a write: begun, changed, admitted, checked, committed.

`begin`, `admit` and `commit` look at the registry and belong to the event loop's thread. `change` and `check`
are pure: they only touch the write itself, so that those of large objects can be done in another thread.
Programs of the process take all steps at once (`run`); a client's write may wait between them (see
`pending`), and `commit` raises `Outrun` when the object is not the one any more that it began with.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apis.record import Media
from apiserver import errors
from apiserver.documents import clock, deletion
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind, clone
from apiserver.documents.metadata import validate_metadata, validate_metadata_update
from apiserver.documents.operation import Operation, Result, generate_name
from apiserver.documents.record import Document
from apiserver.documents.refusals import check_uid, info_for, refuse
from apiserver.resources import Object
from apiserver.stores import Stored

if TYPE_CHECKING:
    from apiserver.documents.registry import Registry

_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
)


class Outrun(Exception):
    """Somebody else has written the object meanwhile: begin again."""


class Write:
    """What all writes have. ``kind`` is that of the version in which the writer speaks."""

    def __init__(self, registry: Registry, kind: Kind, operation: Operation) -> None:
        self.registry = registry
        self.kind = kind
        self.operation = operation
        self.stored: Stored | None = None  # the object as it was when the write began
        self.kept: Object | None = None  # the new object in the form of the store; None: as it is

    @property
    def key(self) -> tuple[str, str]:
        return (self.operation.namespace if self.kind.namespaced else "", self.operation.name)

    @property
    def size(self) -> int:
        """Bytes of the object that is there."""
        if self.stored is None:
            return 0
        return len(self.stored.record.encode(Media.JSON, None, str(self.stored.version)))

    def begin(self) -> None:
        self.stored = self.registry.stores.get(self.kind.resource, self.key)
        if self.stored is None:
            raise errors.not_found(info_for(self.kind), self.operation.name)
        self.operation.old = self._present

    @property
    def _present(self) -> Object:
        assert self.stored is not None
        record = self.stored.record
        assert isinstance(record, Document)
        return record.document

    def change(self) -> None:
        """Makes the new object."""

    def admit(self) -> None:
        for admission in self.registry.admissions:
            admission(self.kind, self.operation)

    def remake(self) -> None:
        """After a reviewer has changed ``operation.new``: what the kind demands of any new object."""

    def check(self) -> None:
        """Validates the new object. Raises StatusError."""

    def commit(self) -> Result:
        """Publishes. Raises Outrun."""
        raise NotImplementedError

    def _check_still_there(self) -> None:
        if self.registry.stores.get(self.kind.resource, self.key) is not self.stored:
            raise Outrun

    def run(self) -> Result:
        """All steps at once."""
        self.begin()
        self.change()
        self.admit()
        self.check()
        return self.commit()


class Creation(Write):
    def __init__(
        self, registry: Registry, kind: Kind, obj: Object, operation: Operation | None, status: Object | None
    ) -> None:
        metadata = obj.setdefault("metadata", {})
        operation = operation or Operation("create", metadata.get("namespace", ""), "", None, None)
        super().__init__(registry, kind, operation)
        operation.new = obj
        self._status = status

    def begin(self) -> None:
        assert self.operation.new is not None
        metadata = self.operation.new["metadata"]
        if metadata.pop("resourceVersion", ""):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        for key in _SERVER_METADATA:
            metadata.pop(key, None)
        if not self.kind.namespaced:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._free_name(metadata)
        self.operation.name = metadata.get("name", "")

    def _free_name(self, metadata: Object) -> str:
        for _ in range(8):
            name = generate_name(metadata["generateName"])
            key = (metadata.get("namespace", ""), name)
            if self.registry.stores.get(self.kind.resource, key) is None:
                break
        return name

    def change(self) -> None:
        assert self.operation.new is not None
        self.kind.default(self.operation.new)

    def remake(self) -> None:
        self.change()

    def check(self) -> None:
        obj = self.operation.new
        assert obj is not None
        kind, metadata = self.kind, obj["metadata"]
        kind.prepare_create(obj)
        if self._status is not None:
            obj["status"] = self._status
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = clock.stamp()
        if kind.tracks_generation:
            metadata["generation"] = 1
        problems = FieldErrors()
        validate_metadata(metadata, kind.namespaced, kind.check_name, problems)
        kind.validate(obj, problems)
        if problems:
            raise refuse(kind, metadata.get("name", ""), problems)
        self.operation.warnings += kind.warnings(obj)

    def commit(self) -> Result:
        obj = self.operation.new
        assert obj is not None
        kind, metadata = self.kind, obj["metadata"]
        key = (metadata.get("namespace", ""), metadata.get("name", ""))
        if self.registry.stores.get(kind.resource, key) is not None:
            raise errors.already_exists(info_for(kind), key[1])
        if self.operation.dry_run:
            return Result(obj, 0)
        result = self.registry.publish(kind, None, self.kept if self.kept is not None else obj)
        return Result(obj, result.version)


class Update(Write):
    def __init__(
        self,
        registry: Registry,
        kind: Kind,
        operation: Operation,
        change: Callable[[Object, int], Object],
        unconditional: bool,
    ) -> None:
        super().__init__(registry, kind, operation)
        self._change = change
        self._unconditional = unconditional

    def change(self) -> None:
        kind, operation = self.kind, self.operation
        old = operation.old
        assert old is not None
        assert self.stored is not None
        version, name = self.stored.version, operation.name
        new = self._change(clone(old), version)
        metadata = new.setdefault("metadata", {})
        given = metadata.pop("resourceVersion", "")
        check_uid(kind, name, metadata.get("uid") or None, old)
        if given and given != str(version):
            raise errors.modified_conflict(info_for(kind), name)
        if not given and not self._unconditional and not kind.allows_unconditional_update:
            problems = FieldErrors()
            problems.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise refuse(kind, name, problems)
        operation.new = new
        self.remake()

    def remake(self) -> None:
        kind, operation = self.kind, self.operation
        new, old = operation.new, operation.old
        assert new is not None
        assert old is not None
        metadata = new["metadata"]
        _keep_server_metadata(metadata, old["metadata"])
        if operation.subresource == "status":
            managed = metadata.get("managedFields")
            kept = kind.prepare_status_update(new, old)
            new = {**kept, "metadata": dict(old["metadata"])}
            if managed is not None:
                new["metadata"]["managedFields"] = managed
            operation.new = new
        kind.default(new)
        if not operation.subresource:
            kind.prepare_update(new, old)

    def check(self) -> None:
        kind, operation = self.kind, self.operation
        new, old, subresource = operation.new, operation.old, operation.subresource
        assert new is not None
        assert old is not None
        metadata = new["metadata"]
        written = subresource in ("", "status")  # what else there is, is the cluster's choice, not a writer's
        if kind.tracks_generation and written and kind.generation_part(new) != kind.generation_part(old):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        problems = FieldErrors()
        validate_metadata_update(metadata, old["metadata"], problems)
        if subresource == "status":
            kind.validate_status(new, old, problems)
        elif not subresource:
            kind.validate_update(new, old, problems)
        if problems:
            raise refuse(kind, operation.name, problems)
        operation.warnings += kind.warnings(new) if not subresource else []

    def commit(self) -> Result:
        self._check_still_there()
        new, old, dry_run = self.operation.new, self.operation.old, self.operation.dry_run
        assert new is not None
        assert old is not None
        assert self.stored is not None
        kept = self.kept if self.kept is not None else new
        version = self.stored.version
        if deletion.finished(self.kind, new):
            if not dry_run:
                version = self.registry.publish(self.kind, kept, None).version
            return Result(new, version)
        if _same(new, old):
            return Result(old, version)
        if dry_run:
            return Result(new, version)
        return Result(new, self.registry.publish(self.kind, self._present, kept).version)


class Deletion(Write):
    """Afterwards ``gone`` says whether the object is; it may have to wait for its end."""

    def __init__(self, registry: Registry, kind: Kind, operation: Operation, options: Object) -> None:
        super().__init__(registry, kind, operation)
        self._options = options
        self._new: Object | None = None
        self.gone = False

    def begin(self) -> None:
        super().begin()
        assert self.stored is not None
        version = self.stored.version
        deletion.check_preconditions(self.kind, self.operation.name, self._present, version, self._options)

    def change(self) -> None:
        self._new = deletion.begun(self.kind, self._present, self._options)

    def commit(self) -> Result:
        self._check_still_there()
        assert self.stored is not None
        registry, old, new = self.registry, self._present, self._new
        if new is None:
            self.gone = True
            if not self.operation.dry_run:
                registry.publish(self.kind, old, None)
            return Result(old, registry.stores.version)
        if _same(new, old):
            return Result(old, self.stored.version)
        if self.operation.dry_run:
            return Result(new, self.stored.version)
        return registry.publish(self.kind, old, new)


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
