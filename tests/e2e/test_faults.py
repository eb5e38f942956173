"""While processes are killed, no denied pair is ever reached and every allowed pair answers again.

Every pair of pods is probed ten times a second, without a pause, with a fresh source port each time, while
the controller, an agent and an ovs-vswitchd are killed with SIGKILL, in turn. Three rounds in `make test`,
twenty in CI.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lab.handle import Lab
from lab.inventory import probe_between
from lab.probing import Prober, Stream
from tests.e2e.policysets import Operation
from tests.e2e.runner import Arena

RATE = 10.0  # probes a second for each pair
RECOVERY = 5.0  # seconds from the restart until an allowed pair must have answered


def policy(namespace: str, name: str, **spec: Any) -> Operation:
    return Operation(
        "apply",
        namespace,
        name,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        },
    )


POLICIES = [
    policy(
        "x",
        "from-red-backs",
        podSelector={},
        policyTypes=["Ingress"],
        ingress=[
            {
                "from": [
                    {
                        "namespaceSelector": {"matchLabels": {"team": "red"}},
                        "podSelector": {"matchLabels": {"tier": "back"}},
                    }
                ],
                "ports": [{"protocol": "TCP", "port": 80}],
            }
        ],
    ),
    policy("y", "closed", podSelector={"matchLabels": {"pod": "a"}}, policyTypes=["Ingress", "Egress"]),
    policy(
        "z",
        "out-to-x-only",
        podSelector={"matchLabels": {"pod": "b"}},
        policyTypes=["Egress"],
        egress=[{"to": [{"namespaceSelector": {"matchLabels": {"ns": "x"}}}]}],
    ),
]


async def endure(rounds: int) -> None:
    lab = Lab("e2e-faults")
    if lab.directory.exists:  # of a run that was killed
        lab.down()
    lab.up(nodes=2, family="ipv4")
    try:
        async with lab.client() as client:
            with Prober(lab.directory.probe_ports) as prober:
                arena = Arena(lab, client, prober, [4])
                nodes = lab.directory.nodes()
                await arena.prepare(nodes)
                for operation in POLICIES:
                    await arena.operate(operation)
                assert await arena.disagreements([("TCP", 80)]) == []
                await asyncio.to_thread(kill_and_watch, lab, arena, prober, nodes, rounds)
    finally:
        lab.down()


def kill_and_watch(lab: Lab, arena: Arena, prober: Prober, nodes: list[str], rounds: int) -> None:
    denied: dict[str, Stream] = {}
    allowed: dict[str, Stream] = {}
    for cell in arena.cells([("TCP", 80)]):
        if cell.source.key == cell.destination.key:
            continue
        probe = probe_between(cell.source, cell.destination, cell.port, cell.protocol, cell.family)
        assert probe is not None
        streams = allowed if arena.expected(cell) else denied
        streams[str(cell)] = prober.stream(probe, RATE, timeout=0.9)
    assert len(denied) > 20
    assert len(allowed) > 20
    slow: list[str] = []
    for number in range(rounds):
        node = nodes[number % len(nodes)]
        for process in ("antrea-controller", f"{node}/antrea-agent", f"{node}/ovs-vswitchd"):
            lab.kill(process)
            restarted = time.monotonic()
            for name, stream in allowed.items():
                left = restarted + RECOVERY - time.monotonic()
                if stream.wait_for_answer(restarted + 0.05, max(left, 0.01)) is None:
                    slow.append(f"round {number}, {process} killed: {name} silent for {RECOVERY:g} s")
            time.sleep(0.5)  # the next kill meets a process that has settled, and the probes go on
    for stream in [*denied.values(), *allowed.values()]:
        stream.stop()
    time.sleep(1.0)  # the last probes' time-outs
    leaks = [
        f"{name}: {len(stream.leaks())} of {len(stream.results())} probes passed"
        for name, stream in denied.items()
        if stream.leaks()
    ]
    assert leaks == []
    assert slow == []
    fewest = min(len(stream.results()) for stream in denied.values())
    assert fewest > 0


@pytest.mark.lab
@pytest.mark.timeout(300)
async def test_three_rounds_of_kills_let_nothing_through() -> None:
    await endure(3)


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_twenty_rounds_of_kills_let_nothing_through() -> None:
    await endure(20)
