"""What the kernel goes on doing while processes are dead: flows and connections are its own."""

from __future__ import annotations

import asyncio
import time

import pytest

from lab.inventory import probe_between
from lab.probing import Stream
from tests.e2e.runner import Arena
from tests.e2e.test_faults import POLICIES
from tests.e2e.test_restarts import conversations, kill_and_wait, list_messages, received_mods, talk_policy

pytestmark = pytest.mark.kernel

DEAD = 4.0  # seconds without ovs-vswitchd
DENIED = 16  # pairs that are probed meanwhile
Found = list[tuple[str, dict[str, float]]]  # conversations, with what each has counted


@pytest.fixture(autouse=True)
def calm_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that starts has the guest's only processor: what waits meanwhile must fit into a socket."""
    monkeypatch.setenv("ECHO_INTERVAL", "0.02")


async def enforce_policies(arena: Arena) -> None:
    for operation in [*POLICIES, talk_policy()]:
        await arena.operate(operation)
    assert await arena.disagreements([("TCP", 80)]) == []


def denied_streams(arena: Arena, node: str) -> list[Stream]:
    """Probes twice a second for pairs that the policies deny and that concern the node."""
    found = []
    for cell in arena.cells([("TCP", 80)]):
        if node in (cell.source.node, cell.destination.node) and not arena.expected(cell):
            probe = probe_between(cell.source, cell.destination, cell.port, cell.protocol, cell.family)
            assert probe is not None
            found.append(probe)
    assert len(found) > DENIED
    return [arena.prober.stream(probe, rate=2.0, timeout=0.9) for probe in found[:: len(found) // DENIED]]


async def test_established_connections_go_on_without_vswitchd_and_denied_packets_do_not_pass(
    arena: Arena,
) -> None:
    await enforce_policies(arena)
    lab, node = arena.lab, arena.lab.directory.nodes()[0]
    streams = denied_streams(arena, node)

    def without_vswitchd() -> tuple[Found, float, float]:
        with conversations(arena) as talking:
            lab.stop_process(f"{node}/ovs-vswitchd", grace=0.0)
            died = time.monotonic()
            time.sleep(DEAD)
            back = time.monotonic()
            lab.start_process(f"{node}/ovs-vswitchd")
            time.sleep(3.0)
            return [(each.name, each.end()) for each in talking], died, back

    found, died, back = await asyncio.to_thread(without_vswitchd)
    for stream in streams:
        stream.stop()

    for name, counted in found:
        print(name, counted)
        # Shorter than the time without vswitchd: packets passed while it was dead.
        assert counted["longest_gap"] < DEAD / 2, f"{name}: {counted}"
        if name.endswith("tcp"):
            assert counted["echoed"] == counted["sent"], f"{name} broke: {counted}"
        else:
            assert counted["echoed"] > 0.9 * counted["sent"], f"{name} lost datagrams: {counted}"
    assert [str(stream.probe) for stream in streams if stream.leaks()] == []
    assert all(any(died < one.sent_at < back for one in stream.results()) for stream in streams)
    assert await arena.disagreements([("TCP", 80)]) == []  # new connections as the policies say


async def test_a_killed_agent_costs_no_packet_and_sends_nothing(arena: Arena) -> None:
    await enforce_policies(arena)
    lab, node = arena.lab, arena.lab.directory.nodes()[0]
    list_messages(lab, node)

    def kill_agents() -> Found:
        with conversations(arena) as talking:
            for _ in range(2):
                kill_and_wait(lab, f"{node}/antrea-agent")
                time.sleep(4.0)  # the new one has come up and has looked at the switch
            return [(each.name, each.end()) for each in talking]

    before = received_mods(lab, node)
    for name, counted in await asyncio.to_thread(kill_agents):
        assert counted["echoed"] == counted["sent"], f"{name} lost messages: {counted}"
    assert received_mods(lab, node) == before, "a restart with nothing changed sent modifications to OVS"
    await arena.operate(POLICIES[0])
