"""What policy rules mean, worked out packet by packet from their definition: nothing of agent/pipeline
here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from agent.model import Address, Direction, OFPort, PolicyRule, ServicePort

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def passes(
    rules: Iterable[PolicyRule], source: IP, target: IP, target_port: int | None, protocol: str, port: int
) -> bool:
    """Whether policy lets a connection begin. ``target_port``: the target's port of the bridge, if it is a
    pod."""
    verdict = True
    for direction in Direction:
        mine = [rule for rule in rules if rule.direction is direction]
        ingress = direction is Direction.INGRESS
        isolated = any(
            _has(rule.isolated, target if ingress else source, target_port if ingress else None)
            for rule in mine
        )
        allowed = any(
            rule.action is not None
            and _has(rule.sources, source, None)
            and _has(rule.destinations, target, target_port)
            and (not rule.services or any(_serves(service, protocol, port) for service in rule.services))
            for rule in mine
        )
        verdict = verdict and (allowed or not isolated)
    return verdict


def _has(addresses: Iterable[Address], ip: IP, port: int | None) -> bool:
    for address in addresses:
        if isinstance(address, OFPort):
            if address.number == port:
                return True
        elif isinstance(address, ipaddress.IPv4Network | ipaddress.IPv6Network):
            if ip in address:
                return True
        elif address == ip:
            return True
    return False


def _serves(service: ServicePort, protocol: str, port: int) -> bool:
    if service.protocol is None:
        return True
    if service.protocol != protocol:
        return False
    last = service.end_port if service.end_port is not None else service.port
    return service.port is None or service.port <= port <= (last or 0)
