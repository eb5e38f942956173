"""On the kernel datapath: the ports of SCTP connections, spoofed frames, what pods leave behind."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from lab.inventory import LabPod
from lab.pods import pod
from lab.probing import Probe
from tests.e2e.runner import Arena
from tests.e2e.test_faults import policy
from tests.support.podnet import inside

pytestmark = pytest.mark.kernel

PODS = "/api/v1/namespaces/x/pods"
PATIENCE = 20.0
ALL_PROTOCOLS = 3  # ETH_P_ALL


@asynccontextmanager
async def extra_pod(arena: Arena, name: str, *ports: tuple[str, int]) -> AsyncIterator[LabPod]:
    """A pod x/NAME on the first node."""
    node = arena.lab.directory.nodes()[0]
    await arena.client.create(PODS, pod(f"x/{name}", {"pod": name}, ports, node))
    try:
        (made,) = await arena.lab.wait_pods_ready(arena.client, [f"x/{name}"], timeout=60)
        yield made
    finally:
        await arena.client.request("DELETE", f"{PODS}/{name}")


def on_node(arena: Arena, node: str, *command: str) -> str:
    return arena.lab.run_on_node(node, command).stdout


async def test_the_flows_are_in_the_kernel(arena: Arena) -> None:
    assert await arena.disagreements([("TCP", 80)]) == []
    for node in arena.lab.directory.nodes():
        assert "system@ovs-system:" in on_node(arena, node, "ovs-dpctl", "show")
        assert "ct(zone=65520" in on_node(arena, node, "ovs-dpctl", "dump-flows")


async def test_sctp_connections_have_ports(arena: Arena) -> None:
    """One allowed port opens no other, also once packets have passed."""
    node = arena.lab.directory.nodes()[0]
    async with extra_pod(arena, "sctp", ("SCTP", 80), ("SCTP", 81)) as target:
        ports = [{"protocol": "SCTP", "port": 80}]
        selector = {"matchLabels": {"pod": "sctp"}}
        allowed = policy("x", "s", podSelector=selector, policyTypes=["Ingress"], ingress=[{"ports": ports}])
        await arena.operate(allowed)
        sources = [one for one in arena.pods if one.key in ("x/a", "y/a")]  # of this node and the other

        async def answers(port: int) -> dict[str, bool]:
            found = {}
            for source in sources:
                for version in arena.families:
                    assert source.netns is not None
                    address = target.ip(version)
                    assert address is not None
                    probe = Probe(source.key, source.netns, address, port, "SCTP", expect=target.key)
                    found[str(probe)] = (await asyncio.to_thread(arena.prober.probe, probe, 1.0)).allowed
            return found

        deadline = time.monotonic() + PATIENCE
        while any((await answers(81)).values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)  # the policy is on its way
        for _ in range(2):
            assert set((await answers(80)).values()) == {True}
            dump = on_node(arena, node, "ovs-dpctl", "dump-conntrack").splitlines()  # they live for 3 seconds
            assert set((await answers(81)).values()) == {False}
            connections = [
                line for line in dump if line.startswith("sctp") and f"dst={target.ip(4)}," in line
            ]
            assert connections
            assert [line for line in connections if ",dport=80)" not in line] == []


# -- spoofed frames -----------------------------------------------------------------------------------------


def internet_checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source: str, destination: str, words: str) -> tuple[int, bytes]:
    """The EtherType and an IP packet with a UDP datagram to port 9 that carries 20 bytes."""
    text = words.encode().ljust(20)
    from_ip, to_ip = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    length = 8 + len(text)
    pseudo = from_ip.packed + to_ip.packed + struct.pack("!HH", 17, length)
    check = internet_checksum(pseudo + struct.pack("!HHHH", 5000, 9, length, 0) + text)
    udp = struct.pack("!HHHH", 5000, 9, length, check or 0xFFFF) + text
    if from_ip.version == 6:
        return 0x86DD, struct.pack("!IHBB", 6 << 28, length, 17, 64) + from_ip.packed + to_ip.packed + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + from_ip.packed + to_ip.packed
    return 0x0800, head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + udp


def arp_claim(mac: bytes, claimed: str, asked: str) -> tuple[int, bytes]:
    """A request for ``asked`` by one who claims to be ``claimed``."""
    packed = ipaddress.ip_address(claimed).packed, ipaddress.ip_address(asked).packed
    return 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + packed[0] + bytes(6) + packed[1]


def mac_address(namespace: str | None) -> bytes:
    with inside(namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        return bytes(sock.getsockname()[4])


def arriving(source: LabPod, target: LabPod, frames: Mapping[str, bytes]) -> set[str]:
    """Which of the frames, sent from one pod, are seen on the other's interface."""
    with inside(target.netns):
        receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    with inside(source.netns):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("eth0", 0))
    seen: set[str] = set()
    with receiver, sender:
        receiver.settimeout(0.1)
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            for frame in frames.values():
                sender.send(frame)
            try:
                while True:
                    data = receiver.recv(2048)
                    # MAC addresses and TTL of a routed packet differ; what follows the IP header does not.
                    seen |= {name for name, frame in frames.items() if frame[-28:] in data}
            except TimeoutError:
                pass
    return seen


