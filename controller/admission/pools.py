"""Ranges of addresses: the rules that ExternalIPPool and IPPool share."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from apis.addresses import AddressError, IPNetwork, from_bytes, to_bytes
from apis.gojson import Int32
from apis.ippools import DisjointRanges, parse
from controller.admission.objects import V1Beta1


class IPRange(V1Beta1):
    cidr: str | None = None
    start: str | None = None
    end: str | None = None

    @property
    def text(self) -> str:
        return self.cidr or f"{self.start or ''}-{self.end or ''}"


class SubnetInfo(V1Beta1):
    gateway: str | None = None
    prefix_length: Int32 | None = None
    vlan: Int32 | None = None


class Refused(Exception):
    """A range or subnet that may not be; the text says why."""


def checked_ranges(ranges: Iterable[IPRange], subnet: SubnetInfo | None) -> DisjointRanges:
    """The ranges of a pool. Raises Refused at the first that cannot be one, or overlaps with an earlier."""
    network = _network(subnet) if subnet is not None else None
    checked = DisjointRanges()
    for written in ranges:
        try:
            found = parse(written.cidr or "", written.start or "", written.end or "")
        except AddressError as error:
            raise Refused(str(error)) from None
        if network is not None and not (found.whole.first in network and found.whole.last in network):
            assert subnet is not None
            raise Refused(
                f"range [{found.text}] must be a strict subset of the subnet "
                f"{subnet.gateway}/{subnet.prefix_length}"
            )
        other = checked.overlapping(found)
        if other is not None:
            raise Refused(f"range [{found.text}] overlaps with range [{other.text}]")
        checked.add(found)
    return checked


def _network(subnet: SubnetInfo) -> IPNetwork:
    gateway, length = subnet.gateway or "", subnet.prefix_length or 0
    try:
        address = from_bytes(to_bytes(gateway))
    except AddressError:
        raise Refused(f"invalid gateway address {gateway}") from None
    if not 0 < length < address.max_prefixlen:
        raise Refused(f"invalid prefixLength {length}")
    return ipaddress.ip_network((address, length), strict=False)


def removal_refusal(old: Iterable[IPRange], new: Iterable[IPRange]) -> str | None:
    """Addresses may be in use: ranges can only be added. They are compared as they are written."""
    gone = {item.text for item in old} - {item.text for item in new}
    return f"existing IPRanges [{' '.join(sorted(gone))}] cannot be updated or deleted" if gone else None
