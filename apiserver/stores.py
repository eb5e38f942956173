"""Versioned in-memory stores: what is served, what has changed, and who is told.

``Stores`` holds every store of a process under one version counter. Whoever computes or accepts objects
calls ``publish`` with changes; each gets a version, enters the table and the history, and is offered to the
watchers that it concerns. Everything here is synchronous and belongs to the event loop's thread: a batch
that is published in one call is seen by all watchers at once, and a snapshot is exact for its version. A
batch that is too long for one call is published in parts between ``with stores.batch()``, and requests wait
for ``whole`` before they look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from apis.record import Change, Record
from apiserver.errors import expired
from apiserver.history import Entry, History
from apiserver.pace import Turns
from apiserver.selection import Selection
from apiserver.slices import Makers
from apiserver.snapshot import SharedFrames, Snapshot
from apiserver.snapshot import Stored as Stored
from apiserver.versions import Versions
from apiserver.watcher import Watcher

Key = tuple[str, str]


class _Store:
    """One resource's table and its watchers: those of a node under its name, the others apart."""

    __slots__ = ("_dirty", "_order", "by_node", "spanned", "table", "unscoped")

    def __init__(self) -> None:
        self.table: dict[Key, Stored] = {}
        self.unscoped: set[Watcher] = set()
        self.by_node: dict[str, set[Watcher]] = {}
        self.spanned: dict[str, set[Key]] = {}  # node → the objects in whose span it is
        self._order: list[Key] = []
        self._dirty = False  # whether the order is of another time

    def put(self, key: Key, stored: Stored, before: frozenset[str] | None) -> None:
        self._dirty = self._dirty or key not in self.table
        self.table[key] = stored
        after = stored.record.span
        if after is not before:
            self._respan(key, before or frozenset(), after or frozenset())

    def remove(self, key: Key, before: frozenset[str] | None) -> None:
        del self.table[key]
        self._dirty = True
        if before:
            self._respan(key, before, frozenset())

    def _respan(self, key: Key, before: frozenset[str], after: frozenset[str]) -> None:
        for node in after - before:
            self.spanned.setdefault(node, set()).add(key)
        for node in before - after:
            keys = self.spanned[node]
            keys.discard(key)
            if not keys:
                del self.spanned[node]

    def sorted_keys(self) -> list[Key]:
        """All keys in order, sorted again only after keys have come or gone."""
        if self._dirty:
            # Names are sorted apart for each namespace: plain strings sort several times faster than pairs.
            names: dict[str, list[str]] = {}
            for namespace, name in self.table:
                names.setdefault(namespace, []).append(name)
            self._order = [
                (namespace, name) for namespace in sorted(names) for name in sorted(names[namespace])
            ]
            self._dirty = False
        return self._order

    def candidates(self, selection: Selection) -> list[Stored]:
        """Objects among which are all that the selection wants, without looking at them."""
        if selection.node:
            table = self.table
            return [table[key] for key in self.spanned.get(selection.node, ())]
        return list(self.table.values())

    def watchers(self) -> Iterator[Watcher]:
        yield from self.unscoped
        for watchers in self.by_node.values():
            yield from watchers


