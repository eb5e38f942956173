"""The routes to the peers' pods through antrea-gw0: what is wanted against what the kernel has.

Routes carry a protocol number of our own, so that the agent removes those that it made and no others.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute

from agent.model import IPAddress, IPNetwork, RemoteNode
from agent.nodes.gateway import FAMILY, link_index

PROTOCOL = 97  # rtnetlink's numbers 4–255 are for whoever takes one; iproute2 names none near this one
VIRTUAL_MAC = "aa:bb:cc:dd:ee:ff"  # Antrea's global virtual MAC: stands for every peer gateway

_MAIN_TABLE = 254
_SCOPE_LINK = 253
_ONLINK = 4  # RTNH_F_ONLINK
_PERMANENT = 0x80  # NUD_PERMANENT


@dataclass(frozen=True, slots=True)
class Route:
    """``via`` None: the destination is on the link itself."""

    destination: IPNetwork
    via: IPAddress | None


@dataclass(frozen=True, slots=True)
class RouteChanges:
    added: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def wanted_routes(peers: Iterable[RemoteNode]) -> set[Route]:
    """One route for each pod CIDR, through the peer's gateway; IPv6 has no onlink routes before Linux 4.16
    and upstream sets a host route to the gateway first, which works on all."""
    routes = set()
    for peer in peers:
        for cidr in peer.pod_cidrs:
            routes.add(Route(cidr, cidr[1]))
            if cidr.version == 6:
                routes.add(Route(ipaddress.ip_network(f"{cidr[1]}/128"), None))
    return routes


def reconcile_routes(ipr: IPRoute, gateway: str, peers: Iterable[RemoteNode]) -> RouteChanges:
    """Make the kernel's routes and permanent neighbours on the gateway those of ``peers``.

    Raises LookupError where the gateway is gone, OSError where the kernel refuses.
    """
    peers = list(peers)
    index = link_index(ipr, gateway)
    wanted = wanted_routes(peers)
    present, ours = _present(ipr, index)
    removed = added = 0
    for route in ours - wanted:
        _change(ipr, "del", route, index)
        removed += 1
    # The host route to an IPv6 gateway comes before the routes that go through it.
    for route in sorted(wanted - present, key=lambda route: route.via is not None):
        _change(ipr, "replace", route, index)
        added += 1
    changes = _reconcile_neighbors(
        ipr, index, {route.destination[0] for route in wanted if route.via is None}
    )
    return RouteChanges(added + changes.added, removed + changes.removed)


def _present(ipr: IPRoute, index: int) -> tuple[set[Route], set[Route]]:
    """All routes of the main table on the device, and those among them that the agent made."""
    present, ours = set(), set()
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in ipr.get_routes(family=family, oif=index, table=_MAIN_TABLE):
            if message.get("oif") != index or message.get("table") != _MAIN_TABLE:
                continue
            destination = message.get("dst") or ("0.0.0.0" if family == socket.AF_INET else "::")
            via = message.get("gateway")
            route = Route(
                ipaddress.ip_network(f"{destination}/{message['dst_len']}"),
                ipaddress.ip_address(via) if via else None,
            )
            present.add(route)
            if message["proto"] == PROTOCOL:
                ours.add(route)
    return present, ours


def _change(ipr: IPRoute, command: str, route: Route, index: int) -> None:
    arguments: dict[str, Any] = {
        "family": FAMILY[route.destination.version],
        "dst": str(route.destination),
        "oif": index,
        "table": _MAIN_TABLE,
        "proto": PROTOCOL,
    }
    if route.via is not None:
        arguments["gateway"] = str(route.via)
        if route.destination.version == 4:
            arguments["flags"] = _ONLINK
    elif route.destination.version == 4:
        arguments["scope"] = _SCOPE_LINK
    ipr.route(command, **arguments)


def _reconcile_neighbors(ipr: IPRoute, index: int, wanted: set[Any]) -> RouteChanges:
    """IPv6 peers' gateways have permanent neighbour entries; OVS answers ARP for the IPv4 ones itself."""
    present = {
        ipaddress.ip_address(message.get("dst")): message.get("lladdr")
        for message in ipr.get_neighbours(family=socket.AF_INET6, ifindex=index)
        if message["state"] & _PERMANENT and message.get("ifindex", index) == index
    }
    added = removed = 0
    for ip, mac in present.items():
        if mac == VIRTUAL_MAC and ip not in wanted:
            ipr.neigh("del", dst=str(ip), ifindex=index, family=socket.AF_INET6)
            removed += 1
    for ip in wanted:
        if present.get(ip) != VIRTUAL_MAC:
            ipr.neigh(
                "replace",
                dst=str(ip),
                lladdr=VIRTUAL_MAC,
                ifindex=index,
                family=socket.AF_INET6,
                state=_PERMANENT,
            )
            added += 1
    return RouteChanges(added, removed)
