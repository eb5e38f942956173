"""What takes long is made in steps, once for all who want it, and nobody keeps more than its bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator

import pytest

from apis.controlplane.records import AddressGroupRecord, FixedMembers, GroupDelta, Member
from apis.controlplane.wire import delimited, member_field
from apis.record import Change, Media
from apiserver import stream as stream_module
from apiserver.events import BodyEncoder
from apiserver.pace import Turns
from apiserver.selection import Selection
from apiserver.slices import Long, Makers
from apiserver.stores import Stores
from apiserver.stream import Sender
from apiserver.watcher import Watcher
from tests.apiserver.records import controlplane_info

MEMBERS = 3000
STORE = "addressgroups"


def members(count: int = MEMBERS) -> list[bytes]:
    addresses = [delimited(b"\x1a", number.to_bytes(4, "big")) for number in range(count)]
    pods = [delimited(b"\x0a", delimited(b"\x0a", f"pod-{number}".encode())) for number in range(count)]
    return [member_field(pod + address) for pod, address in zip(pods, addresses, strict=True)]


def record(found: list[bytes], name: str = "g") -> AddressGroupRecord:
    return AddressGroupRecord(name, frozenset(["n1", "n2"]), FixedMembers(found))


def whole(steps: Generator[None, None, bytes] | None) -> tuple[bytes, int]:
    """The result, and how often it paused."""
    assert steps is not None
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


def test_a_group_as_json_in_steps_is_the_same_as_in_one() -> None:
    for count in (0, 1, MEMBERS):
        group = record(members(count))
        text, pauses = whole(group.encode_in_steps(Media.JSON, None, "7"))
        assert text == group.encode(Media.JSON, None, "7")
        assert pauses > count // 1024


@pytest.mark.parametrize("media", Media)
def test_a_patch_in_steps_is_the_same_as_in_one(media: Media) -> None:
    found = [Member("", each) for each in members()]
    for added, removed in (((), found), (found, ()), (found[:2000], found[2000:])):
        delta = GroupDelta("g", False, tuple(added), tuple(removed))
        text, pauses = whole(delta.encode_in_steps(media, "n1", "7"))
        assert text == delta.encode(media, "n1", "7")
        assert pauses


def test_a_long_patch_with_views_is_sorted_in_steps() -> None:
    found = [Member(f"n{number % 3}", each) for number, each in enumerate(members())]
    delta, again = (GroupDelta("g", True, (), tuple(found), leaving=frozenset(["n2"])) for _ in range(2))
    assert len(list(delta.sort_in_steps())) == 1
    assert delta.nodes == again.nodes == {"n0", "n1"}
    for node in ("n0", "n1", "n2", "n3"):
        assert delta.encode(Media.PROTOBUF, node, "1") == again.encode(Media.PROTOBUF, node, "1")


async def test_a_text_is_made_once_and_anew_when_its_maker_leaves() -> None:
    made: dict[str, bytes] = {}
    begun = []

    def make(steps: int) -> Generator[None, None, bytes]:
        begun.append(steps)
        for _ in range(steps):
            yield
        made["key"] = b"text"
        return made["key"]

    turns = Turns()
    turns.due = lambda: True  # type: ignore[method-assign]
    makers = Makers(turns)

    def wanted() -> asyncio.Task[bytes]:
        long = Long("key", lambda: made.get("key"), lambda: make(50))
        return asyncio.create_task(makers.text(long, True))

    first, second, third = wanted(), wanted(), wanted()
    while not begun:
        await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(asyncio.gather(second, third), 5) == [b"text", b"text"]
    assert len(begun) == 2, "the second began anew, the third found its text"


@pytest.mark.parametrize("media", Media)
async def test_streams_send_long_frames_in_pieces_and_in_order(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "PIECE_BYTES", 1024)
    stores = Stores()
    found = members()
    old, new = record(found), record(found[:1])
    stores.publish([Change(STORE, None, old)])
    infos = {STORE: controlplane_info(STORE)}
    sent: list[list[bytes]] = [[] for _ in range(3)]
    watchers = [Watcher(Selection(node="n1")) for _ in sent]

    async def run(watcher: Watcher, parts: list[bytes]) -> None:
        async def write(data: bytes) -> None:
            parts.append(data)

        encoder = BodyEncoder(media, infos, "n1", stores.frames)
        sender = Sender(stores, watcher, encoder, write, lambda data: not parts.append(data))
        await sender.send_initial(stores.watch([STORE], watcher.selection, None, watcher), [])
        await sender.send_changes()

    tasks = [asyncio.create_task(run(*each)) for each in zip(watchers, sent, strict=True)]
    async with asyncio.timeout(10):
        while any(watcher.at_once is None for watcher in watchers):
            await asyncio.sleep(0.01)
        before = len(b"".join(sent[0]))
        delta = GroupDelta("g", False, (), tuple(Member("", each) for each in found[1:]))
        stores.publish([Change(STORE, old, new, delta)])
        stores.publish([Change(STORE, new, None)])
        while len(b"".join(sent[0])) == before or any(watcher.at_once is None for watcher in watchers):
            await asyncio.sleep(0.01)
    for watcher in watchers:
        watcher.close("the test is over")
    await asyncio.gather(*tasks)
    assert max(len(part) for part in sent[0]) <= max(1024, stream_module.JOIN_BYTES)
    assert len({b"".join(parts) for parts in sent}) == 1, "all were sent the same"
    if media is Media.JSON:
        added, patch, deleted = (json.loads(line) for line in b"".join(sent[0]).splitlines())
        assert [each["type"] for each in (added, patch, deleted)] == ["ADDED", "MODIFIED", "DELETED"]
        assert len(added["object"]["groupMembers"]) == MEMBERS
        assert len(patch["object"]["removedGroupMembers"]) == MEMBERS - 1


def changes(stores: Stores, count: int) -> None:
    """Each has 100 members come and go."""
    old = record([], "h")
    found = tuple(Member("", each) for each in members(100))
    stores.publish([Change(STORE, None, old)])
    for _ in range(count):
        new = record([], "h")
        stores.publish([Change(STORE, old, new, GroupDelta("h", False, found))])
        old = new


def test_a_watcher_may_keep_so_many_bytes_that_have_left_the_history() -> None:
    stores = Stores(history_entries=4)
    slow, patient = (Watcher(Selection(node="n1"), limit_bytes=bytes_) for bytes_ in (200_000, 1 << 30))
    for watcher in (slow, patient):
        stores.watch([STORE], watcher.selection, None, watcher)
    changes(stores, 12)
    assert not slow.closed, "8 of them, of 20 kB each, are kept by the watchers only"
    changes(stores, 12)
    assert "behind by more than 200000 bytes" in slow.closed
    assert not patient.closed
    assert slow.take() is None


def test_what_the_history_has_and_what_was_taken_does_not_count() -> None:
    stores = Stores(history_entries=64)
    behind, reading = (Watcher(Selection(node="n1"), limit_bytes=200_000) for _ in range(2))
    for watcher in (behind, reading):
        stores.watch([STORE], watcher.selection, None, watcher)
    changes(stores, 60)
    assert not behind.closed, "all of it is in the history"
    for _ in range(20):
        while reading.take() is not None:
            pass
        changes(stores, 8)
    assert behind.closed
    assert not reading.closed
