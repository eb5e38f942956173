"""Results of CNI ADD, in the shape of each version of the CNI specification."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.cni.requests import Request

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Attachment:
    """What ADD made: both ends of the veth and the pod's addresses (with prefix length) and gateways."""

    host_name: str
    host_mac: str
    pod_mac: str
    addresses: tuple[Address, ...]
    gateways: tuple[IPAddress, ...]


def add_result(request: Request, attachment: Attachment, mtu: int) -> bytes:
    """The JSON that the plugin prints; ``cniVersion`` is the one asked for."""
    result: dict[str, Any] = {"cniVersion": request.version}
    routes = [
        {"dst": "0.0.0.0/0" if gateway.version == 4 else "::/0", "gw": str(gateway)}
        for gateway in attachment.gateways
    ]
    if request.version in ("0.1.0", "0.2.0"):
        for address, gateway, route in zip(attachment.addresses, attachment.gateways, routes, strict=True):
            result[f"ip{address.version}"] = {
                "ip": str(address),
                "gateway": str(gateway),
                "routes": [route],
            }
    else:
        result["interfaces"] = _interfaces(request, attachment, mtu)
        result["ips"] = _ips(request.version, attachment.addresses, attachment.gateways)
        result["routes"] = routes
    result["dns"] = request.config.dns_result()
    return msgspec.json.encode(result)


def _interfaces(request: Request, attachment: Attachment, mtu: int) -> list[dict[str, Any]]:
    host: dict[str, Any] = {"name": attachment.host_name, "mac": attachment.host_mac}
    pod: dict[str, Any] = {"name": request.ifname, "mac": attachment.pod_mac}
    if request.version == "1.1.0":
        host["mtu"] = pod["mtu"] = mtu
    pod["sandbox"] = request.netns
    return [host, pod]


def _ips(version: str, addresses: Sequence[Address], gateways: Sequence[IPAddress]) -> list[dict[str, Any]]:
    entries = []
    for address, gateway in zip(addresses, gateways, strict=True):
        entry: dict[str, Any] = {"interface": 1, "address": str(address), "gateway": str(gateway)}
        if version.startswith("0."):
            entry["version"] = str(address.version)  # CNI 0.3.0 to 0.4.0 only
        entries.append(entry)
    return entries
