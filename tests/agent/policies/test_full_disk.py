"""Policies on a full disk: said once, nothing half remembered, and all caught up when there is room."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.policies.stream import Deleted
from tests.agent.policies.test_disk import AG, NP, Agent, fill, group, patch, policy
from tests.support.smalldisk import SmallDisk, small_disk

pytestmark = pytest.mark.lab  # root, for the mount

MANY = [f"10.1.{number >> 8}.{number & 255}" for number in range(2000)]  # a group of more than a page


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", pages=512) as made:
        yield made


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = []
    for record in caplog.records:
        found += [word for word in ("cannot be written", "can be written") if word in record.getMessage()]
    return found


async def test_what_was_missing_is_written_before_anything_that_builds_on_it(
    disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a group that changed while the disk was full: a later patch must not meet the group as it was."""
    agent = Agent(disk.path / "state")
    fill(agent)
    await agent.disk.flush()
    disk.fill()
    agent.receive(group("g", *MANY))
    agent.receive(patch("g", ["10.0.0.2"], MANY[:1000]), policy("q"))
    agent.receive(patch("g", ["10.0.0.3"], MANY[1000:]), Deleted(NP, "p", b""))
    assert agent.state != Agent(disk.path / "state").state, "the disk was not full"
    disk.empty()
    agent.receive(patch("g", ["10.0.0.4"], ["10.0.0.2"]))
    after_a_kill = Agent(disk.path / "state")
    assert after_a_kill.state == agent.state
    addresses = after_a_kill.cache.address_groups["g"].addresses[4]
    assert {str(ip) for ip in addresses} == {"10.0.0.3", "10.0.0.4"}
    assert words(caplog) == ["cannot be written", "can be written"]


async def test_a_flush_catches_up_as_well(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent(disk.path / "state")
    fill(agent)
    agent.disk.mark_synced()
    disk.fill()
    agent.receive(group("g", *MANY))
    with pytest.raises(OSError):
        await agent.disk.flush()
    disk.empty()
    await agent.disk.flush()
    assert Agent(disk.path / "state").state == agent.state
    assert Agent(disk.path / "state").disk.has_state
    agent.receive(patch("g", [], MANY[1:]))
    assert Agent(disk.path / "state").state == agent.state
    assert words(caplog) == ["cannot be written", "can be written"]


async def test_what_ends_makes_room(disk: SmallDisk) -> None:
    """Given a disk full of groups that have ended meanwhile, a flush does not fail for what is new."""
    agent = Agent(disk.path / "state")
    names = [f"g{number}" for number in range(40)]
    for name in names:
        agent.receive(group(name, *MANY[:200]))
        if name.endswith("9"):
            await agent.disk.flush()
    disk.fill()
    agent.receive(*(Deleted(AG, name, b"") for name in names[1:]), group("new", *MANY[:400]))
    await agent.disk.flush()
    assert Agent(disk.path / "state").state == agent.state


@pytest.mark.parametrize("seed", range(6))
async def test_whenever_the_disk_has_room_a_kill_loses_nothing(disk: SmallDisk, seed: int) -> None:
    """Given changes and flushes while the disk fills and empties, a next process finds all of it, unless this
    one has said that it could not write."""
    chance = random.Random(seed)
    agent = Agent(disk.path / "state")
    fill(agent)
    for step in range(40):
        if chance.random() < 0.4:
            chance.choice([disk.fill, disk.empty])()
        if chance.random() < 0.3:
            try:
                await agent.disk.flush()
            except OSError:
                pass
        members = chance.sample(MANY, chance.choice([1, 5, 300]))
        known = "h" in agent.cache.address_groups
        agent.receive(
            chance.choice(
                [
                    group("g", *members),
                    patch("g", members, []),
                    policy("q", step + 1),
                    Deleted(AG, "h", b"") if known else group("h", *members),
                ]
            )
        )
        if not agent.disk.is_behind:
            assert Agent(disk.path / "state").state == agent.state
    disk.empty()
    await agent.disk.flush()
    assert Agent(disk.path / "state").state == agent.state
