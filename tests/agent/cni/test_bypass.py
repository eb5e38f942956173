"""A pod talks to the node's kernel past Open vSwitch, over the host end of its own cable: all in vain.

The userspace datapath only taps the host end, so the node's own stack sees every frame too. Here there is no
Open vSwitch at all: whatever arrives anywhere has taken the forbidden way. The node forwards, has services on
all of its addresses, and joins multicast groups on the host end as daemons do.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from pyroute2 import IPRoute

from agent.cni import veth
from agent.nodes.hostrules import ruleset
from tests.agent.nodes.test_hostrules import CONFIG
from tests.support.ovs import Namespace, unique
from tests.support.podnet import inside

pytestmark = pytest.mark.lab

PORT = 9999
POD_MAC = "02:00:00:00:01:02"
GATEWAY, NODE, FAR = "10.77.1.1", "192.0.2.1", "198.51.100.2"
GATEWAY6, NODE6, FAR6 = "fd00:77:1::1", "2001:db8::1", "2001:db8:f::2"
POD, POD6 = "10.77.1.9", "fd00:77:1::9"
GROUP, GROUP6 = "224.0.0.251", "ff02::fb"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: str, target: str, payload: bytes) -> bytes:
    """An IP packet of either family."""
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    head = struct.pack("!HHHH", 40000, PORT, 8 + len(payload), 0)
    if a.version == 4:
        data = head + payload  # without a checksum, as IPv4 allows
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, 17, 0, a.packed, b.packed)
        return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + data
    data = head + payload + b"\0" * (len(payload) % 2)
    pseudo = a.packed + b.packed + struct.pack("!I3xB", 8 + len(payload), 17)
    data = head[:6] + struct.pack("!H", checksum(pseudo + data) or 0xFFFF) + payload
    return struct.pack("!IHBB16s16s", 6 << 28, len(data), 17, 64, a.packed, b.packed) + data


def arp(target: str) -> bytes:
    ips = socket.inet_aton(POD), socket.inet_aton(target)
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac(POD_MAC), ips[0], bytes(6), ips[1])


def solicitation(target: str) -> tuple[str, bytes]:
    """Who has this IPv6 address? The MAC to send it to, and the packet."""
    wanted = ipaddress.ip_address(target).packed
    group = ipaddress.ip_address(b"\xff\x02" + bytes(9) + b"\1\xff" + wanted[-3:]).packed
    source = ipaddress.ip_address(POD6).packed
    body = struct.pack("!BBHI16sBB6s", 135, 0, 0, 0, wanted, 1, 1, mac(POD_MAC))
    seal = checksum(source + group + struct.pack("!I3xB", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", seal) + body[4:]
    packet = struct.pack("!IHBB16s16s", 6 << 28, len(body), 58, 255, source, group) + body
    return ":".join(f"{octet:02x}" for octet in b"\x33\x33" + group[-4:]), packet


@dataclass
class Machine:
    """Three network namespaces: the node, a pod on a veth pair of ours, and a host beyond the node."""

    node: Namespace
    pod: Namespace
    far: Namespace
    host_mac: str

    def attempts(self) -> Iterator[tuple[str, str, int, bytes]]:
        """Name, target MAC, EtherType and packet of everything that a pod may try."""
        for target in (GATEWAY, NODE):
            yield f"ARP for {target}", BROADCAST, 0x0806, arp(target)
        for target in (GATEWAY6, NODE6):
            group, packet = solicitation(target)
            yield f"neighbour solicitation for {target}", group, 0x86DD, packet
        # Its own address, one on the node's link, one from anywhere, the node's, none, loopback's.
        for source in (POD, "192.0.2.77", "203.0.113.5", NODE, "0.0.0.0", "127.0.0.1"):
            for target in (GATEWAY, NODE, FAR, "127.0.0.1", "255.255.255.255", "192.0.2.255", GROUP):
                for to in (self.host_mac, BROADCAST):
                    name = f"UDP {source} → {target} at {'the host end' if to == self.host_mac else 'all'}"
                    yield name, to, 0x0800, udp(source, target, name.encode())
        for source in (POD6, "2001:db8::77", NODE6, "::", "fe80::9"):
            for target in (GATEWAY6, NODE6, FAR6, "::1", GROUP6, "ff02::1"):
                for to in (self.host_mac, BROADCAST, "33:33:00:00:00:fb"):
                    name = f"UDP {source} → {target} at {to}"
                    yield name, to, 0x86DD, udp(source, target, name.encode())

    def try_all(self) -> set[str]:
        """The names of the attempts that reached anybody, and the kinds of frames that came back."""
        reached: set[str] = set()
        with ExitStack() as stack:
            receivers = self._receivers(stack)
            with inside(self.pod.path):
                wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
                wire.bind(("eth0", 0))
            frames = [
                (name, mac(to) + mac(POD_MAC) + struct.pack("!H", kind) + packet)
                for name, to, kind, packet in self.attempts()
            ]
            for _ in range(2):
                for number, (_, frame) in enumerate(frames):
                    wire.send(frame)
                    if number % 20 == 0:
                        reached |= self._collect(receivers, wire, 0.02)
            reached |= self._collect(receivers, wire, 0.5)
        return reached

    def _receivers(self, stack: ExitStack) -> list[socket.socket]:
        made = []
        for namespace in (self.node, self.far):
            with inside(namespace.path):
                for family, anywhere in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
                    sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                    if family == socket.AF_INET6:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    sock.bind((anywhere, PORT))
                    if namespace is self.node:
                        self._join(sock, family)
                    made.append(sock)
        return made

    @staticmethod
    def _join(sock: socket.socket, family: int) -> None:
        index = socket.if_nametoindex("web-0-abcdef")
        try:
            if family == socket.AF_INET:
                request = socket.inet_aton(GROUP) + struct.pack("=4xI", index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = ipaddress.ip_address(GROUP6).packed + struct.pack("=I", index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError:
            pass  # no IPv6 on that device: nothing to join there

    @staticmethod
    def _collect(receivers: Sequence[socket.socket], wire: socket.socket, patience: float) -> set[str]:
        found = set()
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([*receivers, wire], [], [], left)
            for sock in ready:
                data, address = sock.recvfrom(2000)
                if sock is not wire:
                    found.add(data.decode())
                elif address[2] != socket.PACKET_OUTGOING and not _is_membership(data):
                    found.add(f"answer of type {int.from_bytes(data[12:14], 'big'):04x}")
        return found


def _is_membership(frame: bytes) -> bool:
    """The node's own word on the groups that this test has joined on the host end."""
    return frame[12:14] == b"\x08\x00" and frame[23] == 2  # IGMP


