"""Nodes, pods and rules that the tests of the pipeline share."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from agent.model import (
    Direction,
    NodeConfig,
    OFPort,
    PodInterface,
    PolicyReference,
    PolicyRule,
    RemoteNode,
    ServicePort,
)

ip, network = ipaddress.ip_address, ipaddress.ip_network

NODE1 = NodeConfig(
    name="up1",
    transport_ips=(ip("192.0.2.1"),),
    pod_cidrs=(network("10.77.1.0/24"),),
    gateway_name="antrea-gw0",
    gateway_mac="82:75:0d:08:31:00",
    gateway_ips=(ip("10.77.1.1"),),
    gateway_ofport=32769,
    tunnel_ofport=32768,
)
NODE2 = replace(
    NODE1,
    name="up2",
    transport_ips=(ip("192.0.2.2"),),
    pod_cidrs=(network("10.77.2.0/24"),),
    gateway_mac="0e:3d:69:a3:36:f4",
    gateway_ips=(ip("10.77.2.1"),),
)
DUAL = replace(
    NODE1,
    pod_cidrs=(network("10.77.1.0/24"), network("fd00:77:1::/64")),
    gateway_ips=(ip("10.77.1.1"), ip("fd00:77:1::1")),
    transport_ips=(ip("192.0.2.1"), ip("2001:db8::1")),
)
IPV6 = replace(
    NODE1,
    pod_cidrs=(network("fd00:77:1::/64"),),
    gateway_ips=(ip("fd00:77:1::1"),),
    transport_ips=(ip("2001:db8::1"),),
)


def pod(name: str, mac: str, ofport: int, *ips: str) -> PodInterface:
    return PodInterface(name, "default", name.rsplit("-", 1)[0], "", mac, tuple(map(ip, ips)), ofport)


WEB0 = pod("web-0-6156c2", "d2:01:93:35:44:9c", 1, "10.77.1.3")
CLI0 = pod("cli-0-1f0500", "de:8d:b7:f9:ef:f1", 2, "10.77.1.4")
CLI1 = pod("cli-1-e740db", "52:f5:01:2b:df:9f", 1, "10.77.2.2")
OTH1 = pod("oth-1-00cc68", "7a:f5:0b:ea:6f:ee", 2, "10.77.2.3")


def peer(node: NodeConfig) -> RemoteNode:
    return RemoteNode(node.name, node.transport_ips, node.pod_cidrs)


def rule(
    rule_id: str,
    direction: Direction,
    sources: object = (),
    destinations: object = (),
    services: tuple[ServicePort, ...] = (),
    isolated: object = (),
    **more: object,
) -> PolicyRule:
    """A rule of a Kubernetes policy; numbers are ports of the bridge, texts addresses or networks."""
    return PolicyRule(
        rule_id,
        PolicyReference("K8sNetworkPolicy", "default", "a", "uid-a"),
        direction,
        _addresses(sources),
        _addresses(destinations),
        services,
        isolated=_addresses(isolated),
        **more,  # type: ignore[arg-type]
    )


def _addresses(members: object) -> frozenset[object]:
    return frozenset(
        OFPort(member) if isinstance(member, int) else network(member) if "/" in member else ip(member)
        for member in members  # type: ignore[attr-defined]
    )
