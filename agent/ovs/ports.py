"""A port of br-int as OVSDB has it, and what its external_ids say (the keys of Antrea v2.7)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.model import PodInterface

TYPE = "antrea-type"
GATEWAY = "gateway"
CONTAINER = "container"
TUNNEL = "tunnel"

# Ports that the agent numbers itself stay clear of 1..32767, which OVS gives out on its own.
TUNNEL_OFPORT = 32768
GATEWAY_OFPORT = 32769
UPLINK_OFPORT = 32770

DEFAULT_IFNAME = "eth0"


@dataclass(frozen=True, slots=True)
class Port:
    """One port with one interface; ``ofport`` is 0 while vswitchd has not seen it, -1 where it could not."""

    name: str
    type: str  # of the interface: "" for a veth, internal, geneve …
    ofport: int
    mac: str  # as asked for in OVSDB, else the device's own
    external_ids: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ofport_request: int | None = None
    error: str = ""

    @property
    def antrea_type(self) -> str:
        return self.external_ids.get(TYPE, "")


def container_external_ids(
    interface: PodInterface, netns: str, ifname: str = DEFAULT_IFNAME
) -> dict[str, str]:
    ids = {
        TYPE: CONTAINER,
        "attached-mac": interface.mac,
        "container-id": interface.container_id,
        "ip-address": ",".join(str(ip) for ip in interface.ips),
        "pod-name": interface.pod,
        "pod-namespace": interface.namespace,
        "net-ns": netns,
    }
    if ifname != DEFAULT_IFNAME:
        ids["if-dev"] = ifname
    if interface.pod_uid:
        ids["pod-uid"] = interface.pod_uid  # ours; upstream has no such key and ignores it
    return ids


def pod_interface(port: Port) -> PodInterface | None:
    """The pod interface that a port's external_ids describe; None if it is no container's or unreadable."""
    ids = port.external_ids
    if port.antrea_type != CONTAINER:
        return None
    try:
        ips = tuple(ipaddress.ip_address(text) for text in ids.get("ip-address", "").split(",") if text)
        return PodInterface(
            name=port.name,
            namespace=ids["pod-namespace"],
            pod=ids["pod-name"],
            container_id=ids["container-id"],
            mac=ids["attached-mac"].lower(),
            ips=ips,
            ofport=port.ofport,
            pod_uid=ids.get("pod-uid", ""),
        )
    except (KeyError, ValueError):
        return None
