"""Collection by ownerReferences: background, foreground, orphan.

The graph keeps, for each owner's uid, the keys of its dependents. A dependent goes when its last owner has
gone; an owner with the finalizer foregroundDeletion waits for the dependents that block it; one with the
finalizer orphan lets go of its dependents first. References to owners that never existed count as gone ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from apiserver.documents.kind import Kind
from apiserver.documents.metadata import FOREGROUND, ORPHAN
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.reactor import Reactor

Key = tuple[str, str, str]  # resource, namespace, name


class GarbageCollector:
    def __init__(self, registry: Registry, reactor: Reactor) -> None:
        self._registry = registry
        self._reactor = reactor
        self._dependents: dict[str, set[Key]] = {}
        self._present: set[str] = set()  # uids of all objects
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        metadata = obj["metadata"]
        key = (kind.resource, metadata.get("namespace", ""), metadata["name"])
        uid = metadata["uid"]
        before, after = _owner_uids(old), _owner_uids(new)
        for owner in before - after:
            dependents = self._dependents.get(owner)
            if dependents is not None:
                dependents.discard(key)
                if not dependents:
                    del self._dependents[owner]
                if owner in self._present:
                    self._owner_soon(old, owner)
        for owner in after - before:
            self._dependents.setdefault(owner, set()).add(key)
        if new is None:
            self._present.discard(uid)
            for dependent in self._dependents.get(uid, ()):
                self._dependent_soon(dependent)
            return
        self._present.add(uid)
        if after - before:
            self._dependent_soon(key)
        if metadata.get("deletionTimestamp") and {ORPHAN, FOREGROUND} & set(metadata.get("finalizers", ())):
            self._reactor.soon(("owner", *key), lambda: self._sync_owner(key))

    def _owner_soon(self, dependent: Object | None, uid: str) -> None:
        """A dependent has gone: an owner that waits for it may go on."""
        for reference in (dependent or {}).get("metadata", {}).get("ownerReferences", ()):
            if reference.get("uid") == uid:
                owner = self._find(reference, (dependent or {})["metadata"].get("namespace", ""))
                if owner is not None:
                    self._reactor.soon(("owner", *owner), functools.partial(self._sync_owner, owner))

    def _dependent_soon(self, key: Key) -> None:
        self._reactor.soon(("dependent", *key), lambda: self._sync_dependent(key))

    def _find(self, reference: Object, namespace: str) -> Key | None:
        """The key of the referenced object, if it is here under that uid."""
        kind = self._registry.kind_of(reference.get("apiVersion", ""), reference.get("kind", ""))
        if kind is None:
            return None
        where = namespace if kind.namespaced else ""
        obj = self._registry.get(kind.resource, where, reference.get("name", ""))
        if obj is None or obj["metadata"]["uid"] != reference.get("uid"):
            return None
        return (kind.resource, where, reference["name"])

    def _known_kind(self, reference: Object) -> bool:
        return self._registry.kind_of(reference.get("apiVersion", ""), reference.get("kind", "")) is not None

    def _sync_dependent(self, key: Key) -> None:
        """Deletes an object whose owners have all gone, or takes the gone ones off its list."""
        resource, namespace, name = key
        obj = self._registry.get(*key)
        kind = self._registry.kinds.get(resource)
        if obj is None or kind is None:
            return
        references = obj["metadata"].get("ownerReferences", ())
        if not references or obj["metadata"].get("deletionTimestamp"):
            return
        alive, waiting = [], False
        for reference in references:
            if not self._known_kind(reference):
                alive.append(reference)  # of a kind that is not served here: not ours to judge
                continue
            owner = self._find(reference, namespace)
            if owner is None:
                continue
            document = self._registry.get(*owner)
            metadata = document["metadata"] if document is not None else {}
            if metadata.get("deletionTimestamp") and FOREGROUND in metadata.get("finalizers", ()):
                waiting = True
                continue
            alive.append(reference)
        if not alive:
            policy = (
                "Foreground" if waiting and self._dependents.get(obj["metadata"]["uid"]) else "Background"
            )
            self._delete(kind, namespace, name, obj["metadata"]["uid"], policy)
        elif len(alive) < len(references) and not waiting:
            self._change(kind, namespace, name, lambda metadata: metadata.update(ownerReferences=alive))

    def _sync_owner(self, key: Key) -> None:
        resource, namespace, name = key
        obj = self._registry.get(*key)
        kind = self._registry.kinds.get(resource)
        if obj is None or kind is None or not obj["metadata"].get("deletionTimestamp"):
            return
        uid, finalizers = obj["metadata"]["uid"], obj["metadata"].get("finalizers", ())
        dependents = sorted(self._dependents.get(uid, ()))
        if ORPHAN in finalizers:
            for dependent in dependents:
                self._disown(dependent, uid)
            self._drop_finalizer(kind, namespace, name, ORPHAN)
        elif FOREGROUND in finalizers:
            blocking = False
            for dependent in dependents:
                document = self._registry.get(*dependent)
                if document is None:
                    continue
                blocking |= any(
                    reference.get("uid") == uid and reference.get("blockOwnerDeletion")
                    for reference in document["metadata"].get("ownerReferences", ())
                )
                self._sync_dependent(dependent)
            if not blocking or not self._dependents.get(uid):
                self._drop_finalizer(kind, namespace, name, FOREGROUND)

    def _disown(self, key: Key, uid: str) -> None:
        kind = self._registry.kinds.get(key[0])
        if kind is None:
            return

        def without(metadata: Object) -> None:
            metadata["ownerReferences"] = [
                r for r in metadata.get("ownerReferences", ()) if r.get("uid") != uid
            ]

        self._change(kind, key[1], key[2], without)

    def _drop_finalizer(self, kind: Kind, namespace: str, name: str, finalizer: str) -> None:
        def without(metadata: Object) -> None:
            metadata["finalizers"] = [f for f in metadata.get("finalizers", ()) if f != finalizer]

        self._change(kind, namespace, name, without)

    def _change(self, kind: Kind, namespace: str, name: str, edit: Callable[[Object], Any]) -> None:
        def change(obj: Object, _version: int) -> Object:
            edit(obj["metadata"])
            return obj

        try:
            self._registry.update(kind, namespace, name, change, unconditional=True)
        except StatusError as error:
            if error.code != 404:
                raise

    def _delete(self, kind: Kind, namespace: str, name: str, uid: str, policy: str) -> None:
        options = {"preconditions": {"uid": uid}, "propagationPolicy": policy}
        try:
            self._registry.delete(kind, namespace, name, options)
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _owner_uids(obj: Object | None) -> set[str]:
    if obj is None:
        return set()
    return {reference.get("uid", "") for reference in obj["metadata"].get("ownerReferences", ())}
