"""A checker for stores and watches: whatever is published, whenever a watch begins, wherever it resumes.

For every watcher: replaying its events over its initial state gives what the store holds of its selection;
each change that concerns it is seen exactly once, in order of versions; and a resume is refused exactly when
the history no longer reaches back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.labels import parse
from apis.record import Change, Media
from apiserver.errors import StatusError
from apiserver.history import Entry
from apiserver.selection import Selection
from apiserver.stores import Key, Stores
from apiserver.versions import Versions
from apiserver.watcher import ADDED, DELETED, MODIFIED, Watcher

STORES = ("groups", "policies")
NODES = ("n1", "n2", "n3")


class Thing:
    """A record with a value, labels and a span."""

    has_views = False
    namespace = ""

    def __init__(self, name: str, value: int, labels: Mapping[str, str], span: frozenset[str]) -> None:
        self.name = name
        self.uid = name
        self.value = value
        self.labels = labels
        self.span = span

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        return b"{}"

    def tombstone(self, media: Media, version: str) -> bytes:
        return b"{}"


@dataclass
class Watch:
    """A watcher with the state that a client would have."""

    watcher: Watcher
    stores: tuple[str, ...]
    start: int
    state: dict[tuple[str, Key], int] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)

    def drain(self, limit: int | None = None) -> None:
        while limit is None or limit > 0:
            due = self.watcher.take()
            if due is None:
                return
            event, entry = due
            assert isinstance(entry, Entry)
            key = (entry.resource, entry.key)
            self.versions.append(entry.version)
            if event == ADDED:
                assert key not in self.state
            else:
                assert event in (MODIFIED, DELETED)
                assert key in self.state
            if event == DELETED:
                del self.state[key]
            else:
                assert isinstance(entry.new, Thing)
                self.state[key] = entry.new.value
            if limit is not None:
                limit -= 1


@dataclass
class Model:
    """Everything that ever happened, kept apart from the stores' bounded history."""

    log: list[tuple[int, str, Key, Thing | None, Thing | None]] = field(default_factory=list)

    def state(
        self, version: int, stores: tuple[str, ...], selection: Selection
    ) -> dict[tuple[str, Key], int]:
        found: dict[tuple[str, Key], int] = {}
        for at, store, key, _, new in self.log:
            if at > version or store not in stores:
                continue
            found.pop((store, key), None)
            if new is not None and selection.wants(new):
                found[(store, key)] = new.value
        return found

    def due(self, after: int, stores: tuple[str, ...], selection: Selection) -> list[int]:
        """The versions of the changes that a watch since ``after`` has to see."""
        return [
            at
            for at, store, _, old, new in self.log
            if at > after
            and store in stores
            and any(thing is not None and selection.wants(thing) for thing in (old, new))
        ]


things = st.tuples(
    st.sampled_from(STORES),
    st.sampled_from(["a", "b", "c", "d"]),
    st.booleans(),
    st.sampled_from(["x", "y"]),
    st.frozensets(st.sampled_from(NODES)),
)
selections = st.builds(
    Selection,
    namespace=st.sampled_from([None, ""]),
    name=st.sampled_from(["", "", "a"]),
    node=st.sampled_from(["", *NODES]),
    labels=st.sampled_from([None, parse("l=x"), parse("l!=x")]),
)
steps = st.one_of(
    st.tuples(st.just("publish"), st.lists(things, min_size=1, max_size=4)),
    st.tuples(st.just("watch"), st.sampled_from([STORES, STORES[:1]]), selections),
    st.tuples(st.just("resume"), st.sampled_from([STORES, STORES[1:]]), selections, st.integers(0, 40)),
    st.tuples(st.just("drain"), st.integers(0, 10), st.integers(1, 3)),
    st.tuples(st.just("close"), st.integers(0, 10)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30), st.integers(2, 12))
