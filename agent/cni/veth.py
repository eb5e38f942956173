"""The cable between a pod and br-int: a veth pair, one end in the pod's network namespace.

These functions run in the netlink thread (``agent.nodes.netlink``): ``create_pair`` and ``delete`` in the
node's namespace, the others inside the pod's.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.cni.results import Address, IPAddress
from agent.nodes.gateway import FAMILY, link_index
from agent.nodes.hostrules import HOST_ENDS
from agent.nodes.netlink import open_namespace

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_IFA_F_NODAD = 0x02
_MAIN_TABLE = 254


class WrongInterface(Exception):
    """CHECK: the pod's interface is not what ADD made; the text says in what."""


def create_pair(ipr: IPRoute, host_name: str, ifname: str, netns: str, pod_mac: str, mtu: int) -> str:
    """Make the pair in one step, the far end inside ``netns``; the MAC of the host end.

    A host end that an interrupted attempt has left is removed first, and its peer goes with it.
    Raises NetworkNamespaceGone, OSError (errno EEXIST: the pod has an ``ifname`` that is not ours).
    """
    delete(ipr, host_name)
    fd = open_namespace(netns)
    try:
        ipr.link(
            "add",
            ifname=host_name,
            kind="veth",
            mtu=mtu,
            peer={"ifname": ifname, "net_ns_fd": fd, "address": pod_mac, "mtu": mtu},
        )
    finally:
        os.close(fd)
    index = link_index(ipr, host_name)
    keep_kernel_out(host_name)
    ipr.link("set", index=index, group=HOST_ENDS, state="up")
    (link,) = ipr.get_links(index)
    return str(link.get("address"))


def keep_kernel_out(host_name: str) -> None:
    """What arrives on the host end is for OVS alone.

    The userspace datapath only taps the device: the kernel's own stack gets each frame as well. It would
    answer ARP for the gateway's address with the host end's MAC, take what is addressed to that MAC, and
    route it past every policy (measured: pods then reach peers through the gateway port, or nobody). A
    reverse path filter drops all IPv4 with a source address, since the host end has no address and no route
    leads back over it; what has none (broadcasts as DHCP's) is left to the rules of agent.nodes.hostrules,
    which know the host ends by their link group.
    """
    for key, value in (
        (f"ipv4/conf/{host_name}/arp_ignore", "8"),
        (f"ipv4/conf/{host_name}/rp_filter", "1"),
        (f"ipv4/conf/{host_name}/forwarding", "0"),
        (f"ipv6/conf/{host_name}/accept_ra", "0"),
        (f"ipv6/conf/{host_name}/disable_ipv6", "1"),
    ):
        with suppress(OSError):  # a kernel without IPv6 has no such file, and then no such problem
            Path(f"/proc/sys/net/{key}").write_text(value)


def delete(ipr: IPRoute, host_name: str) -> bool:
    """Remove the host end, and with it the pod's; whether there was one."""
    found = ipr.link_lookup(ifname=host_name)
    if not found:
        return False
    try:
        ipr.link("del", index=found[0])
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    return True


def find_by_suffix(ipr: IPRoute, suffix: str) -> list[str]:
    """Host ends whose name ends in ``-suffix``: what a DEL that does not know the pod's name looks for."""
    names = (link.get("ifname") or "" for link in ipr.get_links(kind="veth"))
    return [name for name in names if name.endswith(f"-{suffix}")]


def configure(
    ipr: IPRoute,
    ifname: str,
    addresses: Sequence[Address],
    gateways: Sequence[IPAddress],
    *,
    checksum_offload: bool,
) -> None:
    """Inside the pod: addresses, up, default routes; with ``checksum_offload`` off the kernel computes the
    checksums that the userspace datapath would otherwise find missing."""
    index = link_index(ipr, ifname)
    for address in addresses:
        options = (
            {"flags": _IFA_F_NODAD}
            if address.version == 6
            else {"broadcast": str(address.network.broadcast_address)}
        )
        ipr.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **options)
    if not checksum_offload:
        disable_checksum_offload(ifname)
    ipr.link("set", index=index, state="up")
    for gateway in gateways:
        ipr.route("replace", family=FAMILY[gateway.version], dst="default", gateway=str(gateway), oif=index)


def disable_checksum_offload(ifname: str) -> None:
    """``ethtool -K IFNAME tx off`` in the namespace of the calling thread."""
    import array

    value = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    address, _ = value.buffer_info()
    request = struct.pack("16sP", ifname.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)


def check(
    ipr: IPRoute, ifname: str, mac: str, addresses: Sequence[Address], gateways: Sequence[IPAddress]
) -> None:
    """CNI CHECK, inside the pod. Raises WrongInterface."""
    found = ipr.link_lookup(ifname=ifname)
    if not found:
        raise WrongInterface(f"the pod has no interface {ifname}")
    index = found[0]
    (link,) = ipr.get_links(index)
    if (link.get("address") or "").lower() != mac.lower():
        raise WrongInterface(f"{ifname} has the MAC address {link.get('address')}, not {mac}")
    if not link["flags"] & 1:
        raise WrongInterface(f"{ifname} is down")
    present = {
        ipaddress.ip_interface(f"{message.get('address')}/{message['prefixlen']}")
        for message in ipr.get_addr(index=index)
    }
    for address in addresses:
        if address not in present:
            raise WrongInterface(f"{ifname} has no address {address}")
    for gateway in gateways:
        if not _has_default_route(ipr, index, gateway):
            raise WrongInterface(f"the pod has no default route through {gateway} on {ifname}")


def mac_address(ipr: IPRoute, ifname: str) -> str | None:
    """The MAC of a device, None where there is no such device."""
    found = ipr.link_lookup(ifname=ifname)
    if not found:
        return None
    (link,) = ipr.get_links(found[0])
    return str(link.get("address"))


def _has_default_route(ipr: IPRoute, index: int, gateway: IPAddress) -> bool:
    routes: Any = ipr.get_routes(family=FAMILY[gateway.version], table=_MAIN_TABLE)
    return any(
        message["dst_len"] == 0
        and message.get("oif") == index
        and message.get("gateway") is not None
        and ipaddress.ip_address(message.get("gateway")) == gateway
        for message in routes
    )
