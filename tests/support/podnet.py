"""Pods without Kubernetes: network namespaces on br-int of one Open vSwitch, and real packets between them.

with PodNet(ovs, "aopf") as net:
    web = net.add_pod("web", "10.77.1.3", "fd00:77:1::3")
    net.probe([Probe(net.pod("cli"), web, "TCP", 80)])       # → {probe: True}
"""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

from agent.model import NodeConfig, PodInterface
from lab.nodes import sctp
from tests.support.ovs import Namespace, OpenVSwitch, unique

BRIDGE = "br-int"
GATEWAY, GATEWAY_MAC, GATEWAY_PORT = "antrea-gw0", "82:75:0d:08:31:00", 32769
CIDRS = ("10.77.1.0/24", "fd00:77:1::/64")
PORTS = (("TCP", 80), ("TCP", 81), ("UDP", 80), ("UDP", 81), ("SCTP", 80), ("SCTP", 81))

_libc = ctypes.CDLL(None, use_errno=True)
_source_ports = itertools.count(20000)


@contextmanager
def inside(path: str | None) -> Iterator[None]:
    """The calling thread is in a network namespace; sockets made there stay there. None: where it is."""
    if path is None:
        yield
        return
    with open("/proc/thread-self/ns/net") as home, open(path) as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True)
class Host:
    """Who can send and be asked: a pod, or the node through its gateway port."""

    name: str
    namespace: str  # path
    ips: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]
    interface: PodInterface | None = field(default=None, compare=False)

    def ip(self, version: int) -> str:
        return str(next(ip for ip in self.ips if ip.version == version))


@dataclass(frozen=True)
class Probe:
    source: Host
    target: Host
    protocol: str
    port: int
    version: int = 4

    def __str__(self) -> str:
        return f"{self.source.name} → {self.target.name} {self.protocol} {self.port} IPv{self.version}"


