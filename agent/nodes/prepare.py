"""What has to exist before anything else in the agent: bridge, tunnel port and gateway.

All of it is idempotent: what exists and is right is left alone, and keeps its port numbers and MAC.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from agent.model import IPAddress, NodeConfig
from agent.nodes.gateway import configure_gateway, gateway_addresses, write_sysctls
from agent.nodes.mtu import pod_mtu
from agent.nodes.netlink import Netlink
from agent.nodes.objects import NodeFacts
from agent.ovs.bridge import OVSBridge
from runtime import log
from runtime.errors import ConfigurationError

logger = log.get(__name__)

_GATEWAY_TRIES = 10
_GATEWAY_PAUSE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The part of antrea-agent.conf that concerns the node's own network, by upstream's key names."""

    ovs_run_dir: Path = Path("/var/run/openvswitch")  # ovsRunDir
    bridge: str = "br-int"  # ovsBridge
    datapath_type: str = "system"  # ovsDatapathType: system or netdev
    host_gateway: str = "antrea-gw0"  # hostGateway
    tunnel: str = "antrea-tun0"
    tunnel_type: str = "geneve"  # tunnelType
    tunnel_port: int = 0  # tunnelPort
    tunnel_csum: bool = False  # tunnelCsum
    default_mtu: int = 0  # defaultMTU
    encap_mode: str = "encap"  # trafficEncapMode
    transport_interface: str = ""  # transportInterface


async def prepare_node(
    settings: NodeSettings, node: NodeFacts, bridge: OVSBridge, netlink: Netlink
) -> NodeConfig:
    """Make bridge, tunnel port and gateway; what the rest of the agent needs to know of them.

    Raises ConfigurationError (a family without node address, no transport device), DatabaseError, OSError.
    """
    if settings.encap_mode.lower() != "encap":
        raise ConfigurationError(
            f"The value of trafficEncapMode is {settings.encap_mode!r}: only encap is supported so far."
        )
    families = {ip.version for ip in node.node_ips}
    for cidr in node.pod_cidrs:
        if cidr.version not in families:
            raise ConfigurationError(
                f"Node {node.name} has the podCIDR {cidr} but no IPv{cidr.version} address of its own: "
                "give the Node an InternalIP of that family, or no podCIDR of it."
            )
        if cidr.num_addresses < 4:
            raise ConfigurationError(
                f"The podCIDR {cidr} of Node {node.name} has no room for a gateway and pods."
            )
    transport_ips, transport_mtu = await netlink.run(
        lambda ipr: find_transport(
            ipr, settings.transport_interface, node.transport_ips, settings.host_gateway
        )
    )
    ipv6 = any(ip.version == 6 for ip in node.node_ips)
    mtu = pod_mtu(
        transport_mtu,
        default_mtu=settings.default_mtu,
        encap_mode=settings.encap_mode,
        tunnel_type=settings.tunnel_type,
        ipv6=ipv6,
    )
    await bridge.ensure()
    tunnel = await bridge.ensure_tunnel(
        settings.tunnel,
        tunnel_type=settings.tunnel_type,
        port=settings.tunnel_port,
        csum=settings.tunnel_csum,
    )
    gateway = await bridge.ensure_gateway(settings.host_gateway, mtu=mtu)
    addresses = gateway_addresses(node.pod_cidrs)
    for attempt in range(_GATEWAY_TRIES):  # vswitchd creates the device a moment after it numbers the port
        try:
            await netlink.run(lambda ipr: configure_gateway(ipr, gateway.name, addresses, mtu))
            break
        except (LookupError, OSError):
            if attempt == _GATEWAY_TRIES - 1:
                raise
            await asyncio.sleep(_GATEWAY_PAUSE)
    problems = await asyncio.to_thread(
        write_sysctls,
        gateway.name,
        ipv4=any(cidr.version == 4 for cidr in node.pod_cidrs),
        ipv6=any(cidr.version == 6 for cidr in node.pod_cidrs),
    )
    for problem in problems:
        logger.warning("%s", problem)
    return NodeConfig(
        name=node.name,
        transport_ips=transport_ips,
        pod_cidrs=node.pod_cidrs,
        gateway_name=gateway.name,
        gateway_mac=gateway.mac,
        gateway_ips=tuple(address.ip for address in addresses),
        gateway_ofport=gateway.ofport,
        tunnel_ofport=tunnel.ofport,
        userspace_datapath=bridge.userspace,
        mtu=mtu,
    )


def find_transport(
    ipr: IPRoute, interface: str, node_ips: tuple[IPAddress, ...], gateway: str
) -> tuple[tuple[IPAddress, ...], int]:
    """The transport addresses and the MTU of their device.

    A configured interface wins (the first address of each family on it); otherwise the device that has the
    node's address, never the gateway. Raises ConfigurationError.
    """
    import ipaddress

    links: dict[int, Any] = {link["index"]: link for link in ipr.get_links()}
    names = {index: link.get("ifname") for index, link in links.items()}
    present = [(ipaddress.ip_address(message.get("address")), message["index"]) for message in ipr.get_addr()]
    if interface:
        on_it = [ip for ip, index in present if names.get(index) == interface and not ip.is_link_local]
        chosen = tuple(
            ip
            for version in (4, 6)
            if (ip := next((ip for ip in on_it if ip.version == version), None)) is not None
        )
        if not chosen:
            raise ConfigurationError(
                f"The value of transportInterface is {interface!r}: there is no such device with an address."
            )
        mtu = next(link.get("mtu") for link in links.values() if link.get("ifname") == interface)
        return chosen, mtu
    for ip in node_ips:
        for address, index in present:
            if address == ip and names.get(index) != gateway:
                return node_ips, links[index].get("mtu")
    wanted = " or ".join(str(ip) for ip in node_ips)
    raise ConfigurationError(
        f"No network device of this node has the address {wanted}: check the Node's status.addresses, "
        "or name the device in transportInterface."
    )
