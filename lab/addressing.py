"""The addresses of a lab. Every lab uses the same ones: its namespaces have no link to the host's network
nor to another lab's.

management  172.30.0.0/16          IPv4 in every lab: kubelet, agent and controller reach the API over it
underlay    172.31.0.0/16, fd00:31::/64          the nodes' own addresses (InternalIP); tunnels
pods        10.10.N.0/24, fd00:10:10:N::/64     of the node with index N, counted from 1
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_NODES = 200
CONTROL_ADDRESS = "172.30.0.1"
API_PORT = 6443
CONTROLLER_PORT = 10349
UNDERLAY_MTU = 1600  # pods have 1450, Geneve adds at most 100 with IPv6 outside


def cluster_cidrs(family: str) -> tuple[str, ...]:
    """Out of which all nodes' pod CIDRs come."""
    return {"ipv4": ("10.10.0.0/16",), "ipv6": ("fd00:10:10::/48",)}.get(
        family, ("10.10.0.0/16", "fd00:10:10::/48")
    )


def service_cidrs(family: str) -> tuple[str, ...]:
    return {"ipv4": ("10.96.0.0/16",), "ipv6": ("fd00:96::/108",)}.get(
        family, ("10.96.0.0/16", "fd00:96::/108")
    )


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    index: int
    management: str  # without prefix length
    underlay: tuple[str, ...]  # one or two, without prefix length
    underlay_prefixed: tuple[str, ...]
    pod_cidrs: tuple[str, ...]


def node_addresses(index: int, family: str) -> NodeAddresses:
    """What the node with this index (1…200) gets in a lab of family ipv4, ipv6 or dual."""
    if not 1 <= index <= MAX_NODES:
        raise ValueError(f"node index {index} is out of 1…{MAX_NODES}")
    v4 = family in ("ipv4", "dual")
    v6 = family in ("ipv6", "dual")
    underlay = ([f"172.31.0.{index}"] if v4 else []) + ([f"fd00:31::{index:x}"] if v6 else [])
    prefixed = ([f"172.31.0.{index}/16"] if v4 else []) + ([f"fd00:31::{index:x}/64"] if v6 else [])
    cidrs = ([f"10.10.{index}.0/24"] if v4 else []) + ([f"fd00:10:10:{index:x}::/64"] if v6 else [])
    return NodeAddresses(index, f"172.30.1.{index}", tuple(underlay), tuple(prefixed), tuple(cidrs))