def machine(
    stack: ExitStack, *, protected: bool = True, rules: bool = True, reverse_path: int = 0
) -> Machine:
    node, pod, far = (Namespace(unique(f"abyp-{name}")).create() for name in ("node", "pod", "far"))
    for namespace in (node, pod, far):
        stack.callback(namespace.delete)
    own = {"antrea-gw0": (f"{GATEWAY}/24", f"{GATEWAY6}/64"), "up0": (f"{NODE}/24", f"{NODE6}/64")}
    for device, addresses in own.items():
        node.run("ip", "link", "add", device, "type", "bridge")
        for address in addresses:
            node.run("ip", "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        node.run("ip", "link", "set", device, "up")
    node.run("ip", "link", "set", "lo", "up")
    node.run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "eth0", "netns", far.name)
    for namespace, device, number in ((node, "ext0", 1), (far, "eth0", 2)):
        namespace.run("ip", "addr", "add", f"198.51.100.{number}/24", "dev", device)
        namespace.run("ip", "addr", "add", f"2001:db8:f::{number}/64", "dev", device, "nodad")
        namespace.run("ip", "link", "set", device, "up")
    far.run("ip", "route", "add", "default", "via", "198.51.100.1")
    far.run("ip", "-6", "route", "add", "default", "via", "2001:db8:f::1")
    for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
        node.run("sysctl", "-qw", setting)
    node.run("sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={reverse_path}")
    node.run("sysctl", "-qw", f"net.ipv4.conf.default.rp_filter={reverse_path}")
    with inside(node.path), IPRoute() as ipr, pytest.MonkeyPatch.context() as patch:
        if not protected:
            patch.setattr(veth, "keep_kernel_out", lambda name: None)
        host_mac = veth.create_pair(ipr, "web-0-abcdef", "eth0", pod.path, POD_MAC, 1450)
    for target in (FAR, FAR6):
        node.run("ping", "-q", "-c", "1", "-w", "10", target)  # whatever is routed arrives at once
    if rules:
        text = ruleset(replace(CONFIG, userspace_datapath=True), [])
        subprocess.run(node.command("nft", "-f", "-"), input=text, text=True, check=True)
    pod.run("ip", "link", "set", "eth0", "up")
    return Machine(node, pod, far, host_mac)


@pytest.mark.parametrize("reverse_path", [0, 1, 2])
def test_nothing_gets_past_the_host_end(reverse_path: int) -> None:
    with ExitStack() as stack:
        assert machine(stack, reverse_path=reverse_path).try_all() == set()


@pytest.mark.parametrize("reverse_path", [0, 1, 2])
def test_without_nftables_only_broadcasts_without_a_source_are_heard(reverse_path: int) -> None:
    with ExitStack() as stack:
        reached = machine(stack, rules=False, reverse_path=reverse_path).try_all()
    assert {name.partition(" at ")[0] for name in reached} <= {
        "UDP 0.0.0.0 → 255.255.255.255",
        f"UDP 0.0.0.0 → {GROUP}",
    }


def test_without_any_protection_the_node_answers_delivers_and_routes() -> None:
    """The tests above can fail."""
    with ExitStack() as stack:
        reached = machine(stack, protected=False, rules=False).try_all()
    assert "answer of type 0806" in reached
    for target in (GATEWAY, NODE, FAR, "255.255.255.255", GROUP, GATEWAY6, NODE6, FAR6, GROUP6):
        assert any(f"→ {target} at" in name for name in reached), target
