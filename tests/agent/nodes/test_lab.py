"""Two nodes with Open vSwitch and an underlay: tunnel, routes, neighbours, and what brings them back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cni import plugin
from tests.agent.cni.test_lab import Node
from tests.support.ovs import OpenVSwitch, run, unique

pytestmark = pytest.mark.lab

VIRTUAL_MAC = "aa:bb:cc:dd:ee:ff"


class LabNode(Node):
    """A node with an underlay bridge, in a cluster of which nodes.json tells it."""

    number = 0

    def set_nodes(self, objects: list[dict[str, Any]]) -> None:
        (self.directory / "nodes.json").write_text(json.dumps(objects))
        if self.agent is not None:
            self.agent.send_signal(signal.SIGHUP)
            self.await_nodes()

    def await_nodes(self) -> None:
        assert self.agent is not None
        assert self.agent.stdout is not None
        assert self.agent.stdout.readline() == "nodes\n", (self.directory / "agent.log").read_text()[-3000:]

    def options(self) -> list[str]:
        return ["--name", f"n{self.number}", "--ips", f"192.0.2.{self.number},2001:db8::{self.number}"]

    def routes(self, family: str = "-4") -> set[tuple[str, str | None]]:
        out = self.ovs.namespace.run("ip", "-j", family, "route", "show", "dev", "antrea-gw0")
        return {(route["dst"], route.get("gateway")) for route in json.loads(out or "[]")}


def node_object(number: int, cidrs: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"n{number}"},
        "spec": {"podCIDRs": cidrs.split(",")},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"192.0.2.{number}"},
                {"type": "InternalIP", "address": f"2001:db8::{number}"},
            ]
        },
    }


CIDRS = {1: "10.77.1.0/24,fd00:10:77:1::/64", 2: "10.77.2.0/24,fd00:10:77:2::/64"}
OBJECTS = [node_object(number, cidrs) for number, cidrs in CIDRS.items()]


def prepare_underlay(node: LabNode) -> None:
    ovs = node.ovs
    # What arrives on eth1 is for OVS alone; the kernel would answer ARP for br-phy's address with its MAC.
    keys = ("ipv4/conf/eth1/arp_ignore=8", "ipv4/conf/eth1/rp_filter=1", "ipv6/conf/eth1/disable_ipv6=1")
    for key, _, value in (text.partition("=") for text in keys):
        ovs.namespace.run("sh", "-c", f"echo {value} > /proc/sys/net/{key}")
    ovs.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev")
    ovs.vsctl("add-port", "br-phy", "eth1")
    ovs.namespace.run("ip", "addr", "add", f"192.0.2.{node.number}/24", "dev", "br-phy")
    ovs.namespace.run("ip", "addr", "add", f"2001:db8::{node.number}/64", "dev", "br-phy", "nodad")
    ovs.namespace.run("ip", "link", "set", "br-phy", "up")
    ovs.namespace.run("ip", "link", "set", "eth1", "up")


@pytest.fixture
def nodes() -> Iterator[tuple[LabNode, LabNode]]:
    directories = [Path(tempfile.mkdtemp(prefix="aocn-")) for _ in range(2)]
    made: list[LabNode] = []
    try:
        with (
            OpenVSwitch(directories[0], unique("aocn")) as a,
            OpenVSwitch(directories[1], unique("aocn")) as b,
        ):
            run("ip", "-n", a.namespace.name, "link", "add", "eth1", "type", "veth",
                "peer", "name", "eth1", "netns", b.namespace.name)  # fmt: skip
            for number, (directory, ovs) in enumerate(zip(directories, (a, b), strict=True), 1):
                node = LabNode(directory, ovs, CIDRS[number])
                node.number = number
                made.append(node)
                prepare_underlay(node)
                plugin.install(str(directory / "bin"), str(directory / "cni.sock"))
                node.set_nodes(OBJECTS)
            try:
                for node in made:
                    node.start_agent()
                for node in made:
                    node.await_nodes()
                yield made[0], made[1]
            finally:
                for node in made:
                    node.stop_agent(kill=True)
                    for namespace in node.pods.values():
                        namespace.delete()
    finally:
        for directory in directories:
            shutil.rmtree(directory)


Pair = tuple[LabNode, LabNode]


def test_gateway_routes_and_pods_across_the_tunnel(nodes: Pair) -> None:
    first, second = nodes
    a, b = first.add("web-0"), second.add("cli-1")
    # The very first packet arrives: OVS knows the tunnel's neighbour before it needs it.
    for version in (4, 6):
        assert first.ping("web-0", second.address(b, version)), version
        assert second.ping("cli-1", first.address(a, version)), version
    gateway = first.ovs.namespace
    for target in (second.address(b), second.address(b, 6), "10.77.2.1"):
        assert (
            subprocess.run(gateway.command("ping", "-c2", "-W2", target), capture_output=True).returncode == 0
        ), target
    assert first.routes() == {("10.77.1.0/24", None), ("10.77.2.0/24", "10.77.2.1")}
    assert {("fd00:10:77:2::/64", "fd00:10:77:2::1"), ("fd00:10:77:2::1", None)} <= first.routes("-6")
    (link,) = json.loads(gateway.run("ip", "-j", "addr", "show", "antrea-gw0"))
    found = [
        f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"] if entry["scope"] == "global"
    ]
    assert sorted(found) == ["10.77.1.1/24", "fd00:10:77:1::1/64"]
    assert link["mtu"] == 1430  # 1500 less Geneve over IPv6
    assert gateway.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert gateway.run("cat", "/proc/sys/net/ipv4/conf/antrea-gw0/arp_announce").strip() == "1"
    neighbors = json.loads(
        gateway.run("ip", "-j", "-6", "neigh", "show", "dev", "antrea-gw0", "nud", "permanent")
    )
    assert [(entry["dst"], entry["lladdr"]) for entry in neighbors] == [("fd00:10:77:2::1", VIRTUAL_MAC)]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is missing: install Debian's nftables")
def test_a_pod_reaches_outside_addresses_by_its_nodes_address(nodes: Pair) -> None:
    first, second = nodes
    first.add("web-0")
    second.ovs.namespace.run("ip", "route", "del", "10.77.1.0/24")  # as everybody outside the cluster
    assert first.ping("web-0", "192.0.2.2", 2)
    table = first.ovs.namespace.run("nft", "list", "table", "inet", "antrea")
    assert "ip saddr 10.77.1.0/24" in table
    assert "10.77.2." in table  # nft may write adjacent prefixes as one range
    first.ovs.namespace.run("nft", "delete", "table", "inet", "antrea")
    first.set_nodes(OBJECTS)
    assert "masquerade" in first.ovs.namespace.run("nft", "list", "table", "inet", "antrea")


def test_a_large_packet_crosses_the_tunnel(nodes: Pair) -> None:
    first, second = nodes
    first.add("web-0")
    target = second.address(second.add("cli-1"))
    command = first.namespace("web-0").command("ping", "-c1", "-W2", "-M", "do", "-s", "1402", target)
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_a_node_that_leaves_takes_its_routes_and_flows(nodes: Pair) -> None:
    first, _ = nodes
    assert first.flows("10.77.2.0/24")
    first.set_nodes(OBJECTS[:1])
    assert first.routes() == {("10.77.1.0/24", None)}
    assert not any("10:77:2" in route[0] for route in first.routes("-6"))
    assert first.flows("10.77.2.0/24") == []
    first.set_nodes(OBJECTS)
    assert ("10.77.2.0/24", "10.77.2.1") in first.routes()


def test_routes_are_desired_state_and_others_are_left_alone(nodes: Pair) -> None:
    first, _ = nodes
    namespace = first.ovs.namespace
    namespace.run("ip", "route", "del", "10.77.2.0/24")
    namespace.run("ip", "addr", "add", "10.77.1.99/24", "dev", "antrea-gw0")
    namespace.run("ip", "route", "add", "198.51.100.0/24", "dev", "antrea-gw0")
    first.set_nodes(OBJECTS)
    assert {("10.77.2.0/24", "10.77.2.1"), ("198.51.100.0/24", None)} <= first.routes()


def test_an_agent_restart_removes_what_an_earlier_one_left(nodes: Pair) -> None:
    first, _ = nodes
    first.stop_agent(kill=True)
    first.ovs.namespace.run(
        "ip", "route", "add", "10.77.9.0/24", "via", "10.77.9.1", "dev", "antrea-gw0", "onlink", "proto", "97"
    )
    first.ovs.namespace.run("ip", "addr", "add", "10.77.1.99/24", "dev", "antrea-gw0")
    first.start_agent()
    first.await_nodes()
    assert first.routes() == {("10.77.1.0/24", None), ("10.77.2.0/24", "10.77.2.1")}
    assert "10.77.1.99" not in first.ovs.namespace.run("ip", "addr", "show", "antrea-gw0")


@pytest.mark.parametrize("overlapping", ["10.77.2.0/24", "10.77.1.128/25", "10.77.0.0/16"])
def test_a_node_with_a_pod_cidr_in_use_gets_no_route(nodes: Pair, overlapping: str) -> None:
    first, _ = nodes
    first.set_nodes([*OBJECTS, node_object(3, overlapping)])
    assert first.routes() == {("10.77.1.0/24", None), ("10.77.2.0/24", "10.77.2.1")}


def test_vswitchd_restarts_and_the_tunnel_knows_its_neighbor_again(nodes: Pair) -> None:
    first, second = nodes
    a, b = first.add("web-0"), second.add("cli-1")
    assert first.ping("web-0", second.address(b))
    first.ovs.kill_vswitchd()
    first.ovs.start_vswitchd()
    first.set_nodes(OBJECTS)  # as the hook after a restart of vswitchd does
    mac = json.loads(second.ovs.namespace.run("ip", "-j", "link", "show", "br-phy"))[0]["address"]
    assert any(
        "192.0.2.2" in line and mac in line for line in first.ovs.appctl("tnl/neigh/show").splitlines()
    )
    assert second.ping("cli-1", first.address(a), 5)
    assert first.ping("web-0", second.address(b))


def test_a_peer_that_answers_late_is_asked_again_soon(nodes: Pair) -> None:
    """Not only at the next regular pass, a minute later: OVS loses packets to neighbours it does not know."""
    first, second = nodes
    second.ovs.namespace.run("ip", "link", "set", "br-phy", "down")
    first.ovs.namespace.run("ip", "neigh", "flush", "all")
    first.ovs.appctl("tnl/neigh/flush")
    first.set_nodes(OBJECTS)  # returns when the pass is over, without an answer
    assert "192.0.2.2" not in first.ovs.appctl("tnl/neigh/show")

    second.ovs.namespace.run("ip", "link", "set", "br-phy", "up")

    deadline = time.monotonic() + 20
    while "192.0.2.2" not in first.ovs.appctl("tnl/neigh/show"):
        assert time.monotonic() < deadline, first.ovs.appctl("tnl/neigh/show")
        time.sleep(0.1)


def test_a_gateway_that_was_taken_away_comes_back(nodes: Pair) -> None:
    """``ovs-appctl exit --cleanup`` removes the taps, with addresses and routes."""
    first, second = nodes
    a, b = first.add("web-0"), second.add("cli-1")
    first.ovs.clean_up_vswitchd()
    first.ovs.start_vswitchd()
    first.ovs.namespace.run("ip", "addr", "add", "192.0.2.1/24", "dev", "br-phy")
    first.ovs.namespace.run("ip", "link", "set", "br-phy", "up")
    first.set_nodes(OBJECTS)
    assert first.routes() == {("10.77.1.0/24", None), ("10.77.2.0/24", "10.77.2.1")}
    assert first.ping("web-0", "10.77.1.1", 2)
    assert first.ping("web-0", second.address(b), 3)
    assert second.ping("cli-1", first.address(a), 3)


def test_malformed_nodes_are_skipped(nodes: Pair) -> None:
    first, _ = nodes
    bad: list[Any] = [{"metadata": {}}, {"metadata": {"name": "n4"}, "spec": {"podCIDRs": ["x"]}}, 5]
    first.set_nodes([*bad, *OBJECTS])
    assert ("10.77.2.0/24", "10.77.2.1") in first.routes()
