"""The objects of a server and the rules of writing them.

Every write goes through here, whoever writes: a client over HTTP, a controller of this process, a manifest.
All of it is synchronous: an operation reads, decides and publishes without giving way, so two writers never
see a half-done one. Observers are told of each change after it has been published; they must not write at
once but queue what follows, so that changes stay in order.

Stored documents have no kind, apiVersion and resourceVersion, and are never changed in place.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from apis.record import Change
from apiserver import errors
from apiserver.documents import clock, deletion
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind, clone
from apiserver.documents.metadata import validate_metadata, validate_metadata_update
from apiserver.documents.operation import Admission, Observer, Operation, Result, generate_name
from apiserver.documents.record import Document
from apiserver.documents.refusals import check_uid, info_for, refuse
from apiserver.resources import Object
from apiserver.stores import Stored, Stores

_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
)


def document_of(stored: Stored) -> Object:
    """What is stored, not to be changed."""
    record = stored.record
    assert isinstance(record, Document)
    return record.document


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
        return document_of(stored) if stored is not None else None

    def items(self, resource: str, namespace: str | None = None) -> Iterator[Object]:
        for (where, _), stored in self.stores.items(resource):
            if namespace is None or where == namespace:
                yield document_of(stored)

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
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
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
        old = document_of(stored)
        new = change(clone(old), stored.version)
        metadata = new.setdefault("metadata", {})
        given = metadata.pop("resourceVersion", "")
        check_uid(kind, name, metadata.get("uid") or None, old)
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
            raise refuse(kind, name, problems)
        operation.warnings += kind.warnings(new) if not subresource else []
        if deletion.finished(kind, new):
            if not operation.dry_run:
                self._publish(kind, new, None)
            return Result(new, stored.version if operation.dry_run else self.stores.version)
        if _same(new, old):
            return Result(old, stored.version)
        if operation.dry_run:
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
        old = document_of(stored)
        deletion.check_preconditions(kind, name, old, stored.version, options)
        operation = operation or Operation("delete", namespace, name, None, old)
        operation.old = old
        for admission in self._admissions:
            admission(kind, operation)
        new = deletion.begun(kind, old, options)
        if new is None:
            if not operation.dry_run:
                self._publish(kind, old, None)
            return Result(old, self.stores.version), True
        if _same(new, old):
            return Result(old, stored.version), False
        if operation.dry_run:
            return Result(new, stored.version), False
        return self._publish(kind, old, new), False

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
