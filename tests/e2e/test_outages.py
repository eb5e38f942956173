"""What goes on while the Kubernetes API is away: a restarted agent still finds its controller."""

from __future__ import annotations

import asyncio
import time

import pytest

from lab.handle import Lab
from lab.probing import Prober
from tests.e2e.runner import Arena
from tests.e2e.test_faults import POLICIES, policy
from tests.e2e.test_restarts import kill_and_wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

REVIEWS_LAST = 11.0  # seconds; a controller asks the Kubernetes API about a token again after 10 s
CONNECTED = "Connected to the controller"


def connections(lab: Lab, node: str) -> int:
    log = lab.directory.node(node).log / "antrea-agent.log"
    return log.read_text(errors="replace").count(CONNECTED)


def restart_without_the_api(lab: Lab, node: str) -> None:
    lab.stop_process("api")
    time.sleep(REVIEWS_LAST)
    before = connections(lab, node)
    kill_and_wait(lab, f"{node}/antrea-agent")
    deadline = time.monotonic() + 30
    while connections(lab, node) == before:
        assert time.monotonic() < deadline, "the agent did not find its controller without the Kubernetes API"
        time.sleep(0.1)


async def test_an_agent_finds_its_controller_without_the_kubernetes_api() -> None:
    lab = Lab("e2e-outage")
    if lab.directory.exists:
        lab.down()
    lab.up(nodes=1, family="ipv4")
    try:
        node = lab.directory.nodes()[0]
        async with lab.client() as client:
            with Prober(lab.directory.probe_ports) as prober:
                arena = Arena(lab, client, prober, [4])
                await arena.prepare([node])
                for operation in POLICIES:
                    await arena.operate(operation)
                assert await arena.disagreements([("TCP", 80)]) == []

                await asyncio.to_thread(restart_without_the_api, lab, node)
                assert await arena.disagreements([("TCP", 80)]) == []

                await asyncio.to_thread(lab.start_process, "api")
                deadline = asyncio.get_running_loop().time() + 30
                while True:
                    try:
                        await client.get("/readyz")
                        break
                    except Exception:
                        assert asyncio.get_running_loop().time() < deadline
                        await asyncio.sleep(0.2)
                await arena.operate(policy("z", "closed", podSelector={}, policyTypes=["Ingress"]))
                assert await arena.disagreements([("TCP", 80)]) == []
    finally:
        lab.down()
