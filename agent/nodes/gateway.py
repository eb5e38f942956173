"""antrea-gw0 is up and has exactly the gateway's addresses: the first of each pod CIDR of the node."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path

from pyroute2 import IPRoute

from agent.model import IPNetwork

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def gateway_addresses(pod_cidrs: Sequence[IPNetwork]) -> tuple[Interface, ...]:
    return tuple(ipaddress.ip_interface(f"{cidr[1]}/{cidr.prefixlen}") for cidr in pod_cidrs)


def configure_gateway(ipr: IPRoute, name: str, addresses: Sequence[Interface], mtu: int) -> int:
    """Bring the gateway to this state, changing only what differs; its interface index.

    Link-local addresses are the kernel's. Raises OSError or LookupError when the device is not there (yet).
    """
    index = link_index(ipr, name)
    (link,) = ipr.get_links(index)
    if link.get("mtu") != mtu:
        ipr.link("set", index=index, mtu=mtu)
    if not link["flags"] & 1:
        ipr.link("set", index=index, state="up")
    wanted = set(addresses)
    for message in ipr.get_addr(index=index):
        present = ipaddress.ip_interface(f"{message.get('address')}/{message['prefixlen']}")
        if present in wanted:
            wanted.discard(present)
        elif not present.ip.is_link_local:
            ipr.addr("del", index=index, address=str(present.ip), prefixlen=present.network.prefixlen)
    for address in addresses:
        if address in wanted:
            ipr.addr(
                "add",
                index=index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **_options(address),
            )
    return index


def _options(address: Interface) -> dict[str, object]:
    if address.version == 6:
        return {"flags": 0x02}  # nodad: the address is ours by construction and must answer at once
    return {"broadcast": str(address.network.broadcast_address)}


def link_index(ipr: IPRoute, name: str) -> int:
    """Raises LookupError."""
    found = ipr.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"There is no network device {name}.")
    return int(found[0])


def write_sysctls(gateway: str, *, ipv4: bool, ipv6: bool) -> list[str]:
    """Forwarding, and ARP requests that always carry the gateway's own address (else ARPSpoofGuard drops
    them). What could not be written is returned as sentences: a container may have /proc/sys read-only."""
    wanted = []
    if ipv4:
        wanted += [("net/ipv4/ip_forward", "1"), (f"net/ipv4/conf/{gateway}/arp_announce", "1")]
    if ipv6:
        wanted += [("net/ipv6/conf/all/forwarding", "1")]
    problems = []
    for key, value in wanted:
        path = Path("/proc/sys") / key
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            problems.append(f"sysctl {key.replace('/', '.')} cannot be set to {value}: {error.strerror}")
    return problems