class Stores:
    """All stores of a process. ``history_entries`` and ``history_bytes`` bound the ring of changes."""

    def __init__(
        self,
        versions: Versions | None = None,
        history_entries: int = 8192,
        history_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.versions = versions or Versions()
        self.history = History(self.versions.current, history_entries, history_bytes)
        self._stores: dict[str, _Store] = {}
        self.turns = Turns()  # in which the streams run
        self.frames = SharedFrames()
        self.makers = Makers(self.turns)
        self._whole = asyncio.Event()
        self._whole.set()
        self._marked: dict[str, set[Watcher]] = {}  # the multiplexed watches by node

    # --- the writers' side ---

    def add(self, name: str) -> None:
        """Makes a store; one that exists stays as it is."""
        self._stores.setdefault(name, _Store())

    def drop(self, name: str) -> None:
        """Removes a store with its objects and ends its watches (a custom resource that is gone)."""
        store = self._stores.pop(name, None)
        if store is not None:
            for watcher in list(store.watchers()):
                self.unwatch(watcher)
                watcher.close("the resource is no longer served")

    def restore(self, name: str, record: Record, version: int) -> None:
        """Puts in an object of an earlier process under its old version. Before anybody watches."""
        store = self._stores.setdefault(name, _Store())
        store.put((record.namespace, record.name), Stored(record, version), None)

    def publish(self, changes: Iterable[Change]) -> int:
        """Applies changes in order, each under a version of its own; returns the last version.

        What the table holds counts as the old state, whatever the change says: a change of a key that is not
        there becomes an addition, and the removal of one that is not there is nothing.
        """
        for change in changes:
            store = self._stores.get(change.resource)
            if store is None:
                store = self._stores[change.resource] = _Store()
            key = change.key
            previous = store.table.get(key)
            if previous is None and change.new is None:
                continue
            version = self.versions.next()
            old = previous.record if previous is not None else None
            old_version = previous.version if previous is not None else 0
            delta = change.delta if previous is not None and change.new is not None else None
            span = old.span if old is not None else None
            if change.new is None:
                store.remove(key, span)
            else:
                store.put(key, Stored(change.new, version), span)
            entry = Entry(self.history, version, change.resource, key, old, old_version, change.new, delta)
            self.history.append(entry)
            for watcher in store.unscoped:
                watcher.offer(entry)
            if store.by_node:
                self._offer_to_nodes(store, entry)
        return self.versions.current

    @staticmethod
    def _offer_to_nodes(store: _Store, entry: Entry) -> None:
        before = (entry.old.span if entry.old is not None else None) or frozenset()
        after = (entry.new.span if entry.new is not None else None) or frozenset()
        changed = entry.delta.nodes if entry.delta is not None else None
        if changed is not None:  # of the nodes that stay, only these are told
            span = changed if before is after else (before ^ after) | changed
        else:
            span = before if before is after else before | after
        by_node = store.by_node
        if len(span) < len(by_node):
            nodes = [node for node in span if node in by_node]
        else:
            nodes = [node for node in by_node if node in span]
        for node in nodes:
            for watcher in by_node[node]:
                watcher.offer(entry)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """While it is open, what is published belongs together, and nobody new looks at a part of it."""
        self._whole.clear()
        try:
            yield
        finally:
            self._whole.set()

    async def whole(self) -> None:
        """Returns when no batch is open."""
        while not self._whole.is_set():
            await self._whole.wait()

    async def turn(self) -> None:
        """Returns when it is this request's turn to open a watch, and no batch is open."""
        await self.turns.begin()
        await self.whole()

    def mark(self, node: str, namespace: str, name: str, uid: str) -> None:
        """Tells the node's multiplexed watches that all that follows from this Pod has been published."""
        for watcher in self._marked.get(node, ()):
            watcher.offer_marker(namespace, name, uid)

    def bookmark(self) -> None:
        """Offers the current version to the watches that asked for bookmarks; called about once a minute."""
        for watcher in self.all_watchers():
            if watcher.bookmarks:
                watcher.offer_bookmark(self.versions.current)

    # --- the readers' side ---

    @property
    def version(self) -> int:
        return self.versions.current

    def names(self) -> list[str]:
        return list(self._stores)

    def get(self, name: str, key: Key) -> Stored | None:
        store = self._stores.get(name)
        return store.table.get(key) if store is not None else None

    def items(self, name: str, selection: Selection | None = None) -> list[tuple[Key, Stored]]:
        """The present objects, in no particular order."""
        store = self._stores.get(name)
        if store is None:
            return []
        if selection is None or selection.everything:
            return list(store.table.items())
        wants = selection.wants
        if selection.name and selection.namespace is not None:
            stored = store.table.get((selection.namespace, selection.name))
            return (
                [((selection.namespace, selection.name), stored)] if stored and wants(stored.record) else []
            )
        if selection.node:
            found = [(key, store.table[key]) for key in store.spanned.get(selection.node, ())]
            return [item for item in found if wants(item[1].record)]
        return [item for item in store.table.items() if wants(item[1].record)]

    def sorted_items(self, name: str) -> list[tuple[Key, Stored]]:
        """All present objects in order of namespace and name."""
        store = self._stores.get(name)
        return [(key, store.table[key]) for key in store.sorted_keys()] if store is not None else []

    def count(self, name: str) -> int:
        store = self._stores.get(name)
        return len(store.table) if store is not None else 0

    def items_at(self, name: str, version: int, selection: Selection) -> list[tuple[Key, Stored]]:
        """The objects as they were at ``version``, in order. Raises Expired when the history is too short."""
        if version != self.version:
            self.check_known(version)
        since = [entry for entry in self.history.backwards(version) if entry.resource == name]
        items = self.sorted_items(name)
        if since:  # rare: a list in pages asks for the same version again and again
            state: dict[Key, Stored] = dict(items)
            for entry in since:
                if entry.old is None:
                    state.pop(entry.key, None)
                else:
                    state[entry.key] = Stored(entry.old, entry.old_version)
            items = sorted(state.items(), key=_key_of)
        if selection.everything:
            return items
        return [item for item in items if selection.wants(item[1].record)]

    def check_known(self, version: int) -> None:
        """Raises Expired (410) unless everything after ``version`` is still in the history."""
        if self.versions.owns(version) and version >= self.history.floor:
            return
        raise expired(f"too old resource version: {version} ({self.history.floor})")

    def watch(
        self, names: Iterable[str], selection: Selection, since: int | None, watcher: Watcher
    ) -> Snapshot:
        """Registers ``watcher`` and returns the initial state as (store, object), store by store.

        ``since`` None: the full state, and live changes after it. Otherwise no initial state, and every
        change after that version; raises Expired when it is not known.
        """
        names = list(names)
        if since is not None:
            self.check_known(since)
        watcher.turns = self.turns
        parts: list[tuple[str, list[Stored]]] = []
        for name in names:
            store = self._stores.setdefault(name, _Store())
            if since is None:
                parts.append((name, store.candidates(selection)))
            if selection.node:
                store.by_node.setdefault(selection.node, set()).add(watcher)
            else:
                store.unscoped.add(watcher)
        if watcher.markers:
            self._marked.setdefault(selection.node, set()).add(watcher)
        if since is not None:
            wanted = set(names)
            for entry in self.history.since(since):
                if entry.resource in wanted:
                    watcher.offer(entry)
        # A node's objects are known; where nothing else is asked for, each is wanted. The namespace of a
        # selection of cluster-scoped objects is "".
        is_exact = bool(selection.node) and selection in (
            Selection(node=selection.node),
            Selection(namespace="", node=selection.node),
        )
        return Snapshot(parts, None if is_exact or selection.everything else selection)

    def unwatch(self, watcher: Watcher) -> None:
        marked = self._marked.get(watcher.selection.node)
        if marked is not None:
            marked.discard(watcher)
            if not marked:
                del self._marked[watcher.selection.node]
        for store in self._stores.values():
            store.unscoped.discard(watcher)
            node = watcher.selection.node
            watchers = store.by_node.get(node)
            if watchers is not None:
                watchers.discard(watcher)
                if not watchers:
                    del store.by_node[node]

    def all_watchers(self) -> set[Watcher]:
        return {watcher for store in self._stores.values() for watcher in store.watchers()}

    def close(self) -> None:
        """Ends every watch: the process is going down."""
        for watcher in self.all_watchers():
            watcher.close("the server is shutting down")


def _key_of(item: tuple[Key, Stored]) -> Key:
    return item[0]