async def test_only_frames_with_the_pods_own_addresses_leave_it(arena: Arena) -> None:
    pods = {one.key: one for one in arena.pods}
    source, target = pods["x/a"], pods["x/c"]  # on one node
    assert source.node == target.node
    mac, to = mac_address(source.netns), mac_address(target.netns)
    other = bytes([0x02, *mac[1:5], mac[5] ^ 1])

    def frame(sender: bytes, packet: tuple[int, bytes]) -> bytes:
        return to + sender + struct.pack("!H", packet[0]) + packet[1]

    frames = {}
    for version, stranger in ((4, "10.10.1.222"), (6, "fd00:10:10:1::222")):
        own, there = source.ip(version), target.ip(version)
        assert own is not None
        assert there is not None
        frames[f"own IPv{version}"] = frame(mac, datagram(own, there, f"{version} own addresses"))
        frames[f"IPv{version} address"] = frame(mac, datagram(stranger, there, f"{version} another's IP"))
        frames[f"IPv{version} MAC"] = frame(other, datagram(own, there, f"{version} another's MAC"))
    own, there = source.ip(4), target.ip(4)
    assert own is not None
    assert there is not None
    frames["own ARP"] = frame(mac, arp_claim(mac, own, there))
    frames["ARP for another"] = frame(mac, arp_claim(mac, "10.10.1.222", there))

    seen = await asyncio.to_thread(arriving, source, target, frames)

    assert seen == {"own IPv4", "own IPv6", "own ARP"}


# -- what is left over --------------------------------------------------------------------------------------


async def test_nothing_is_left_of_a_pod_that_went_while_the_agent_was_dead(arena: Arena) -> None:
    lab, node = arena.lab, arena.lab.directory.nodes()[0]
    agent = f"{node}/antrea-agent"

    def traces(gone: LabPod) -> list[str]:
        bridge = f"unix:{lab.directory.node(node).ovs}/br-int.mgmt"
        commands = (
            ["ovs-dpctl", "show"],
            [
                "ovs-ofctl",
                "-O",
                "OpenFlow15",
                "dump-flows",
                bridge,
            ],
            ["ip", "-j", "link"],
        )
        marks = [*gone.ips, name]
        lines = [line for command in commands for line in on_node(arena, node, *command).splitlines()]
        return [line[:200] for line in lines if any(mark in line for mark in marks)]

    async with extra_pod(arena, "leaves", ("TCP", 80)) as made:
        links = {link["ifname"] for link in json.loads(on_node(arena, node, "ip", "-j", "link"))}
        (name,) = [link for link in links if link.startswith("leaves-")]
        assert len(traces(made)) >= 3
        await asyncio.to_thread(lab.stop_process, agent, 0.0)
    try:
        await asyncio.sleep(1.0)  # the kubelet tries in vain
    finally:
        await asyncio.to_thread(lab.start_process, agent)
    deadline = time.monotonic() + PATIENCE
    while (left := await asyncio.to_thread(traces, made)) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert left == []
