"""Where the tunnel's far ends are, for the userspace datapath.

There OVS keeps neighbours of its own. It learns one by sending an ARP request in place of the first packet,
which is lost, and may fail to learn it again after it aged out, because the reply is forwarded by a cached
flow that nobody looks into (measured with Open vSwitch 3.1). So the agent asks the kernel, which has an
address on the same bridge, and tells OVS: at start, when peers change, after a restart of vswitchd, and every
minute. The kernel datapath asks the kernel by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.model import IPAddress, RemoteNode
from agent.nodes.gateway import FAMILY
from agent.nodes.netlink import Netlink
from agent.pipeline import unixctl
from runtime import log

logger = log.get(__name__)

_RESOLVED = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_TRIES = 20
_PAUSE = 0.1  # seconds between looks at the kernel's answer
_DISCARD_PORT = 9


@dataclass(frozen=True, slots=True)
class Hop:
    """The neighbour through which a peer is reached: itself, or a router on the way."""

    device: str  # the internal port of the underlay bridge, by which OVS names the bridge
    index: int
    ip: IPAddress


class NeighborKeeper:
    """Keeps ``ovs-appctl tnl/neigh`` filled. Whether a pass found everybody is its result."""

    def __init__(self, run_dir: str | Path, netlink: Netlink) -> None:
        self._run_dir = Path(run_dir)
        self._netlink = netlink
        self._missing: set[IPAddress] = set()

    async def reconcile(self, peers: Sequence[RemoteNode]) -> bool:
        """Resolve the peers' addresses and tell OVS. False where one did not answer: call again soon, for OVS
        loses packets to it. Raises UnixctlError where vswitchd is not there."""
        control = unixctl.socket_of_vswitchd(self._run_dir)
        if control is None:
            raise unixctl.UnixctlError(f"no vswitchd runs in {self._run_dir}")
        addresses = [ip for peer in peers for ip in peer.transport_ips]
        if not addresses:
            return True
        hops = await self._netlink.run(lambda ipr: {ip: find_hop(ipr, ip) for ip in addresses})
        wanted = {hop for hop in hops.values() if hop is not None}
        found = await self._resolve(wanted)
        for hop, mac in found.items():
            await unixctl.call(control, "tnl/neigh/set", hop.device, str(hop.ip), mac)
        missing = {ip for ip, hop in hops.items() if hop is None or hop not in found}
        for ip in missing - self._missing:
            logger.warning("The tunnel's far end %s does not answer ARP or neighbour discovery yet", ip)
        self._missing = missing
        return not missing

    async def _resolve(self, hops: set[Hop]) -> dict[Hop, str]:
        """MAC addresses by hop, from the kernel; it is made to ask for those that it does not know."""
        found: dict[Hop, str] = {}
        for attempt in range(_TRIES):
            unknown = hops - found.keys()
            if not unknown:
                break
            if attempt:
                await asyncio.sleep(_PAUSE)
            known = await self._netlink.run(lambda ipr, unknown=unknown: _lookup(ipr, unknown))  # type: ignore[misc]
            found.update(known)
            if attempt == 0 and len(known) < len(unknown):
                await self._netlink.run(lambda _, left=unknown - known.keys(): _provoke(left))  # type: ignore[misc]
            elif self._missing.issuperset(hop.ip for hop in hops - found.keys()) and attempt:
                break  # known to be away: one more chance is enough
        return found


def find_hop(ipr: IPRoute, ip: IPAddress) -> Hop | None:
    """How the kernel reaches an address; None where it does not, or where it is the node itself."""
    try:
        (route,) = ipr.route("get", dst=str(ip), family=FAMILY[ip.version])
    except (NetlinkError, ValueError):  # there is no route to it
        return None
    index = route.get("oif")
    via = route.get("gateway")
    links = ipr.get_links(index) if index else ()
    for link in links:
        if link["flags"] & 0x8:  # loopback
            return None
        return Hop(str(link.get("ifname")), int(index), ipaddress.ip_address(via) if via else ip)
    return None


def _lookup(ipr: IPRoute, hops: set[Hop]) -> dict[Hop, str]:
    found = {}
    for version, family in FAMILY.items():
        wanted = {(hop.index, hop.ip): hop for hop in hops if hop.ip.version == version}
        if not wanted:
            continue
        for message in ipr.get_neighbours(family=family):
            key = (message["ifindex"], ipaddress.ip_address(message.get("dst")))
            mac = message.get("lladdr")
            if key in wanted and mac and message["state"] & _RESOLVED:
                found[wanted[key]] = str(mac)
    return found


def _provoke(hops: set[Hop]) -> None:
    """An empty datagram to the discard port makes the kernel look for the neighbour."""
    for hop in hops:
        with socket.socket(FAMILY[hop.ip.version], socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                if hop.ip.version == 4:
                    sock.sendto(b"", (str(hop.ip), _DISCARD_PORT))
                else:  # a router's address may be link-local, and then means nothing without the device
                    scope = hop.index if hop.ip.is_link_local else 0
                    sock.sendto(b"", (str(hop.ip), _DISCARD_PORT, 0, scope))
            except OSError:
                continue
