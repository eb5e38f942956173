"""The agent's own vocabulary, shared by the feature that decides (policies, pods, nodes) and the one that
programs (pipeline). Plain data: no I/O, no imports from other parts of the agent."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass, field

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class PodInterface:
    """A pod's attachment to br-int, as recorded in the external_ids of its OVS port."""

    name: str  # the name of the OVS port and of the host end of the veth
    namespace: str
    pod: str
    container_id: str
    mac: str  # aa:bb:cc:dd:ee:ff
    ips: tuple[IPAddress, ...]
    ofport: int
    pod_uid: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, pod name)"""
        return (self.namespace, self.pod)


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A peer node as the tunnel and the routes need it: one pod CIDR and gateway address per family."""

    name: str
    transport_ips: tuple[IPAddress, ...]  # the addresses of the tunnel's far end
    pod_cidrs: tuple[IPNetwork, ...]

    @property
    def gateway_ips(self) -> tuple[IPAddress, ...]:
        """The first address of each pod CIDR belongs to the node's gateway (antrea-gw0)."""
        return tuple(cidr[1] for cidr in self.pod_cidrs)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What the agent knows of its own node once br-int, the tunnel and the gateway exist."""

    name: str
    transport_ips: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    gateway_name: str  # antrea-gw0
    gateway_mac: str
    gateway_ips: tuple[IPAddress, ...]
    gateway_ofport: int
    tunnel_ofport: int
    uplink_ofport: int | None = None
    userspace_datapath: bool = False  # datapath_type=netdev: no marks across taps, SCTP stateless
    mtu: int = 1450  # of the gateway and of pods' interfaces, tunnel overhead already taken off

    @property
    def ipv4(self) -> bool:
        return any(cidr.version == 4 for cidr in self.pod_cidrs)

    @property
    def ipv6(self) -> bool:
        return any(cidr.version == 6 for cidr in self.pod_cidrs)


class Direction(enum.Enum):
    INGRESS = "In"
    EGRESS = "Out"


class Action(enum.Enum):
    ALLOW = "Allow"
    DROP = "Drop"
    REJECT = "Reject"
    PASS = "Pass"


@dataclass(frozen=True, slots=True)
class OFPort:
    """An address clause that is a port of br-int: source of egress rules, destination of ingress rules."""

    number: int


Address = IPAddress | IPNetwork | OFPort


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One alternative of a rule's service clause, names already resolved. No field set: any traffic."""

    protocol: str | None = None  # TCP, UDP, SCTP, ICMP, IGMP
    port: int | None = None
    end_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    src_port: int | None = None
    src_end_port: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyReference:
    """The object that a user wrote, as in NetworkPolicyReference."""

    type: str  # K8sNetworkPolicy, AntreaNetworkPolicy, AntreaClusterNetworkPolicy …
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        if self.type in ("AntreaClusterNetworkPolicy", "K8sClusterNetworkPolicy"):
            return f"{self.type}:{self.name}"
        return f"{self.type}:{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule ready for the datapath: every name resolved, every member turned into an address.

    ``id`` says what the rule stands for (policy, rule, resolved service variant) and keeps its meaning over
    restarts: conjunction ids are remembered under it. Empty ``sources`` or ``destinations`` match nothing;
    "any" is written as a network of prefix length 0 for each family in use. ``isolated`` are the ports
    (egress: sources, ingress: destinations) whose traffic in this direction is dropped unless some rule
    allows it: Kubernetes' default deny.
    """

    id: str
    policy: PolicyReference
    direction: Direction
    sources: frozenset[Address]
    destinations: frozenset[Address]
    services: tuple[ServicePort, ...] = ()  # empty: any traffic
    action: Action | None = Action.ALLOW  # None: only isolation (the synthetic deny rule)
    isolated: frozenset[Address] = field(default_factory=frozenset)
    priority: int | None = None  # OpenFlow priority of Antrea-native rules; None for Kubernetes policies
    enable_logging: bool = False
    name: str = ""