def test_every_watcher_sees_every_change_once_and_in_order(script: list[tuple], history: int) -> None:
    stores = Stores(Versions(epoch=7), history_entries=history)
    model = Model()
    base = stores.version
    watches: list[Watch] = []
    value = 0
    present: dict[tuple[str, Key], Thing] = {}
    for step, *arguments in script:
        if step == "publish":
            changes = []
            for store, name, remove, label, span in arguments[0]:
                value += 1
                key = ("", name)
                old = present.get((store, key))
                new = None if remove else Thing(name, value, {"l": label}, span)
                if old is None and new is None:
                    continue
                changes.append(Change(store, old, new))
                if new is None:
                    del present[(store, key)]
                else:
                    present[(store, key)] = new
                model.log.append((base + len(model.log) + 1, store, key, old, new))
            assert stores.publish(changes) == base + len(model.log)
        elif step == "watch":
            names, selection = arguments
            watch = Watch(Watcher(selection), names, stores.version)
            for store, stored in stores.watch(names, selection, None, watch.watcher):
                watch.state[(store, ("", stored.record.name))] = stored.record.value  # type: ignore[attr-defined]
            assert watch.state == model.state(stores.version, names, selection)
            watches.append(watch)
        elif step == "resume":
            names, selection, back = arguments
            since = stores.version - back
            watch = Watch(Watcher(selection), names, since)
            if since < stores.history.floor or since < base:
                with pytest.raises(StatusError) as refused:
                    stores.watch(names, selection, since, watch.watcher)
                assert refused.value.code == 410
                continue
            assert not list(stores.watch(names, selection, since, watch.watcher))
            watch.state = model.state(since, names, selection)
            watches.append(watch)
        elif watches:
            watch = watches[arguments[0] % len(watches)]
            if step == "drain":
                watch.drain(arguments[1])
            else:
                watches.remove(watch)
                stores.unwatch(watch.watcher)
    for watch in watches:
        watch.drain()
        selection = watch.watcher.selection
        assert not watch.watcher.closed
        assert watch.state == model.state(stores.version, watch.stores, selection)
        assert watch.versions == model.due(watch.start, watch.stores, selection)


@settings(max_examples=60, deadline=None)
@given(st.lists(things, max_size=40), st.integers(0, 40), st.integers(1, 50))
def test_past_states_are_exact_or_expired(script: list[tuple], back: int, history: int) -> None:
    stores = Stores(Versions(epoch=7), history_entries=history)
    model = Model()
    base = stores.version
    for value, (store, name, remove, label, span) in enumerate(script):
        stored = stores.get(store, ("", name))
        old = stored.record if stored else None
        new = None if remove else Thing(name, value, {"l": label}, span)
        if old is None and new is None:
            continue
        stores.publish([Change(store, old, new)])
        model.log.append((stores.version, store, ("", name), old, new))  # type: ignore[arg-type]
    version = stores.version - back
    everything = Selection()
    for store in STORES:
        if version < base or version < stores.history.floor:
            with pytest.raises(StatusError) as refused:
                stores.items_at(store, version, everything)
            assert (refused.value.code, refused.value.reason) == (410, "Expired")
            continue
        found = {(store, key): s.record.value for key, s in stores.items_at(store, version, everything)}  # type: ignore[attr-defined]
        assert found == model.state(version, (store,), everything)


def test_versions_are_decimal_below_two_to_the_63_and_grow_over_restarts() -> None:
    first, second = Versions(epoch=100), Versions(epoch=101)
    assert first.next() < second.next() < 2**63
    assert Versions().current < 2**63
    assert not second.owns(first.current)
    assert not first.owns(second.current)
    assert first.owns(first.current)


def test_a_watcher_that_falls_behind_is_closed_and_nobody_else() -> None:
    stores = Stores()
    closed: list[str] = []
    slow = Watcher(Selection(), limit=3, on_close=lambda: closed.append("slow"))
    other = Watcher(Selection(), limit=100)
    for watcher in (slow, other):
        stores.watch(["groups"], watcher.selection, None, watcher)
    for value in range(5):
        stores.publish([Change("groups", None, Thing(f"t{value}", value, {}, frozenset()))])
    assert closed == ["slow"]
    assert "events behind" in slow.closed
    assert slow.take() is None
    assert not other.closed
    assert sum(1 for _ in iter(other.take, None)) == 5


def test_a_node_watcher_is_offered_only_what_concerns_its_node() -> None:
    stores = Stores()
    watcher = Watcher(Selection(node="n1"))
    stores.watch(["groups"], watcher.selection, None, watcher)
    one, two, both = frozenset({"n1"}), frozenset({"n2"}), frozenset({"n1", "n2"})
    stores.publish([Change("groups", None, Thing("a", 1, {}, two))])
    assert watcher.take() is None
    for span, expected in ((both, ADDED), (one, MODIFIED), (two, DELETED), (one, ADDED)):
        stored = stores.get("groups", ("", "a"))
        assert stored is not None
        stores.publish([Change("groups", stored.record, Thing("a", 2, {}, span))])
        due = watcher.take()
        assert due is not None
        assert due[0] == expected
    assert watcher.take() is None
