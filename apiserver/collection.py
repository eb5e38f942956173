"""A collection of documents: the rules of writing, apart from HTTP.

Used by DocumentEndpoint for requests, and directly by programs that live in the same process as the server.
Each method takes the decision and publishes the change; reading, deciding and publishing happen without a
pause in between, except around ``Strategy.admit``, after which the state is checked again.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from apis.record import Change
from apiserver import errors
from apiserver.documents import Document, full_object, stripped
from apiserver.fieldvalidation import check_unknown_fields
from apiserver.resources import Object, ResourceInfo
from apiserver.selection import Selection, object_of
from apiserver.stores import Key, Stored, Stores
from apiserver.strategy import Operation, Strategy

_log = logging.getLogger(__name__)

Mutation = Callable[[Object], Object]
"""From the present object (with kind, apiVersion, resourceVersion; a copy) to the one that is wanted."""

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_MUTATION_TRIES = 5
# What only the server sets: an update that says otherwise is not refused but overruled.
_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Collection:
    """The objects of one kind. Documents returned are records of the store: not to be changed."""

    def __init__(self, info: ResourceInfo, stores: Stores, strategy: Strategy | None = None) -> None:
        self.info = info
        self.stores = stores
        self.strategy = strategy or Strategy()
        stores.add(info.store)

    # --- reading ---

    def find(self, namespace: str, name: str) -> Stored | None:
        return self.stores.get(self.info.store, (namespace if self.info.namespaced else "", name))

    def get(self, namespace: str, name: str) -> Stored:
        """Raises NotFound."""
        stored = self.find(namespace, name)
        if stored is None:
            raise errors.not_found(self.info, name)
        return stored

    def read(self, namespace: str, name: str) -> Object:
        """A copy that may be changed, with kind, apiVersion and resourceVersion. Raises NotFound."""
        return copy.deepcopy(self.present(self.get(namespace, name)))

    def present(self, stored: Stored) -> Object:
        """As a client sees it. Shared: not to be changed."""
        return full_object(self.info, object_of(stored.record), stored.version)

    def items(self, selection: Selection | None = None) -> list[Stored]:
        return [stored for _, stored in self.stores.items(self.info.store, selection)]

    # --- writing ---

    async def create(self, document: Object, namespace: str = "", op: Operation | None = None) -> Stored:
        """Stores a new object. Raises AlreadyExists, Invalid, BadRequest."""
        op = op or Operation()
        strategy, info = self.strategy, self.info
        if document.get("metadata", {}).get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        check_unknown_fields(info, document, op)
        body = stripped(document)
        metadata = body["metadata"]
        self._place(metadata, namespace)
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(field, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated(namespace, str(metadata["generateName"]))
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now_text()
        metadata.pop("generation", None)
        if strategy.generation:
            metadata["generation"] = 1
        if strategy.status_subresource:
            body.pop("status", None)
        with self.understood():
            strategy.default(body)
            strategy.prepare_for_create(body, op)
            found = strategy.validate_metadata(body) or strategy.validate(body, op)
        self._check(body, found)
        key: Key = (metadata.get("namespace", ""), metadata["name"])
        if self.stores.get(info.store, key) is not None:
            raise errors.already_exists(info, key[1])
        await strategy.admit("create", body, None, op)
        if self.stores.get(info.store, key) is not None:
            raise errors.already_exists(info, key[1])
        return self._commit(key, None, _tidy(body), op)

    async def update(
        self,
        namespace: str,
        name: str,
        mutate: Mutation,
        op: Operation | None = None,
        subresource: str = "",
    ) -> Stored:
        """Replaces an object by what ``mutate`` makes of it. Raises NotFound, Conflict, Invalid.

        A mutation whose result carries the version that it was given (a patch) is repeated when somebody else
        was faster; one with another version (a PUT of something read earlier) is a Conflict.
        """
        op = op or Operation()
        for attempt in range(_MUTATION_TRIES):
            stored = self.get(namespace, name)
            wanted = mutate(copy.deepcopy(self.present(stored)))
            body = self._updated(stored, wanted, op, subresource)
            old = object_of(stored.record)
            if body == old:
                return stored
            await self.strategy.admit("update", body, old, op)
            current = self.find(namespace, name)
            if current is not None and current.version == stored.version:
                return self._finish_update((stored.record.namespace, name), stored, body, op)
            if attempt == _MUTATION_TRIES - 1 or current is None:
                break
        self.get(namespace, name)
        raise errors.modified_conflict(self.info, name)

    def _updated(self, stored: Stored, wanted: Object, op: Operation, subresource: str) -> Object:
        """The document to be stored, checked."""
        info, strategy = self.info, self.strategy
        old = object_of(stored.record)
        name = stored.record.name
        given = wanted.get("metadata", {})
        if (given.get("name") or name) != name:
            raise errors.bad_request(
                f"the name of the object ({given.get('name')}) does not match the name on the URL ({name})"
            )
        version = str(given.get("resourceVersion") or "")
        if not version and not strategy.unconditional_update:
            text = "Invalid value: 0: must be specified for an update"
            raise errors.invalid(
                info.kind,
                info.group,
                name,
                [errors.FieldError("FieldValueInvalid", "metadata.resourceVersion", text)],
            )
        if version and version != "0" and version != str(stored.version):
            raise errors.modified_conflict(info, name)
        if given.get("uid") and given["uid"] != stored.record.uid:
            raise errors.conflict(info, name, _wrong_uid(given["uid"], stored))
        check_unknown_fields(info, wanted, op)
        body = stripped(wanted)
        self._place(body["metadata"], stored.record.namespace)
        body["metadata"]["name"] = name
        old_metadata = old["metadata"]
        for key in _SERVER_METADATA:
            if key in old_metadata:
                body["metadata"][key] = old_metadata[key]
            else:
                body["metadata"].pop(key, None)
        if subresource == "status":
            managed = body["metadata"].get("managedFields")
            body = copy.deepcopy(old) | ({"status": body["status"]} if "status" in body else {})
            if managed is not None:
                body["metadata"]["managedFields"] = managed
            with self.understood():
                strategy.prepare_for_status_update(body, old, op)
                found = strategy.validate_status_update(body, old, op)
            self._check(body, found)
            return _tidy(body)
        if strategy.status_subresource and not subresource:
            body.pop("status", None)
            if "status" in old:
                body["status"] = copy.deepcopy(old["status"])
        with self.understood():
            strategy.default(body)
            strategy.prepare_for_update(body, old, op)
            found = strategy.validate_metadata(body) or strategy.validate_update(body, old, op)
        self._check(body, found)
        if strategy.generation and _spec_of(body) != _spec_of(old):
            body["metadata"]["generation"] = old_metadata.get("generation", 0) + 1
        return _tidy(body)

    def _finish_update(self, key: Key, stored: Stored, body: Object, op: Operation) -> Stored:
        metadata = body["metadata"]
        if (
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
            and self.strategy.may_vanish(body)
        ):
            self._remove(key, stored, body, op)
            return Stored(Document(body), self.stores.version)
        return self._commit(key, stored, body, op)

    async def delete(
        self, namespace: str, name: str, options: Object | None = None, op: Operation | None = None
    ) -> tuple[Stored, bool]:
        """Deletes, or starts to: returns the last state and whether it is gone. Raises NotFound, Conflict."""
        op = op or Operation()
        options = options or {}
        stored = self.get(namespace, name)
        key = (stored.record.namespace, name)
        self._check_preconditions(stored, options)
        await self.strategy.admit("delete", None, object_of(stored.record), op)
        stored = self.get(namespace, name)
        body = copy.deepcopy(object_of(stored.record))
        metadata = body["metadata"]
        requested = options.get("gracePeriodSeconds")
        with self.understood():
            grace = max(0, self.strategy.grace_seconds(body, requested))
        finalizers = self._finalizers(list(metadata.get("finalizers") or ()), options)
        deleting = bool(metadata.get("deletionTimestamp"))
        if deleting:
            grace = min(grace, metadata.get("deletionGracePeriodSeconds") or 0)
        if not grace and not finalizers and self.strategy.may_vanish(body):
            self._remove(key, stored, body, op)
            return stored, True
        if not deleting or grace < (metadata.get("deletionGracePeriodSeconds") or 0):
            at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + grace, UTC)
            if not deleting or grace == 0:
                metadata["deletionTimestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata["deletionGracePeriodSeconds"] = grace
            if self.strategy.generation and not deleting:
                metadata["generation"] = metadata.get("generation", 0) + 1
        if finalizers:
            metadata["finalizers"] = finalizers
        self.strategy.mark_deleted(body)
        if body == object_of(stored.record):
            return stored, False
        return self._commit(key, stored, _tidy(body), op), False

    def _finalizers(self, finalizers: list[str], options: Object) -> list[str]:
        """With those that a propagation policy asks for: the garbage collector takes them off again."""
        policy = options.get("propagationPolicy") or ""
        if options.get("orphanDependents") is not None:
            policy = "Orphan" if options["orphanDependents"] else "Background"
        if policy not in ("", "Orphan", "Background", "Foreground"):
            raise errors.invalid(
                "DeleteOptions",
                "",
                "",
                [errors.not_supported("propagationPolicy", policy, ("Foreground", "Background", "Orphan"))],
            )
        policy = policy or self.strategy.default_propagation
        wanted = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}.get(policy)
        kept = [name for name in finalizers if name not in ("orphan", "foregroundDeletion") or name == wanted]
        return kept if wanted is None or wanted in kept else [*kept, wanted]

    def _check_preconditions(self, stored: Stored, options: Object) -> None:
        conditions = options.get("preconditions") or {}
        name = stored.record.name
        uid, version = conditions.get("uid"), conditions.get("resourceVersion")
        if uid is not None and uid != stored.record.uid:
            raise errors.conflict(self.info, name, _wrong_uid(uid, stored))
        if version is not None and version != str(stored.version):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {version}, "
                f"ResourceVersion in object meta: {stored.version}"
            )
            raise errors.conflict(self.info, name, why)

    def put(self, document: Object) -> Stored:
        """Stores a whole object as it is (uid, times and status included): for loading saved state."""
        body = stripped(document)
        self._place(body["metadata"], body["metadata"].get("namespace", ""))
        key: Key = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
        return self._commit(key, self.stores.get(self.info.store, key), _tidy(body), Operation())

    # --- steps ---

    def _place(self, metadata: Object, namespace: str) -> None:
        if not self.info.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace") not in (None, "", namespace):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace

    def _generated(self, namespace: str, prefix: str) -> str:
        for _ in range(8):
            name = prefix[:58] + "".join(random.choices(_SUFFIX, k=5))
            if self.find(namespace, name) is None:
                return name
        return name

    @contextlib.contextmanager
    def understood(self) -> Iterator[None]:
        """Around all that reads what a client wrote: a wrong shape is the client's error."""
        try:
            yield
        except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
            kind = self.info.kind
            _log.info("%s not understood", kind, exc_info=error)
            raise errors.bad_request(
                f'{kind} in version "{self.info.version}" cannot be handled as a {kind}: {error}'
            ) from error

    def _check(self, body: Object, found: list[errors.FieldError]) -> None:
        if found:
            name = str(body["metadata"].get("name") or body["metadata"].get("generateName") or "")
            raise errors.invalid(self.info.kind, self.info.group, name, found)

    def _commit(self, key: Key, stored: Stored | None, body: Object, op: Operation) -> Stored:
        record = Document(body)
        if op.dry_run:
            return Stored(record, stored.version if stored is not None else 0)
        old = stored.record if stored is not None else None
        version = self.stores.publish([Change(self.info.store, old, record)])
        self.strategy.written(object_of(old) if old is not None else None, body)
        return Stored(record, version)

    def _remove(self, key: Key, stored: Stored, body: Object, op: Operation) -> None:
        if not op.dry_run:
            self.stores.publish([Change(self.info.store, stored.record, None)])
            self.strategy.written(object_of(stored.record), None)


def _wrong_uid(given: str, stored: Stored) -> str:
    return f"Precondition failed: UID in precondition: {given}, UID in object meta: {stored.record.uid}"


def _spec_of(document: Object) -> Object:
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}


def _tidy(document: Object) -> Object:
    """Without metadata that is empty, as Go's omitempty leaves it out."""
    metadata = document["metadata"]
    for key in [k for k, v in metadata.items() if v is None or v in ({}, [], "")]:
        del metadata[key]
    return document
