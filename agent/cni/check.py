"""CNI CHECK: whether everything is as ADD left it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from agent.cni import veth
from agent.cni.errors import CHECK_INTERFACE_FAILURE, IPAM_FAILURE, CNIError
from agent.cni.parts import Parts, listed
from agent.cni.requests import Request
from agent.cni.results import Address
from agent.nodes.netlink import NetworkNamespaceGone


async def check(parts: Parts, request: Request, previous: Collection[Address], mac: str) -> None:
    """Raises CNIError (103) naming the first thing that is not as ADD left it."""
    interface = parts.existing(request)
    if interface is None:
        raise CNIError(
            CHECK_INTERFACE_FAILURE,
            f"The container {request.container_id} has no interface {request.ifname} here",
        )
    addresses = parts.with_prefix(interface.ips)
    if set(addresses) != set(previous):
        raise CNIError(
            CHECK_INTERFACE_FAILURE,
            f"prevResult has the addresses {listed(previous)}, the agent gave {listed(addresses)}",
        )
    if mac and mac.lower() != interface.mac:
        raise CNIError(
            CHECK_INTERFACE_FAILURE,
            f"prevResult has the MAC address {mac}, the agent gave {interface.mac}",
        )
    port = parts.bridge.port(interface.name)
    if port is None or port.ofport != interface.ofport:
        raise CNIError(CHECK_INTERFACE_FAILURE, f"The OVS port {interface.name} is missing or was renumbered")
    gateways = parts.gateways(addresses)
    try:
        await parts.netlink.run(
            lambda ipr: veth.check(ipr, request.ifname, interface.mac, addresses, gateways), request.netns
        )
        host_mac = await parts.netlink.run(lambda ipr: veth.mac_address(ipr, interface.name))
    except (veth.WrongInterface, NetworkNamespaceGone, OSError, TimeoutError) as error:
        raise CNIError(CHECK_INTERFACE_FAILURE, f"Not as ADD left it: {error}") from error
    if host_mac is None:
        raise CNIError(CHECK_INTERFACE_FAILURE, f"The network device {interface.name} is missing")
    reserved = await asyncio.to_thread(parts.ipam.addresses, request.container_id, request.ifname)
    if set(reserved) != set(interface.ips):
        raise CNIError(IPAM_FAILURE, f"The addresses of container {request.container_id} are not reserved")
