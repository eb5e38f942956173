"""What a restart may cost: of an agent or the controller nothing, of ovs-vswitchd a short silence.

Conversations of 200 messages a second run between pods of one node and of two, over TCP and UDP, while
processes are killed. How much the agent sends to OVS is read from vswitchd's own log of what it receives.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.handle import Lab
from lab.inventory import LabPod
from lab.probing import Prober
from tests.e2e.policysets import Operation
from tests.e2e.runner import Arena
from tests.e2e.test_faults import POLICIES, policy

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ECHO = str(Path(__file__).with_name("echo.py"))
PORT = 9000
MODS = re.compile(r"received: OFPT_(FLOW_MOD|GROUP_MOD|METER_MOD|BUNDLE_ADD_MESSAGE)")
SERVER, NEIGHBOUR, STRANGER = "x/a", "x/c", "y/b"  # on node 1, node 1 and node 2


@asynccontextmanager
async def arena(name: str, more: list[Operation]) -> AsyncIterator[Arena]:
    lab = Lab(name)
    if lab.directory.exists:
        lab.down()
    lab.up(nodes=2, family="ipv4")
    try:
        async with lab.client() as client:
            with Prober(lab.directory.probe_ports) as prober:
                made = Arena(lab, client, prober, [4])
                await made.prepare(lab.directory.nodes())
                for operation in [*POLICIES, *more]:
                    await made.operate(operation)
                assert await made.disagreements([("TCP", 80)]) == []
                yield made
    finally:
        lab.down()


def talk_policy() -> Operation:
    """Everyone may talk to x/a on the echo port; x/a may start nothing, so only its answers get out."""
    ports = [{"protocol": "TCP", "port": PORT}, {"protocol": "UDP", "port": PORT}]
    return policy(
        "x",
        "echo",
        podSelector={"matchLabels": {"pod": "a"}},
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": [{"namespaceSelector": {}}], "ports": ports}],
    )


class Conversation:
    def __init__(self, source: LabPod, protocol: str, host: str) -> None:
        assert source.netns is not None
        self.name = f"{source.key} {protocol}"
        self._process = subprocess.Popen(
            ["nsenter", f"--net={source.netns}", sys.executable, ECHO, "talk", protocol, host, str(PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "talking\n", f"{self.name} could not begin"

    def end(self) -> dict[str, float]:
        output, _ = self._process.communicate("", timeout=15)
        return dict(json.loads(output))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def conversations(made: Arena) -> Iterator[list[Conversation]]:
    pods = {pod.key: pod for pod in made.pods}
    server = pods[SERVER]
    assert server.netns is not None
    echo = subprocess.Popen(
        ["nsenter", f"--net={server.netns}", sys.executable, ECHO, "serve", str(PORT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    talking: list[Conversation] = []
    try:
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"
        host = server.ip(4)
        assert host is not None
        for key in (NEIGHBOUR, STRANGER):
            for protocol in ("tcp", "udp"):
                talking.append(Conversation(pods[key], protocol, host))
        time.sleep(0.5)
        yield talking
    finally:
        for each in talking:
            each.kill()
        echo.kill()
        echo.wait()


def received_mods(lab: Lab, node: str) -> int:
    """How many modifications vswitchd has received since its log was asked to list messages."""
    log = lab.directory.node(node).log / "ovs-vswitchd.log"
    return len(MODS.findall(log.read_text(errors="replace")))


def list_messages(lab: Lab, node: str) -> None:
    """Make vswitchd write down every OpenFlow message that it receives, without a limit on their rate."""
    socket = lab.directory.node(node).ovs
    for command in (["vlog/disable-rate-limit", "vconn"], ["vlog/set", "vconn:console:dbg"]):
        target = next(iter(socket.glob("*vswitchd*.ctl")))
        lab.run_on_node(node, ["ovs-appctl", "-t", str(target), *command])


def wait_until_up(lab: Lab, process: str, restarts: int, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        row = lab.process(process)
        if row["state"] == "running" and int(row["restarts"]) > restarts:
            return
        assert time.monotonic() < deadline, f"{process} did not come back: {row}"
        time.sleep(0.05)


def kill_and_wait(lab: Lab, process: str) -> None:
    before = int(lab.process(process)["restarts"])
    lab.kill(process)
    wait_until_up(lab, process, before)


async def test_killed_agents_and_controllers_cost_no_packet_and_send_nothing() -> None:
    async with arena("e2e-restarts", [talk_policy()]) as made:
        lab, node = made.lab, made.lab.directory.nodes()[0]
        list_messages(lab, node)

        def faults() -> list[tuple[str, dict[str, float]]]:
            with conversations(made) as talking:
                for _ in range(3):
                    kill_and_wait(lab, f"{node}/antrea-agent")
                    time.sleep(2.0)
                    kill_and_wait(lab, "antrea-controller")
                    time.sleep(2.0)
                return [(each.name, each.end()) for each in talking]

        before = received_mods(lab, node)
        for name, found in await asyncio.to_thread(faults):
            assert found["echoed"] == found["sent"], f"{name} lost messages: {found}"
        assert received_mods(lab, node) == before, "a restart with nothing changed sent modifications to OVS"

        # The count can fail: a policy that is new does send something.
        await made.operate(policy("x", "another", podSelector={}, policyTypes=["Egress"]))
        assert await made.disagreements([("TCP", 80)]) == []
        assert received_mods(lab, node) > before


async def test_a_killed_vswitchd_ends_no_allowed_connection() -> None:
    async with arena("e2e-vswitchd", [talk_policy()]) as made:
        lab, node = made.lab, made.lab.directory.nodes()[0]

        def faults() -> list[tuple[str, dict[str, float]]]:
            with conversations(made) as talking:
                for _ in range(3):
                    time.sleep(3.0)  # longer than the period of the connection tracking snapshot
                    kill_and_wait(lab, f"{node}/ovs-vswitchd")
                time.sleep(3.0)
                return [(each.name, each.end()) for each in talking]

        for name, found in await asyncio.to_thread(faults):
            if name.endswith("tcp"):
                assert found["echoed"] == found["sent"], f"{name} broke: {found}"
            else:
                assert found["echoed"] > 0.5 * found["sent"], f"{name} did not go on: {found}"


async def test_every_process_ends_within_five_seconds_of_sigterm() -> None:
    async with arena("e2e-sigterm", []) as made:
        lab = made.lab
        node = lab.directory.nodes()[0]

        def stop_all() -> dict[str, float]:
            found = {}
            for process in (f"{node}/antrea-agent", f"{node}/kubelet", "antrea-controller", "api"):
                found[process] = lab.stop_process(process, grace=30.0)
                lab.start_process(process)
            return found

        seconds: dict[str, Any] = await asyncio.to_thread(stop_all)
        assert {name: spent for name, spent in seconds.items() if spent >= 5.0} == {}
        assert await made.disagreements([("TCP", 80)]) == []
