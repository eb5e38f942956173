"""What attaching and detaching work with: the node, its switch, its addresses, its flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from agent.cni.ipam import HostLocalIPAM
from agent.cni.naming import suffix
from agent.cni.requests import Request
from agent.cni.results import Address, IPAddress
from agent.interfaces import InterfaceStore
from agent.model import NodeConfig, PodInterface
from agent.nodes.netlink import Netlink
from agent.ovs.bridge import OVSBridge


class PodFlows(Protocol):
    """``agent.pipeline.PodConnectivity`` is one. Changes of desired state, sent by the next commit."""

    def install_pod(self, interface: PodInterface) -> None: ...

    def uninstall_pod(self, name: str) -> None: ...


class Committer(Protocol):
    """``agent.pipeline.FlowProgrammer`` is one."""

    async def commit(self) -> Any:
        """Everything wanted is in OVS when this returns. Raises where it is not."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by the steps; each has its own file."""

    node: NodeConfig
    bridge: OVSBridge
    interfaces: InterfaceStore
    ipam: HostLocalIPAM
    netlink: Netlink
    connectivity: PodFlows
    programmer: Committer

    def existing(self, request: Request) -> PodInterface | None:
        """The interface that an earlier ADD made for the request's container and interface name."""
        end = "-" + suffix(request.container_id, request.ifname)
        attached = self.interfaces.by_container(request.container_id)
        return next((interface for interface in attached if interface.name.endswith(end)), None)

    def with_prefix(self, ips: Collection[IPAddress]) -> tuple[Address, ...]:
        """Pods have the prefix length of the node's pod CIDR, as upstream's do."""
        addresses = []
        for ip in ips:
            cidr = next((cidr for cidr in self.node.pod_cidrs if ip in cidr), None)
            length = cidr.prefixlen if cidr else ip.max_prefixlen
            addresses.append(ipaddress.ip_interface(f"{ip}/{length}"))
        return tuple(addresses)

    def gateways(self, addresses: Collection[Address]) -> tuple[IPAddress, ...]:
        by_family = {ip.version: ip for ip in self.node.gateway_ips}
        return tuple(by_family[address.version] for address in addresses)


def listed(values: Collection[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"
