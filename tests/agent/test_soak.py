"""Two hundred pods that come, talk and go on one node, through the real agent, plugin and Open vSwitch.

Given two pods that stay, nothing else may stay: no port, device, address, namespace, connection, descriptor
or thread, and memory no more than a bounded amount. Neither an address nor a port number comes back while
others are free, for somewhere there may still be a flow that names it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cni import plugin
from tests.agent.test_process import Node
from tests.support.ovs import Namespace

LIVES = 200
WARM_UP = 40  # lives after which the process counts as settled
GROWTH = 15.0  # MB of resident memory that the rest may cost

# One TCP connection in either direction, orderly closed; the listener's address is the argument.
TALK = """
import socket, sys
listener = socket.create_server((sys.argv[2], 0)) if sys.argv[1] == "listen" else None
if listener:
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100))
    connection.recv(1)
else:
    connection = socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=5)
    connection.sendall(b"hello")
    assert connection.recv(100) == b"hello"
connection.close()
"""


@dataclass
class Pods:
    """Pods of one node, attached by the plugin as a container runtime would."""

    node: Node
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # of their OpenFlow ports
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"ADD": [], "DEL": []})

    def cni(self, command: str, pod: str) -> Any:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"cid-{pod}",
            "CNI_NETNS": self.namespaces[pod].path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}",
            "CNI_PATH": "/",
        }
        config = {"cniVersion": "1.1.0", "name": "antrea", "type": "antrea", "ipam": {"type": "host-local"}}
        began = time.monotonic()
        result = subprocess.run(
            [str(self.node.directory / "bin" / "antrea")],
            input=json.dumps(config),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.seconds[command].append(time.monotonic() - began)
        assert (result.returncode, result.stderr) == (0, ""), result.stdout
        return json.loads(result.stdout) if result.stdout else None

    def add(self, pod: str) -> str:
        self.namespaces[pod] = Namespace(f"{self.node.ovs.namespace.name}-{pod}").create()
        result = self.cni("ADD", pod)
        self.addresses[pod] = result["ips"][0]["address"].partition("/")[0]
        device = result["interfaces"][0]["name"]
        self.numbers[pod] = int(self.node.ovs.vsctl("get", "interface", device, "ofport"))
        return self.addresses[pod]

    def remove(self, pod: str) -> None:
        self.cni("DEL", pod)
        self.namespaces.pop(pod).delete()

    def talk(self, server: str, client: str) -> None:
        listening = subprocess.Popen(
            self.namespaces[server].command(sys.executable, "-SIc", TALK, "listen", self.addresses[server]),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert listening.stdout is not None
        port = listening.stdout.readline().strip()
        self.namespaces[client].run(sys.executable, "-SIc", TALK, "connect", self.addresses[server], port)
        assert listening.wait(10) == 0
        listening.stdout.close()


@pytest.fixture
def pods() -> Iterator[Pods]:
    directory = Path(tempfile.mkdtemp(prefix="asoak-"))  # short: sockets live in it
    node = Node(directory)
    made = Pods(node)
    try:
        node.prepare()
        node.remember_policies()
        plugin.install(str(directory / "bin"), str(node.run_dir / "cni.sock"))
        node.start()
        yield made
    finally:
        node.close()
        for namespace in made.namespaces.values():
            namespace.delete()
        shutil.rmtree(directory, ignore_errors=True)


def footprint(node: Node) -> dict[str, Any]:
    """All that a pod's life could leave behind."""
    namespace = node.ovs.namespace
    assert node.process is not None
    process = Path("/proc", str(node.process.pid))
    devices = json.loads(namespace.run("ip", "-j", "link", "show", "type", "veth") or "[]")
    return {
        "ports": sorted(node.ovs.vsctl("list-ports", "br-int").split()),
        "interfaces in OVSDB": len(node.ovs.vsctl("--columns=_uuid", "list", "interface").split("_uuid")) - 1,
        "devices": sorted(device["ifname"] for device in devices),
        "namespaces": sorted(
            name for name in os.listdir("/run/netns") if name.startswith(f"{namespace.name}-")
        ),
        "addresses": sorted(
            name for name in os.listdir(node.directory / "cni" / "antrea") if name.startswith("10.")
        ),
        "flows": len(node.ovs.ofctl("dump-flows", node.ovs.bridge("br-int")).splitlines()),
        "podinterfaces": len(json.loads(node.get("podinterfaces"))),
        "threads": len(os.listdir(process / "task")),
        "descriptors": len(os.listdir(process / "fd")),
    }


def resident(node: Node) -> float:
    """MB"""
    assert node.process is not None
    status = Path("/proc", str(node.process.pid), "status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def established(node: Node, addresses: set[str]) -> list[str]:
    """Connections of these addresses that conntrack takes for alive."""
    dump = node.ovs.appctl("dpctl/dump-conntrack")
    lines = [line for line in dump.splitlines() if "state=ESTABLISHED" in line]
    return [line for line in lines if any(f"={address}," in line for address in addresses)]


def live(pods: Pods, number: int) -> None:
    pod = f"p{number}"
    pods.add(pod)
    pods.talk(pod, "stay-0")
    pods.talk("stay-1", pod)
    pods.remove(pod)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_two_hundred_lives_leave_nothing_behind(pods: Pods) -> None:
    for name in ("stay-0", "stay-1"):
        pods.add(name)
    for number in range(WARM_UP):
        live(pods, number)
    before, memory = footprint(pods.node), resident(pods.node)
    for number in range(WARM_UP, LIVES):
        live(pods, number)
    assert footprint(pods.node) == before
    growth = resident(pods.node) - memory
    for command, seconds in pods.seconds.items():
        cuts = statistics.quantiles(seconds[WARM_UP:], n=100)
        print(f"{command}: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
    print(f"resident memory: {memory:.1f} MB after {WARM_UP} lives, {growth:+.1f} MB after {LIVES}")
    assert growth < GROWTH
    for given in (pods.addresses, pods.numbers):
        assert len(set(given.values())) == LIVES + 2, f"something came back while others were free: {given}"
    gone = {address for pod, address in pods.addresses.items() if pod not in pods.namespaces}
    assert established(pods.node, gone) == []
