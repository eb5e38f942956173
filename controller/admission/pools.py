"""Ranges of addresses: rules that ExternalIPPool and IPPool share, and what the external ones consist of."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from apis.addresses import AddressError, IPNetwork, from_bytes, to_bytes
from apis.gojson import Int32
from apis.ippools import DisjointRanges, PoolRange, parse
from client.errors import ApiError
from client.resources import EXTERNAL_IP_POOLS
from client.rest import RestClient
from controller.admission.known import Metadata, Table
from controller.admission.objects import V1Beta1

LOOK_UP_SECONDS: Final = 2.0  # of the five that kube-apiserver waits for a webhook


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


# --- what exists ---


class _Spec(msgspec.Struct, rename="camel"):
    ip_ranges: list[_Range] | None = None


class _Range(msgspec.Struct):
    cidr: str = ""
    start: str = ""
    end: str = ""


class _Pool(msgspec.Struct):
    metadata: Metadata
    spec: _Spec | None = None


_decode = msgspec.json.Decoder(_Pool).decode


class Other(NamedTuple):
    """A range of another pool."""

    pool: str
    range: PoolRange


class ExternalIPPools(Table[tuple[PoolRange, ...]]):
    """The ranges of each ExternalIPPool."""

    def __init__(self) -> None:
        super().__init__(EXTERNAL_IP_POOLS, "ExternalIPPool", _Pool, _reduce)

    def of(self, pool: str) -> tuple[PoolRange, ...] | None:
        """None for a pool that does not exist."""
        return self.objects.get(("", pool))

    def others(self, pool: str) -> Iterator[Other]:
        """The ranges of all pools but this, in a fixed order."""
        for (_, name), ranges in sorted(self.objects.items()):
            if name != pool:
                yield from (Other(name, found) for found in ranges)


async def look_up(client: RestClient, pool: str) -> tuple[PoolRange, ...] | None:
    """The ranges of an ExternalIPPool at this moment, None if it does not exist. Raises ApiError,
    ConnectionFailed, MsgspecError."""
    try:
        path = EXTERNAL_IP_POOLS.path(pool)
        return _reduce(_decode((await client.request("GET", path, timeout=LOOK_UP_SECONDS)).body))
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _reduce(pool: _Pool) -> tuple[PoolRange, ...]:
    found = []
    for written in (pool.spec.ip_ranges if pool.spec else None) or ():
        try:
            found.append(parse(written.cidr, written.start, written.end))
        except AddressError:  # stored while nobody checked it: nothing is given out of it
            continue
    return tuple(found)
