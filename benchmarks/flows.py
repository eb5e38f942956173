"""How fast policy rules become flows: ``python -m benchmarks.flows`` (root, Open vSwitch).

The first rows go the agent's own way, from rules with resolved members through PolicyFlows and
FlowProgrammer to OVS's barrier reply; "narrow" rules have one peer and one port of their own (five flows
each, as upstream's test of 3,000 policies has them), "wide" rules have a hundred peers. Columns:

    s, flows/s     everything together
    declare s      rules to wanted flows
    CPU s          of the agent's side, for the whole
    delete s       taking all of it back

The row "restart" is a process that starts with what its predecessor left: 3,000 policies known from the disk,
their 15,000 flows in OVS. ``mods`` is what it sent. The rows after it come from a whole agent in a lab:
`benchmarks.node` says what they mean.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from agent.model import Direction, NodeConfig, OFPort, PolicyReference, PolicyRule, ServicePort
from agent.pipeline.client import ConjunctionIds, FlowProgrammer, PodConnectivity, PolicyFlows
from benchmarks import common, node
from tests.support.ovs import OpenVSwitch, unique

COLUMNS = (
    "row",
    *("flows", "rules", "s", "flows/s", "declare s", "CPU s", "delete s", "mods"),
    *("p50 ms", "p99 ms", "samples", "MB"),
)

NODE = NodeConfig(
    name="bench",
    transport_ips=(ipaddress.ip_address("192.0.2.1"),),
    pod_cidrs=(ipaddress.ip_network("10.77.1.0/24"),),
    gateway_name="antrea-gw0",
    gateway_mac="82:75:0d:08:31:00",
    gateway_ips=(ipaddress.ip_address("10.77.1.1"),),
    gateway_ofport=32769,
    tunnel_ofport=32768,
)


def rules(count: int, peers: int) -> list[PolicyRule]:
    """Ingress rules for one pod, each with peers and a port that no other has."""
    base = int(ipaddress.ip_address("10.128.0.0"))
    target = frozenset({OFPort(1)})
    return [
        PolicyRule(
            f"rule-{number}",
            PolicyReference("K8sNetworkPolicy", "default", f"policy-{number}", f"uid-{number}"),
            Direction.INGRESS,
            frozenset(ipaddress.IPv4Address(base + number * peers + peer) for peer in range(peers)),
            target,
            (ServicePort("TCP", 1000 + number),),
            isolated=target,
        )
        for number in range(count)
    ]


class Side:
    """The flow side of an agent."""

    def __init__(self, socket: str, run_dir: Path) -> None:
        self.programmer = FlowProgrammer(socket, NODE, run_dir)
        self.ids = ConjunctionIds(run_dir / "conjunction-ids")
        self.policies = PolicyFlows(self.programmer, NODE, self.ids)
        PodConnectivity(self.programmer, NODE).install_static()
        self.policies.install_static()

    async def stop(self) -> None:
        await self.programmer.stop()
        self.ids.close()


async def throughput(socket: str, run_dir: Path, count: int, peers: int) -> dict[str, Any]:
    side = Side(socket, run_dir)
    await side.programmer.start()
    await side.programmer.synchronize()
    wanted = rules(count, peers)
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    for rule in wanted:
        side.policies.set(rule)
    declared = time.perf_counter()
    result = await side.programmer.commit()
    await side.programmer.barrier()
    ended = time.perf_counter()
    cpu = time.process_time() - cpu
    if result.failures:
        sys.exit(f"the switch refused flows: {result.failures[0]}")
    for rule in wanted:
        side.policies.delete(rule.id)
    await side.programmer.commit()
    await side.programmer.barrier()
    deleted = time.perf_counter() - ended
    await side.stop()
    return {
        "flows": result.added, "rules": count, "s": ended - began,
        "flows/s": round(result.added / (ended - began)),
        "declare s": declared - began, "CPU s": cpu, "delete s": deleted, "mods": result.total,
    }  # fmt: skip


async def restart(socket: str, run_dir: Path) -> dict[str, Any]:
    """Installs the flows, then lets another process find them."""
    wanted = rules(3000, 1)
    side = Side(socket, run_dir)
    await side.programmer.start()
    await side.programmer.synchronize()
    for rule in wanted:
        side.policies.set(rule)
    flows = (await side.programmer.commit()).added
    await side.stop()
    (run_dir / "rules").write_bytes(pickle.dumps(wanted))
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.flows", "--successor", socket, str(run_dir)]
    answer = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"the second process failed: {answer.stderr}")
    found = json.loads(answer.stdout)
    return {
        "flows": flows,
        "rules": 3000,
        "s": found["ended"] - began,
        "mods": found["mods"],
        "CPU s": found["cpu"],
    }


async def successor(socket: str, run_dir: Path) -> None:
    """The second process: wants what was wanted before, compares, and says what it sent."""
    side = Side(socket, run_dir)
    for rule in pickle.loads((run_dir / "rules").read_bytes()):  # written by restart() above
        side.policies.set(rule)
    await side.programmer.start()
    result = await side.programmer.synchronize()
    print(
        json.dumps({"ended": time.perf_counter(), "mods": result.total, "cpu": time.process_time()}),
        flush=True,
    )
    await side.stop()


Measure = Callable[[str, Path], Coroutine[Any, Any, dict[str, Any]]]


def with_bridge(measure: Measure) -> dict[str, Any]:
    """Runs a measurement on an Open vSwitch of its own: (management socket, run directory of the agent)."""
    with (
        tempfile.TemporaryDirectory(prefix="bf") as directory,
        OpenVSwitch(Path(directory), unique("aofb")) as ovs,
    ):
        ovs.vsctl(
            "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev",
            "fail_mode=secure", "protocols=OpenFlow10,OpenFlow15",
        )  # fmt: skip
        return asyncio.run(measure(str(ovs.run_dir / "br-int.mgmt"), Path(directory) / "agent"))


def shape(count: int, peers: int) -> Callable[[], dict[str, Any]]:
    return lambda: with_bridge(lambda socket, run_dir: throughput(socket, run_dir, count, peers))


# Every row and what measures it. Rows on a whole agent (a restart with its policies from disk, a CNI ADD, the
# memory of each process) belong here as well: a function without arguments that gives columns and values.
def node_row(name: str) -> dict[str, Any]:
    return node.measured()[name]


ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "1,000 flows, narrow rules": shape(200, 1),
    "20,000 flows, narrow rules": shape(4000, 1),
    "100,000 flows, narrow rules": shape(20000, 1),
    "1,000 flows, wide rules": shape(10, 96),
    "20,000 flows, wide rules": shape(192, 100),
    "100,000 flows, wide rules": shape(962, 100),
    "restart, 15,000 flows of 3,000 policies": lambda: with_bridge(restart),
    **{name: partial(node_row, name) for name in node.NAMES},
}


def main() -> None:
    if sys.argv[1:2] == ["--successor"]:
        asyncio.run(successor(sys.argv[2], Path(sys.argv[3])))
        return
    arguments = common.parser("From policy rules to OVS's barrier reply.", list(ROWS)).parse_args()
    common.run(
        "Flows through the agent's reconciler", COLUMNS, list(ROWS), lambda row, _: ROWS[row](), arguments
    )


if __name__ == "__main__":
    main()
