"""The pod side of an agent as a process of its own: OVS, node, CNI, peers; no Kubernetes and no policies.

    nsenter --net=… python -m tests.support.mini_agent DIRECTORY OVS_RUN_DIR POD_CIDR[,POD_CIDR]
        [--name NODE] [--ips IP,IP] [--die STEP] [--gate SECONDS]

Prints "ready N" when the CNI socket DIRECTORY/cni.sock answers; N is how many mods its start sent to OVS.
With ``--die before:NAME`` or ``after:NAME`` it kills itself at that step of the next request, as SIGKILL from
outside could at any moment. Two files stand for the Kubernetes API: DIRECTORY/pods lists the pods that run
here, one NAMESPACE/NAME a line (without it the API cannot say), DIRECTORY/nodes.json holds a list of Node
objects and is read again on SIGHUP; each pass over the nodes prints "nodes". With ``--gate`` a pod's policies
count as realized once the file DIRECTORY/realized exists, and a controller as connected.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from agent.cni import veth
from agent.cni.attach import PodAttacher
from agent.cni.ipam import HostLocalIPAM
from agent.cni.pods import LocalPod
from agent.cni.readiness import NoPolicies
from agent.cni.server import CNIServer
from agent.interfaces import InterfaceStore
from agent.nodes.controller import NodeController
from agent.nodes.neighbors import NeighborKeeper
from agent.nodes.netlink import Netlink
from agent.nodes.objects import NodeFacts
from agent.nodes.prepare import NodeSettings, prepare_node
from agent.ovs.bridge import OVSBridge
from agent.ovs.database import Database
from agent.pipeline import unixctl
from agent.pipeline.pod_connectivity import PodConnectivity
from agent.pipeline.programmer import FlowProgrammer
from agent.policies.readiness import Readiness

IPS = "192.0.2.1,2001:db8::1"


async def run(arguments: argparse.Namespace) -> None:
    directory, ovs_run_dir, die = arguments.directory, arguments.ovs_run_dir, arguments.die
    netlink = Netlink()
    database = Database(ovs_run_dir)
    await database.connect(patience=10)
    bridge = OVSBridge(database, datapath_type="netdev")
    pod_cidrs = tuple(ipaddress.ip_network(text) for text in arguments.pod_cidrs.split(","))
    families = {cidr.version for cidr in pod_cidrs}
    ips = tuple(ip for ip in map(ipaddress.ip_address, arguments.ips.split(",")) if ip.version in families)
    settings = NodeSettings(ovs_run_dir=ovs_run_dir, datapath_type="netdev")
    node = await prepare_node(settings, NodeFacts(arguments.name, ips, ips, pod_cidrs), bridge, netlink)
    control = unixctl.socket_of_vswitchd(ovs_run_dir)
    programmer = FlowProgrammer(bridge.management_socket, node, directory, unixctl=control)
    await programmer.start()
    connectivity = PodConnectivity(programmer, node)
    connectivity.install_static()
    interfaces = InterfaceStore()
    ipam = HostLocalIPAM(directory / "networks" / "antrea", pod_cidrs)
    attacher = PodAttacher(
        node=node,
        bridge=bridge,
        interfaces=interfaces,
        ipam=ipam,
        netlink=netlink,
        connectivity=connectivity,
        programmer=programmer,
        readiness=Gate(directory / "realized") if arguments.gate else NoPolicies(),
        policy_wait_timeout=arguments.gate,
    )
    server = CNIServer(directory / "cni.sock", attacher, interfaces)
    await server.restore(known_pods(directory / "pods"))
    result = await programmer.synchronize()
    await server.discard_stale()
    if die:
        moment, _, step = die.partition(":")
        holder: dict[str, Any] = {
            "allocate": ipam,
            "create_pair": veth,
            "configure": veth,
            "add_pod_port": bridge,
            "add": interfaces,
            "install_pod": connectivity,
            "commit": programmer,
            "uninstall_pod": connectivity,
            "delete_port": bridge,
            "delete": veth,
            "release": ipam,
        }
        arm(holder[step], step, moment)
    await server.start()
    server.ready.set()
    print(f"ready {result.total}", flush=True)
    neighbors = NeighborKeeper(ovs_run_dir, netlink)
    nodes = NodeController(node, connectivity, programmer, netlink, neighbors)
    following = asyncio.create_task(follow_nodes(directory / "nodes.json", nodes))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    following.cancel()
    await server.stop()
    await programmer.stop()
    await database.close()
    netlink.close()


class Gate:
    """Policies that are realized when the test says so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def wait(self, pod_uid: str, timeout: float) -> Readiness:
        try:
            async with asyncio.timeout(timeout):
                while not self._path.exists():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return Readiness.TIMED_OUT
        return Readiness.REALIZED


def read_nodes(path: Path) -> list[msgspec.Raw] | None:
    return msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw]) if path.exists() else None


async def follow_nodes(path: Path, nodes: NodeController) -> None:
    again = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.set)
    announced = asyncio.Event()
    announced.set()
    reconcile = nodes.reconcile

    async def announce() -> bool:
        """The pass that follows a list says so; those that the controller makes by itself do not."""
        complete = await reconcile()
        if not announced.is_set():
            print("nodes", flush=True)
            announced.set()
        return complete

    nodes.reconcile = announce  # type: ignore[method-assign]
    running = asyncio.create_task(nodes.run())
    try:
        while True:
            objects = read_nodes(path)
            if objects is not None:
                announced.clear()
                await nodes.list_started()
                await nodes.list_page(objects)
                await nodes.list_finished()
                await announced.wait()
            await again.wait()
            again.clear()
    finally:
        running.cancel()


def known_pods(path: Path) -> list[LocalPod] | None:
    if not path.exists():
        return None
    return [LocalPod(*line.split("/"), uid="") for line in path.read_text().split()]


def arm(holder: Any, name: str, moment: str) -> None:
    """Replace a function by one that is the last thing this process does."""
    original: Callable[..., Any] = getattr(holder, name)

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def synchronous(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            end()
        result = original(*args, **kwargs)
        end()
        return result

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            end()
        result = await original(*args, **kwargs)
        end()
        return result

    setattr(holder, name, asynchronous if asyncio.iscoroutinefunction(original) else synchronous)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("ovs_run_dir", type=Path)
    parser.add_argument("pod_cidrs")
    parser.add_argument("--name", default="node-1")
    parser.add_argument("--ips", default=IPS)
    parser.add_argument("--die", default="")
    parser.add_argument("--gate", type=float, default=0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the agent itself runs
        runner.run(run(parser.parse_args()))