class PodNet:
    """br-int with a gateway port and pods. Everything is gone after ``with``."""

    def __init__(self, ovs: OpenVSwitch, prefix: str, versions: Sequence[int] = (4,)) -> None:
        self.ovs = ovs
        self.versions = tuple(versions)
        self._prefix = prefix
        self._namespaces: list[Namespace] = []
        self._responders: list[subprocess.Popen[bytes]] = []
        self.hosts: dict[str, Host] = {}

    @property
    def node(self) -> NodeConfig:
        cidrs = [ipaddress.ip_network(cidr) for cidr in CIDRS]
        return NodeConfig(
            name="node1",
            transport_ips=(ipaddress.ip_address("192.0.2.1"),),
            pod_cidrs=tuple(cidr for cidr in cidrs if cidr.version in self.versions),
            gateway_name=GATEWAY,
            gateway_mac=GATEWAY_MAC,
            gateway_ips=tuple(cidr[1] for cidr in cidrs if cidr.version in self.versions),
            gateway_ofport=GATEWAY_PORT,
            tunnel_ofport=0,
            userspace_datapath=True,
        )

    def __enter__(self) -> PodNet:
        self.ovs.vsctl(
            "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
            "protocols=OpenFlow10,OpenFlow15", "--", "add-port", BRIDGE, GATEWAY,
            "--", "set", "interface", GATEWAY,
            "type=internal", f"ofport_request={GATEWAY_PORT}", f'mac="{GATEWAY_MAC}"',
        )  # fmt: skip
        self._addresses(self.ovs.namespace, GATEWAY, [str(ip) for ip in self.node.gateway_ips])
        self.gateway = Host("gateway", self.ovs.namespace.path, self.node.gateway_ips)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for responder in self._responders:
            responder.kill()
            responder.wait()
        for namespace in self._namespaces:
            namespace.delete()

    @staticmethod
    def _addresses(namespace: Namespace, device: str, ips: list[str]) -> None:
        for ip in ips:
            version6 = ":" in ip
            more = ("nodad",) if version6 else ()
            namespace.run("ip", "addr", "add", f"{ip}/{64 if version6 else 24}", "dev", device, *more)
        namespace.run("ip", "link", "set", device, "up")

    def add_pod(self, name: str, number: int) -> Host:
        """A pod with the addresses .NUMBER, answering on PORTS with its name."""
        namespace = Namespace(unique(f"{self._prefix}-{name}")).create()
        self._namespaces.append(namespace)
        mac = f"02:00:00:00:01:{number:02x}"
        device = f"{name}-veth"
        self.ovs.namespace.run(
            "ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "address", mac,
            "netns", namespace.name,
        )  # fmt: skip
        self.ovs.namespace.run("ip", "link", "set", device, "up")
        ips = [str(ipaddress.ip_network(cidr)[number]) for cidr in CIDRS]
        ips = [ip for ip in ips if (6 if ":" in ip else 4) in self.versions]
        self._addresses(namespace, "eth0", ips)
        namespace.run("ethtool", "-K", "eth0", "tx", "off")
        self.ovs.vsctl("add-port", BRIDGE, device)
        ofport = int(self.ovs.vsctl("get", "interface", device, "ofport"))
        addresses = tuple(map(ipaddress.ip_address, ips))
        interface = PodInterface(device, "default", name, name, mac, addresses, ofport)
        code = (
            "from lab.nodes.responder import Responder; print(flush=True); "
            f"Responder({name!r}, {PORTS!r}).run()"
        )
        responder = subprocess.Popen(
            namespace.command(sys.executable, "-c", code), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self._responders.append(responder)
        assert responder.stdout is not None
        responder.stdout.readline()
        host = self.hosts[name] = Host(name, namespace.path, addresses, interface)
        return host

    @property
    def management_socket(self) -> str:
        return str(self.ovs.run_dir / f"{BRIDGE}.mgmt")

    def flows(self) -> list[str]:
        return self.ovs.ofctl("--names", "--no-stats", "dump-flows", self.ovs.bridge(BRIDGE)).splitlines()

    def probe(self, probes: Sequence[Probe], timeout: float = 0.6) -> dict[Probe, bool]:
        """Sends a probe for each, all at once; True where the target answered."""
        attempts = [_Attempt(probe) for probe in probes]
        try:
            deadline = time.monotonic() + timeout
            poll = select.epoll()
            by_descriptor = {attempt.sock.fileno(): attempt for attempt in attempts}
            for descriptor, attempt in by_descriptor.items():
                poll.register(
                    descriptor, select.EPOLLOUT if attempt.probe.protocol == "TCP" else select.EPOLLIN
                )
            repeat = time.monotonic() + timeout / 3
            while (now := time.monotonic()) < deadline and not all(attempt.done for attempt in attempts):
                for descriptor, _ in poll.poll(0.02):
                    attempt = by_descriptor[descriptor]
                    attempt.on_event()
                    if attempt.done:
                        poll.unregister(descriptor)
                if now > repeat:
                    repeat = now + timeout / 3
                    for attempt in attempts:
                        attempt.repeat()
            poll.close()
            return {attempt.probe: bool(attempt.answered) for attempt in attempts}
        finally:
            for attempt in attempts:
                attempt.sock.close()

    def connect(self, source: Host, target: Host, port: int, timeout: float = 2.0) -> socket.socket:
        """A TCP connection that stays open."""
        with inside(source.namespace):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect((target.ip(4), port))
        return sock


class _Attempt:
    """One probe under way."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.done = False
        self.answered = False
        self._port = next(_source_ports)
        family = socket.AF_INET if probe.version == 4 else socket.AF_INET6
        kind = {
            "TCP": (socket.SOCK_STREAM, 0),
            "UDP": (socket.SOCK_DGRAM, 0),
            "SCTP": (socket.SOCK_RAW, sctp.PROTOCOL),
        }
        with inside(probe.source.namespace):
            self.sock = socket.socket(family, *kind[probe.protocol])
        self.sock.setblocking(False)
        self._target = (probe.target.ip(probe.version), 0 if probe.protocol == "SCTP" else probe.port)
        if probe.protocol == "TCP":
            self.sock.bind(("", self._port))
            with suppress(BlockingIOError):
                self.sock.connect(self._target)
        else:
            self.repeat()

    def repeat(self) -> None:
        if self.done or self.probe.protocol == "TCP":
            return
        data = b"?"
        if self.probe.protocol == "SCTP":
            data = sctp.encode(sctp.Packet(self._port, self.probe.port, 0, sctp.INIT, self._port))
        with suppress(OSError):
            self.sock.sendto(data, self._target)

    def on_event(self) -> None:
        if self.probe.protocol == "TCP":
            self.done = True
            self.answered = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            return
        try:
            data, _ = self.sock.recvfrom(4096)
        except OSError:
            return
        if self.probe.protocol == "SCTP":
            if self.sock.family == socket.AF_INET:
                data = sctp.ip_payload(data)
            packet = sctp.decode(data)
            if packet is None or packet.destination_port != self._port or packet.chunk != sctp.INIT_ACK:
                return
        self.done = self.answered = True
