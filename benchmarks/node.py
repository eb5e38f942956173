"""What a node's processes cost, in a lab of one node: the rows of ``benchmarks.flows`` that need an agent.

agent restart   SIGKILL's successor, from exec to "synchronized" in its log, with 3,000 policies in 15,000
                flows; mods are counted in vswitchd's own log of the messages that it receives
vswitchd killed the longest silence between two answers to one pair of pods, probed each 10 ms, while
                br-int holds about 1,000 flows
CNI ADD, DEL    whole executions of the plugin, as a container runtime sees them
memory          resident set, MB, of the process named
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Coroutine
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.realization import SPACE, TARGETS, one_of_many
from client.resources import NETWORK_POLICIES, PODS
from client.rest import RestClient
from lab import apply, pods
from lab.handle import Lab
from lab.inventory import probe_between
from lab.nodes import netns
from lab.nodes.kubelet import config as kubelet_config
from lab.probing import Prober

NODE = "node-1"
MANY = 3000
FEW = 180  # policies that make about 1,000 flows with those of the pods and the pipeline
CNI_RUNS = 40
PARALLEL = 16
MODS = re.compile(r"received: OFPT_(?:FLOW_MOD|GROUP_MOD|METER_MOD|BUNDLE_ADD_MESSAGE)")

Rows = dict[str, dict[str, Any]]

IDLE = "agent memory, idle"
LOADED = "agent memory, 3,000 policies"
CONTROLLER = "controller memory, 3,000 policies"
RESTART = "agent restart, 15,000 flows, from exec"
ADD = "CNI ADD, whole exec"
DEL = "CNI DEL, whole exec"
SILENCE = "vswitchd killed, 1,000 flows: silence"
NAMES = (IDLE, LOADED, CONTROLLER, RESTART, ADD, DEL, SILENCE)


def percentiles(milliseconds: list[float]) -> dict[str, Any]:
    ordered = sorted(milliseconds)
    return {
        "p50 ms": statistics.median(ordered),
        "p99 ms": ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))],
        "samples": len(ordered),
    }


class NodeBench:
    def __init__(self, lab: Lab, client: RestClient) -> None:
        self.lab = lab
        self.client = client
        self.node = lab.directory.node(NODE)
        self.policies = NETWORK_POLICIES.path(namespace=SPACE)
        self.rows: Rows = {}

    def memory(self, process: str) -> dict[str, Any]:
        return {"MB": float(self.lab.process(process)["memory"])}

    async def run(self) -> Rows:
        # Upstream's scenario has no pods beside the targets; a pair more is there to be probed.
        wanted = [
            pods.pod(f"{SPACE}/client", {"app": "client"}, node=NODE),
            pods.pod(f"{SPACE}/server", {"app": "server"}, [("UDP", 80)], node=NODE),
            *(pods.pod(f"{SPACE}/target-{i}", {"app": f"target-{i}"}, node=NODE) for i in range(TARGETS)),
        ]
        await asyncio.sleep(2)
        self.rows[IDLE] = self.memory(f"{NODE}/antrea-agent")
        await apply.apply_all(self.client, [pods.namespace(SPACE), *wanted])
        await self.lab.wait_pods_ready(self.client, timeout=60)
        await self.cni()
        await self.create(range(FEW))
        await self.silence()
        await self.create(range(FEW, MANY))
        await self.until_quiet()
        self.rows[LOADED] = self.memory(f"{NODE}/antrea-agent")
        self.rows[CONTROLLER] = self.memory("antrea-controller")
        await self.restart()
        return self.rows

    async def create(self, numbers: range) -> None:
        limit = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> None:
            async with limit:
                await self.client.create(self.policies, one_of_many(number))

        await asyncio.gather(*(one(number) for number in numbers))

    async def flows(self) -> int:
        """How many flows br-int has."""
        text = await asyncio.to_thread(
            self.lab.run_on_node, NODE, ["ovs-ofctl", "dump-aggregate", f"unix:{self.node.ovs}/br-int.mgmt"]
        )
        return int(text.stdout.rpartition("flow_count=")[2].split()[0])

    async def until_quiet(self) -> int:
        """Until the number of flows has not changed for a second; returns it."""
        last, since = await self.flows(), time.monotonic()
        while time.monotonic() - since < 1.0:
            await asyncio.sleep(0.1)
            if (now := await self.flows()) != last:
                last, since = now, time.monotonic()
        return last

    async def restart(self) -> None:
        target = next(iter(self.node.ovs.glob("ovs-vswitchd*.ctl")))
        for command in (["vlog/disable-rate-limit", "vconn"], ["vlog/set", "vconn:console:dbg"]):
            await asyncio.to_thread(self.lab.run_on_node, NODE, ["ovs-appctl", "-t", str(target), *command])
        switch_log, agent_log = self.node.log / "ovs-vswitchd.log", self.node.log / "antrea-agent.log"
        flows = await self.until_quiet()
        seconds, mods = [], 0
        for _ in range(5):
            await asyncio.to_thread(
                self.lab.kill, f"{NODE}/antrea-agent", "SIGSTOP"
            )  # so that stopping is a kill
            await asyncio.to_thread(self.lab.stop_process, f"{NODE}/antrea-agent", 0.0)
            before, offset = switch_log.stat().st_size, agent_log.stat().st_size
            started = time.monotonic()
            await asyncio.to_thread(self.lab.start_process, f"{NODE}/antrea-agent")
            while b"has been synchronized" not in tail(agent_log, offset):
                if time.monotonic() > started + 60:
                    raise TimeoutError(f"the agent did not synchronize within 60 s; its log is {agent_log}")
                await asyncio.sleep(0.005)
            seconds.append(time.monotonic() - started)
            await asyncio.sleep(2.0)  # whatever it sends later counts as well
            mods += len(MODS.findall(tail(switch_log, before).decode(errors="replace")))
        self.rows[RESTART] = {"flows": flows, "s": statistics.median(seconds), "mods": mods, "samples": 5}

    async def silence(self) -> None:
        found = {pod.key: pod for pod in await self.lab.pods(self.client)}
        flows = await self.until_quiet()
        probe = probe_between(found[f"{SPACE}/client"], found[f"{SPACE}/server"], 80, "UDP", 4)
        assert probe is not None
        gaps = []
        with Prober(self.lab.directory.probe_ports) as prober:
            stream = prober.stream(probe, 100.0, 0.3, repeat=False)
            for _ in range(5):
                await asyncio.sleep(2.0)
                killed = time.monotonic()
                await asyncio.to_thread(self.lab.kill, f"{NODE}/ovs-vswitchd")
                await asyncio.sleep(3.0)
                answered = sorted(r.ended_at for r in stream.results(killed - 1.0) if r.allowed)
                gaps.append(1000 * max(b - a for a, b in pairwise(answered)))
            stream.stop()
        self.rows[SILENCE] = {"flows": flows, **percentiles(gaps)}

    async def cni(self) -> None:
        """The kubelet stand-in is stopped, so that the plugin is called by nobody else for these pods."""
        config = kubelet_config.read(self.node.kubelet / "config.json")
        await asyncio.to_thread(self.lab.stop_process, f"{NODE}/kubelet")
        spent: dict[str, list[float]] = {"ADD": [], "DEL": []}
        try:
            for number in range(CNI_RUNS):
                name = f"cni-{number}"
                await apply.apply_all(self.client, [pods.pod(f"{SPACE}/{name}", {}, node=NODE)])
                document = (await self.client.request("GET", PODS.path(namespace=SPACE, name=name))).json()
                namespace = f"{config.lab}-bench-{number}"
                await asyncio.to_thread(subprocess.run, ["ip", "netns", "add", namespace], check=True)
                try:
                    environment = {
                        **os.environ,
                        **config.cni_environment,
                        "CNI_CONTAINERID": f"{number:064x}",
                        "CNI_NETNS": str(netns.path_of(namespace)),
                        "CNI_IFNAME": "eth0",
                        "CNI_PATH": "/opt/cni/bin",
                        "CNI_ARGS": f"K8S_POD_NAMESPACE={SPACE};K8S_POD_NAME={name};"
                        f"K8S_POD_UID={document['metadata']['uid']}",
                    }
                    for command in ("ADD", "DEL"):
                        spent[command].append(
                            await asyncio.to_thread(run_plugin, config, command, environment)
                        )
                finally:
                    await asyncio.to_thread(subprocess.run, ["ip", "netns", "del", namespace], check=True)
                    await self.client.request(
                        "DELETE", PODS.path(namespace=SPACE, name=name), query={"gracePeriodSeconds": 0}
                    )
        finally:
            await asyncio.to_thread(self.lab.start_process, f"{NODE}/kubelet")
        self.rows[ADD], self.rows[DEL] = percentiles(spent["ADD"][2:]), percentiles(spent["DEL"][2:])


def run_plugin(config: kubelet_config.KubeletConfig, command: str, environment: dict[str, str]) -> float:
    """Milliseconds from exec to exit. Raises RuntimeError with what the plugin said if it failed."""
    started = time.perf_counter()
    done = subprocess.run(
        config.cni_command,
        input=config.cni_config.encode(),
        env={**environment, "CNI_COMMAND": command},
        capture_output=True,
        timeout=60,
        check=False,
    )
    spent = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"CNI {command} failed: {done.stdout.decode()} {done.stderr.decode()}")
    return 1000 * spent


def tail(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


@cache
def measured() -> Rows:
    """All rows, from one lab, once a process."""

    async def bench() -> Rows:
        async with lab.client() as client:
            return await NodeBench(lab, client).run()

    lab = Lab("bench-node")
    if lab.directory.exists:
        lab.down()
    try:
        lab.up(1, "ipv4")
        runner: Callable[[Coroutine[Any, Any, Rows]], Rows] = asyncio.run
        return runner(bench())
    finally:
        if lab.directory.exists:
            lab.down()


if __name__ == "__main__":
    print(json.dumps(measured(), indent=2))
