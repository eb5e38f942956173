"""What is on the disk after any end of the process, and after any damage."""

# ruff: noqa: ASYNC240 - a few small files in a test's own directory
from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from agent.policies import wire
from agent.policies.cache import RuleCache, UnknownGroup
from agent.policies.disk import PolicyDisk
from agent.policies.groups import Object
from agent.policies.objects import Kind
from agent.policies.stream import Deleted, Item, Patched, Put, WatchStream, decode
from apis import envelope
from tests.agent.policies.support import frame, group_message, patch_message, policy_message

AG, ATG, NP = Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY


class Agent:
    """A cache that writes ahead, as the policy controller does; ``restart`` is the next process."""

    def __init__(self, directory: Path) -> None:
        self.disk, self.cache = PolicyDisk(directory), RuleCache()
        for event in self.disk.load():
            try:
                self._change(event)
            except UnknownGroup:
                continue
        self.disk.settle(lambda kind, name: self.cache.objects(kind).get(name))

    def _change(self, event: Put | Patched | Deleted) -> bool:
        if isinstance(event, Put):
            return self.cache.put(event.kind, event.value)
        if isinstance(event, Patched):
            return self.cache.patch(event.kind, event.patch)
        return self.cache.remove(event.kind, event.name)

    def receive(self, *events: Put | Patched | Deleted) -> None:
        written: list[tuple[Item, Object | None]] = []
        for event in events:
            self._change(event)
            name = event.value.name if isinstance(event, Put) else (
                event.patch.name if isinstance(event, Patched) else event.name
            )  # fmt: skip
            written.append((event, self.cache.objects(event.kind).get(name)))
        self.disk.record(written)

    @property
    def state(self) -> tuple[object, ...]:
        return (
            dict(self.cache.policies),
            dict(self.cache.address_groups),
            dict(self.cache.applied_to_groups),
        )


def put(kind: Kind, message: bytes) -> Put:
    return Put(kind, decode(kind, message), message)


def patch(name: str, add: list[str], remove: list[str]) -> Patched:
    raw = patch_message(
        name,
        [{"pod": ("ns", ip), "ips": [ip]} for ip in add],
        [{"pod": ("ns", ip), "ips": [ip]} for ip in remove],
    )
    return Patched(AG, wire.group_patch(AG, raw), raw)


def group(name: str, *ips: str) -> Put:
    return put(AG, group_message(AG, name, [{"pod": ("ns", ip), "ips": [ip]} for ip in ips]))


def policy(name: str, generation: int = 1) -> Put:
    return put(NP, policy_message(name, [{"direction": "In", "groups": ["g"]}], ["t"], generation=generation))


def fill(agent: Agent) -> None:
    agent.receive(
        group("g", "10.0.0.1"), put(ATG, group_message(ATG, "t", [{"pod": ("ns", "a")}])), policy("p")
    )


