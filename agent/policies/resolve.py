"""From one rule as the controller sends it to the rules that the datapath can carry.

Here every name becomes an address or a number: group members their addresses, local pods their OVS ports,
named ports the number that each pod gives to the name, CIDRs with exceptions the CIDRs that remain. A rule
with named ports becomes several: pods that resolve its ports alike share one.

Pure functions of (rule, groups, local pods, address families): the same inputs give the same rules in the
same order, with ids that survive a restart.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from agent.model import (
    Action,
    Address,
    Direction,
    IPNetwork,
    OFPort,
    PodInterface,
    PolicyRule,
    ServicePort,
)
from agent.policies.groups import Group
from agent.policies.objects import IPBlock, Member, Peer, Rule, Service

Families = frozenset[int]  # of 4 and 6: the address families that the node runs

InterfacesOf = Callable[[str, str], Iterable[PodInterface]]  # (namespace, pod) → where it is attached

Addresses = frozenset[Address]
NOTHING: Addresses = frozenset()


def resolve(
    rule: Rule,
    targets: Iterable[Member],
    peers: Callable[[str], Iterable[Member]],
    peer_addresses: Callable[[str], Addresses],
    interfaces_of: InterfacesOf,
    families: Families,
) -> list[PolicyRule]:
    """The rules for the datapath that ``rule`` stands for on this node; none if it has no target here.

    ``targets`` are the members of its applied-to groups, ``peers`` gives the members of an address group
    and ``peer_addresses`` their addresses in the families of the node (kept by the caller, because many
    rules share a group).
    """
    attached: dict[str, tuple[Member, PodInterface]] = {}
    for member in targets:
        if member.type == "Pod":
            for interface in interfaces_of(member.namespace, member.name):
                if interface.ofport > 0:  # OVS has given the port its number
                    attached.setdefault(interface.name, (member, interface))
    if not attached:
        return []
    if rule.direction is Direction.INGRESS:
        return _ingress(rule, list(attached.values()), peer_addresses, families)
    sources = frozenset(
        ip for _, interface in attached.values() for ip in interface.ips if ip.version in families
    )
    if not sources:
        return []
    return _egress(rule, sources, peers, peer_addresses, families)


def _ingress(
    rule: Rule,
    attached: Sequence[tuple[Member, PodInterface]],
    peer_addresses: Callable[[str], Addresses],
    families: Families,
) -> list[PolicyRule]:
    sources = _addresses(rule.peer, peer_addresses, families)
    if not rule.has_named_ports:
        ports = frozenset(OFPort(interface.ofport) for _, interface in attached)
        return [_variant(rule, sources, ports, _plain(rule.services), isolated=ports)]
    by_services: dict[tuple[ServicePort, ...], set[Address]] = {}
    for member, interface in attached:
        by_services.setdefault(resolve_services(rule.services, member), set()).add(OFPort(interface.ofport))
    return [
        _named_variant(rule, sources, frozenset(ports), services, isolated=frozenset(ports))
        for services, ports in sorted(by_services.items(), key=lambda item: _services_key(item[0]))
    ]


def _egress(
    rule: Rule,
    sources: Addresses,
    peers: Callable[[str], Iterable[Member]],
    peer_addresses: Callable[[str], Addresses],
    families: Families,
) -> list[PolicyRule]:
    if not rule.has_named_ports:
        destinations = _addresses(rule.peer, peer_addresses, families)
        return [_variant(rule, sources, destinations, _plain(rule.services), isolated=sources)]
    # A name means what the destination pod calls so. Addresses that are no pod's have no names: for an
    # ipBlock only the numbers of the rule count (and none left means that nothing matches).
    by_services: dict[tuple[ServicePort, ...], set[Address]] = {}
    for group in rule.peer.address_groups:
        for member in peers(group):
            ips = [ip for ip in member.ips if ip.version in families]
            if ips:
                by_services.setdefault(resolve_services(rule.services, member), set()).update(ips)
    numbers = tuple(service for service in rule.services if not service.is_named)
    blocks = _block_addresses(rule.peer.ip_blocks, families)
    if numbers and blocks:
        by_services.setdefault(_plain(numbers), set()).update(blocks)
    variants = [
        _named_variant(rule, sources, frozenset(destinations), services, isolated=sources)
        for services, destinations in sorted(by_services.items(), key=lambda item: _services_key(item[0]))
        if services
    ]
    # Whatever resolves, the rule's pods are isolated, under an id that stays while variants come and go.
    return [_isolation(rule, sources), *variants]


def _variant(
    rule: Rule,
    sources: Addresses,
    destinations: Addresses,
    services: tuple[ServicePort, ...],
    isolated: Addresses,
) -> PolicyRule:
    if rule.action is None or rule.peer.is_empty:
        return _isolation(rule, isolated)
    return PolicyRule(
        id=rule.id,
        policy=rule.policy,
        direction=rule.direction,
        sources=sources,
        destinations=destinations,
        services=services,
        action=rule.action,
        isolated=isolated,
        enable_logging=rule.enable_logging,
        name=rule.name,
    )


def _named_variant(
    rule: Rule,
    sources: Addresses,
    destinations: Addresses,
    services: tuple[ServicePort, ...],
    isolated: Addresses,
) -> PolicyRule:
    if not services:  # nothing resolved: never widened to all ports
        return _isolation(rule, isolated)
    return PolicyRule(
        id=f"{rule.id}/{_services_key(services)}",
        policy=rule.policy,
        direction=rule.direction,
        sources=sources,
        destinations=destinations,
        services=services,
        action=rule.action if rule.action is not None else Action.ALLOW,
        isolated=isolated,
        enable_logging=rule.enable_logging,
        name=rule.name,
    )


def _isolation(rule: Rule, isolated: Addresses) -> PolicyRule:
    """A rule that lets nothing through: what is left of it is the isolation of its pods."""
    egress = rule.direction is Direction.EGRESS
    return PolicyRule(
        id=f"{rule.id}/none" if rule.has_named_ports else rule.id,
        policy=rule.policy,
        direction=rule.direction,
        sources=isolated if egress else NOTHING,
        destinations=NOTHING if egress else isolated,
        action=None,
        isolated=isolated,
        enable_logging=rule.enable_logging,
        name=rule.name,
    )


def resolve_services(services: Iterable[Service], member: Member) -> tuple[ServicePort, ...]:
    """The services in numbers, as ``member`` names its ports; names it does not know are left out.

    A name is known if name and protocol are equal (Kubernetes NetworkPolicy). Where two containers of a pod
    use one name for two numbers, the first counts, as in Antrea.
    """
    resolved: list[ServicePort] = []
    for service in services:
        if not isinstance(service.port, str):
            resolved.append(_port(service))
            continue
        for port in member.ports:
            if port.name == service.port and port.protocol == service.protocol:
                resolved.append(ServicePort(protocol=port.protocol, port=port.port))
                break
    return _distinct(resolved)


def _plain(services: Iterable[Service]) -> tuple[ServicePort, ...]:
    return _distinct(_port(service) for service in services)


def _distinct(services: Iterable[ServicePort]) -> tuple[ServicePort, ...]:
    return tuple(sorted(dict.fromkeys(services), key=_service_key))


def _port(service: Service) -> ServicePort:
    port = service.port
    assert not isinstance(port, str)
    end = service.end_port if service.end_port is not None and service.end_port != port else None
    return ServicePort(protocol=service.protocol, port=port, end_port=end)


def _service_key(service: ServicePort) -> tuple[str, int, int]:
    return (service.protocol or "", service.port or 0, service.end_port or 0)


def _services_key(services: Iterable[ServicePort]) -> str:
    return ",".join(
        f"{service.protocol}:{'' if service.port is None else service.port}"
        + (f"-{service.end_port}" if service.end_port else "")
        for service in services
    )


def _addresses(peer: Peer, peer_addresses: Callable[[str], Addresses], families: Families) -> Addresses:
    """All addresses of a peer; the very set of the group where the peer is one group (it is shared)."""
    if len(peer.address_groups) == 1 and not peer.ip_blocks:
        return peer_addresses(peer.address_groups[0])
    united: set[Address] = set(_block_addresses(peer.ip_blocks, families))
    for group in peer.address_groups:
        united |= peer_addresses(group)
    return frozenset(united)


def _block_addresses(blocks: Iterable[IPBlock], families: Families) -> Addresses:
    united: set[Address] = set()
    for block in blocks:
        if block.cidr.version in families:
            united.update(subtract(block.cidr, block.excepts))
    return frozenset(united)


@lru_cache(maxsize=4096)
def subtract(cidr: IPNetwork, excepts: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    """The fewest CIDRs that cover ``cidr`` without ``excepts``; the other family's cut nothing."""
    left: list[IPNetwork] = [cidr]
    for hole in excepts:
        if hole.version != cidr.version:
            continue
        rest: list[IPNetwork] = []
        for part in left:
            if not part.overlaps(hole):
                rest.append(part)
            elif part.prefixlen < hole.prefixlen:
                rest.extend(part.address_exclude(hole))  # type: ignore[arg-type]
        left = rest
    return tuple(ipaddress.collapse_addresses(left))  # type: ignore[type-var]


def group_addresses(group: Group, families: Families) -> Addresses:
    return frozenset().union(*(group.addresses[family] for family in families))
