"""Reachability as users of Kubernetes' NetworkPolicy expect it, by real packets: one lab, one table a case.

The numbers are those of the cases that the project took from Antrea v2.7 and its end-to-end suite;
of case 128 the NodePort client waits for Services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.handle import Lab
from lab.probing import Outcome, Probe, Prober
from tests.e2e.policysets import Operation
from tests.e2e.runner import Arena
from tests.e2e.test_faults import policy

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def lab() -> Any:
    made = Lab("e2e-cases")
    if made.directory.exists:
        made.down()
    made.up(nodes=2, family="dual")
    yield made
    made.down()


@pytest.fixture
async def arena(lab: Lab) -> AsyncIterator[Arena]:
    async with lab.client() as client:
        with Prober(lab.directory.probe_ports) as prober:
            made = Arena(lab, client, prober, [4, 6])
            await made.prepare(lab.directory.nodes())
            yield made
            await made.clear()


async def reaches(arena: Arena, source: str, destination: str, port: int, protocol: str) -> set[bool]:
    """From a pod "ns/name" or a node "node-1": the answers over every family, one if all agree."""
    pods = {pod.key: pod for pod in arena.pods}
    where = pods[source].netns if source in pods else str(arena.lab.node_netns(source))
    assert where is not None
    found = set()
    for version in arena.families:
        address = pods[destination].ip(version)
        assert address is not None
        probe = Probe(source, where, address, port, protocol, expect=destination)
        outcome = (await asyncio.to_thread(arena.prober.probe, probe, 0.6 * arena.patience)).outcome
        assert outcome in (Outcome.ALLOWED, Outcome.TIMEOUT), f"{probe}: {outcome.value}"
        found.add(outcome is Outcome.ALLOWED)
    return found


async def expect(arena: Arena, table: list[tuple[str, str, int, str, bool]]) -> None:
    """Rows of (source, destination, port, protocol, reached), tried again while a change is on its way."""
    wrong: list[str] = []
    for _ in range(20):
        wrong = []
        for source, destination, port, protocol, wanted in table:
            found = await reaches(arena, source, destination, port, protocol)
            if found != {wanted}:
                wrong.append(f"{source} → {destination} {protocol} {port}: expected {wanted}, found {found}")
        if not wrong:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("\n".join(wrong))


def deny_all_ingress(namespace: str) -> Operation:
    return policy(namespace, "deny-all", podSelector={}, policyTypes=["Ingress"])


async def test_128_a_node_reaches_its_own_pods_under_deny_all_and_no_other_node_does(arena: Arena) -> None:
    here, there = arena.lab.directory.nodes()[:2]
    local = next(pod.key for pod in arena.pods if pod.namespace == "x" and pod.node == here)
    remote = next(pod.key for pod in arena.pods if pod.namespace == "x" and pod.node == there)
    await expect(arena, [(here, local, 80, "TCP", True), (there, remote, 80, "TCP", True)])

    await arena.operate(deny_all_ingress("x"))

    await expect(
        arena,
        [
            (here, local, 80, "TCP", True),
            (here, local, 80, "UDP", True),
            (there, remote, 80, "TCP", True),
            (here, remote, 80, "TCP", False),
            (there, local, 80, "TCP", False),
            ("y/a", local, 80, "TCP", False),
        ],
    )


async def test_129_a_named_port_means_each_pods_own_number(arena: Arena) -> None:
    await arena.operate(
        policy(
            "x",
            "named",
            podSelector={},
            policyTypes=["Ingress"],
            ingress=[
                {
                    "from": [
                        {
                            "namespaceSelector": {"matchLabels": {"ns": "y"}},
                            "podSelector": {"matchLabels": {"pod": "a"}},
                        }
                    ],
                    "ports": [{"protocol": "TCP", "port": "serve"}],
                }
            ],
        )
    )

    await expect(
        arena,
        [
            ("y/a", "x/a", 80, "TCP", True),
            ("y/a", "x/b", 81, "TCP", True),
            ("y/a", "x/c", 82, "TCP", True),
            ("y/a", "x/a", 81, "TCP", False),
            ("y/a", "x/b", 80, "TCP", False),
            ("y/b", "x/a", 80, "TCP", False),
            ("y/b", "x/b", 81, "TCP", False),
        ],
    )


async def test_130_a_protocol_alone_allows_all_its_ports(arena: Arena) -> None:
    await arena.operate(
        policy(
            "x", "tcp", podSelector={}, policyTypes=["Ingress"], ingress=[{"ports": [{"protocol": "TCP"}]}]
        )
    )

    await expect(
        arena,
        [(source, "x/a", port, "TCP", True) for source in ("y/a", "z/b") for port in (80, 81, 82)]
        + [("y/a", "x/a", 80, "UDP", False), ("y/a", "x/a", 80, "SCTP", False)],
    )


async def test_131_a_range_allows_its_ports_and_no_others(arena: Arena) -> None:
    await arena.operate(
        policy(
            "x",
            "range",
            podSelector={"matchLabels": {"pod": "a"}},
            policyTypes=["Ingress"],
            ingress=[{"ports": [{"protocol": "TCP", "port": 81, "endPort": 82}]}],
        )
    )

    await expect(
        arena,
        [
            ("y/a", "x/a", 80, "TCP", False),
            ("y/a", "x/a", 81, "TCP", True),
            ("y/a", "x/a", 82, "TCP", True),
            ("y/a", "x/b", 80, "TCP", True),
        ],
    )
