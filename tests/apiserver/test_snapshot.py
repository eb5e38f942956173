"""Initial states and the turns of streams: nobody is kept waiting, and nothing is seen by halves."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from apis.labels import parse
from apis.record import Change, Media
from apiserver.events import BodyEncoder
from apiserver.pace import Turns
from apiserver.selection import Selection
from apiserver.snapshot import SharedFrames
from apiserver.stores import Stores
from apiserver.watcher import Watcher
from tests.apiserver.records import GroupDelta, GroupRecord, controlplane_info, pod


def group(name: str, *nodes: str, **labels: str) -> GroupRecord:
    members: dict[str, list[dict[str, Any]]] = {node: [pod(f"{name}-{node}")] for node in nodes}
    return GroupRecord("AddressGroup", name, members, labels=labels)


def publish(stores: Stores, *records: GroupRecord) -> None:
    stores.publish([Change("addressgroups", None, record) for record in records])


def names(stores: Stores, selection: Selection) -> set[str]:
    snapshot = stores.watch(["addressgroups"], selection, None, Watcher(selection))
    return {stored.record.name for _, stored in snapshot}


def test_a_snapshot_has_what_the_watch_selects() -> None:
    stores = Stores()
    publish(stores, group("a", "n1", "n2", tier="web"), group("b", "n2", tier="db"), group("c", "n3"))
    assert names(stores, Selection()) == {"a", "b", "c"}
    assert names(stores, Selection(node="n2")) == {"a", "b"}
    assert names(stores, Selection(labels=parse("tier=db"))) == {"b"}


def test_a_snapshot_is_of_its_moment_whenever_it_is_read() -> None:
    stores = Stores()
    first = group("a", "n1", tier="web")
    publish(stores, first, group("b", "n1"))
    selection = Selection(labels=parse("tier=web"))
    snapshot = stores.watch(["addressgroups"], selection, None, Watcher(selection))
    stores.publish(
        [Change("addressgroups", first, None), Change("addressgroups", None, group("d", tier="web"))]
    )
    assert [stored.record for _, stored in snapshot] == [first]


def test_each_object_is_one_look_so_that_a_reader_can_pause() -> None:
    stores = Stores()
    publish(stores, *(group(f"g{number}", "n1") for number in range(5)))
    selection = Selection(labels=parse("no=one"))
    snapshot = stores.watch(["addressgroups"], selection, None, Watcher(selection))
    assert list(snapshot.steps()) == [None] * 5


def test_a_frame_is_made_once_for_all_nodes_that_join_together() -> None:
    stores = Stores()
    record = group("a", "n1", "n2")
    publish(stores, record)
    stored = stores.get("addressgroups", ("", "a"))
    assert stored is not None
    infos = {"addressgroups": controlplane_info("addressgroups")}

    def initial(node: str) -> bytes:
        return BodyEncoder(Media.PROTOBUF, infos, node, stores.frames).initial("addressgroups", stored)

    with stores.frames:
        assert initial("n1") == initial("n2")
        assert record.encoded == 1
    initial("n1")
    assert record.encoded == 2, "with nobody left who joins, nothing is kept"


def test_shared_frames_are_bounded() -> None:
    frames = SharedFrames(limit=10 * (100 + SharedFrames.OVERHEAD))
    with frames:
        for number in range(100):
            frames.keep(number, bytes(100))
        assert [number for number in range(100) if frames.get(number)] == list(range(90, 100))


def test_a_patch_concerns_only_the_nodes_whose_view_it_changes() -> None:
    stores = Stores()
    watchers = {node: Watcher(Selection(node=node)) for node in ("n1", "n2", "n3")}
    for watcher in watchers.values():
        stores.watch(["appliedtogroups"], watcher.selection, None, watcher)

    def record(**members: list[dict[str, Any]]) -> GroupRecord:
        return GroupRecord("AppliedToGroup", "g", members, views=True)

    old = record(n1=[pod("a")], n2=[pod("b")])
    new = record(n1=[pod("a"), pod("c")], n2=[pod("b")], n3=[pod("d")])
    stores.publish([Change("appliedtogroups", None, old)])
    stores.publish([Change("appliedtogroups", old, new, GroupDelta(old, new))])
    events = {}
    for node, watcher in watchers.items():
        events[node] = []
        while (due := watcher.take()) is not None:
            events[node].append(due[0])
    assert events == {"n1": ["ADDED", "MODIFIED"], "n2": ["ADDED"], "n3": ["ADDED"]}


async def test_who_comes_during_a_batch_sees_all_of_it() -> None:
    stores = Stores()
    seen: list[set[str]] = []

    async def request() -> None:
        await stores.turn()
        seen.append(names(stores, Selection()))

    with stores.batch():
        publish(stores, group("a", "n1"))
        task = asyncio.create_task(request())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not seen
        publish(stores, group("b", "n1"))
    await asyncio.wait_for(task, 5)
    assert seen == [{"a", "b"}]


async def test_an_initial_state_is_finished_before_the_next_begins_and_changes_go_first() -> None:
    turns = Turns()
    order: list[str] = []

    async def joining(name: str) -> None:
        await turns.begin()
        for part in range(3):
            order.append(f"{name}{part}")
            await turns.rest(initial=True)

    async def changed() -> None:
        await turns.rest(initial=False)
        order.append("change")

    tasks = [asyncio.create_task(joining(name)) for name in "abcdef"]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(changed()))
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order.index("a2") < order.index("e0"), "no more than a few are on their way at the same time"
    assert order.index("change") < order.index("c0"), "a change does not wait for those who join"


async def test_streams_that_are_woken_together_share_one_slice() -> None:
    turns = Turns()
    events = [asyncio.Event() for _ in range(64)]

    async def work(event: asyncio.Event) -> None:
        await event.wait()
        while not turns.due():
            pass

    tasks = [asyncio.create_task(work(event)) for event in events]
    await asyncio.sleep(0)
    longest, before = 0.0, time.perf_counter()
    for event in events:
        turns.wake(event.set)
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    assert longest < 0.15, "64 slices of 5 ms in one turn would be 0.32 s"