async def test_what_was_received_is_there_after_a_kill_before_any_flush(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    fill(agent)
    agent.receive(patch("g", ["10.0.0.2"], ["10.0.0.1"]))
    agent.receive(policy("p", 2), Deleted(ATG, "t", b""))
    assert Agent(tmp_path).state == agent.state
    assert agent.cache.policies["p"].generation == 2


async def test_a_flush_moves_everything_into_files_as_upstream_keeps_them(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    fill(agent)
    await agent.disk.flush()
    assert sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ) == [
        "address-groups/uid-g",
        "applied-to-groups/uid-t",
        "network-policies/p",
    ]
    path = tmp_path / "network-policies" / "p"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    body = envelope.unwrap(path.read_bytes())
    assert (body.api_version, body.kind) == ("controlplane.antrea.io/v1beta2", "NetworkPolicy")
    assert Agent(tmp_path).state == agent.state


async def test_what_has_ended_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Upstream keeps the file of a deleted policy until the next full state; it would come back."""
    agent = Agent(tmp_path)
    fill(agent)
    await agent.disk.flush()
    agent = Agent(tmp_path)
    agent.receive(Deleted(NP, "p", b""), Deleted(AG, "g", b""))
    assert Agent(tmp_path).state == agent.state
    await agent.disk.flush()
    assert not list((tmp_path / "network-policies").iterdir())
    assert Agent(tmp_path).state == agent.state


async def test_a_kill_between_files_and_the_end_of_the_journal_repeats_without_harm(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    fill(agent)
    agent.receive(patch("g", ["10.0.0.2"], []), patch("g", ["10.0.0.3"], ["10.0.0.2"]), Deleted(AG, "g", b""))
    agent.receive(group("g", "10.0.0.9"), patch("g", ["10.0.0.2"], []))
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("journal-*")}
    await agent.disk.flush()
    for name, data in kept.items():
        (tmp_path / name).write_bytes(data)
    assert Agent(tmp_path).state == agent.state


async def test_a_second_process_goes_on_where_the_first_was_killed(tmp_path: Path) -> None:
    for generation in range(1, 6):
        agent = Agent(tmp_path)
        if generation == 1:
            fill(agent)
        agent.receive(policy("p", generation), patch("g", [f"10.0.1.{generation}"], []))
        if generation == 3:
            await agent.disk.flush()
        assert Agent(tmp_path).state == agent.state
    assert len(Agent(tmp_path).cache.address_groups["g"].members) == 6


async def test_a_restart_with_nothing_new_writes_nothing(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    fill(agent)
    await agent.disk.flush()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = Agent(tmp_path)
    assert not again.disk.has_unflushed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


async def test_a_torn_journal_keeps_what_comes_before_the_tear(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    fill(agent)
    states = [Agent(tmp_path).state]
    agent.receive(policy("q"))
    states.append(Agent(tmp_path).state)
    (journal,) = tmp_path.glob("journal-*")
    whole = journal.read_bytes()
    for length in range(len(whole) - 1, len(whole) - 60, -7):
        journal.write_bytes(whole[:length])
        assert Agent(tmp_path).state in states


@pytest.mark.parametrize("seed", range(8))
async def test_damage_anywhere_leaves_something_out_and_ends_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    agent = Agent(tmp_path)
    fill(agent)
    await agent.disk.flush()
    agent.receive(policy("q"), group("h", "10.0.0.5"), patch("h", ["10.0.0.6"], []))
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        data = bytearray(path.read_bytes())
        what = chance.choice(["truncate", "flip", "random", "empty", "keep"])
        if what == "truncate":
            data = data[: chance.randrange(len(data))]
        elif what == "flip":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif what == "random":
            data = bytearray(chance.randbytes(200))
        elif what == "empty":
            data = bytearray()
        path.write_bytes(data)
    damaged = Agent(tmp_path)
    # Whatever is left, the agent goes on from it: a full state mends everything.
    fill(damaged)
    damaged.receive(policy("q"))
    await damaged.disk.flush()
    mended = Agent(tmp_path)
    assert mended.cache.policies == damaged.cache.policies
    assert {"p", "q"} <= set(mended.cache.policies)


async def test_strange_names_never_leave_the_directory(tmp_path: Path) -> None:
    agent = Agent(tmp_path / "state")
    message = wire.pb.AddressGroup.FromString(group_message(AG, "ns/group", []))
    message.metadata.uid = "../../escape"
    agent.receive(put(AG, message.SerializeToString()))
    await agent.disk.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert Agent(tmp_path / "state").state == agent.state


async def test_a_disk_that_cannot_be_written_is_reported_and_later_caught_up(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory should be")
    agent = Agent(blocked)
    fill(agent)  # logs; does not raise
    with pytest.raises(OSError):
        await agent.disk.flush()
    assert agent.disk.has_unflushed
    blocked.unlink()
    await agent.disk.flush()
    assert Agent(blocked).state == agent.state


def test_the_mark_of_a_full_state(tmp_path: Path) -> None:
    disk = PolicyDisk(tmp_path / "state")
    assert not disk.has_state
    disk.mark_synced()
    assert PolicyDisk(tmp_path / "state").has_state


def test_left_over_temporary_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "address-groups").mkdir()
    (tmp_path / "address-groups" / ".x.new").write_bytes(b"half")
    assert list(PolicyDisk(tmp_path).load()) == []
    assert os.listdir(tmp_path / "address-groups") == []


def test_the_journal_holds_what_the_stream_said() -> None:
    """Events go to the journal as their messages, not as the agent's own objects."""
    raw = patch_message("g", [], [])
    stream = WatchStream(Kind, "1")
    (event,) = stream.feed(frame("MODIFIED", "AddressGroupPatch", raw))
    assert isinstance(event, Patched)
    assert event.raw == raw
