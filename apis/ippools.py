"""Ranges of addresses in pools (ExternalIPPool, IPPool): what is written, and which addresses it stands for.

A range is written as ``cidr`` or as ``start`` and ``end``. Of a CIDR the first address is never given out;
nor is the last one in IPv4, so that an IPv4 CIDR of one or two addresses has none to give.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from apis.addresses import AddressError, IPAddress, Range, from_bytes, is_ipv4, parse_cidr, to_bytes

LARGEST: Final = 65536  # addresses of one range that are given out, from its beginning


class PoolRange(NamedTuple):
    """One range. ``text`` tells it from others: two ways to write the same addresses are two ranges."""

    text: str
    whole: Range
    from_cidr: bool

    def overlaps(self, other: PoolRange) -> bool:
        mine, theirs = self.whole, other.whole
        return (
            mine.first.version == theirs.first.version
            and int(mine.first) <= int(theirs.last)
            and int(theirs.first) <= int(mine.last)
        )

    def admits(self, address: IPAddress) -> bool:
        """Whether somebody may ask for the address. As in Antrea, an IPv4 CIDR admits its last address,
        which allocation then refuses; not where there is nothing to give at all."""
        if address not in self.whole:
            return False
        offset = int(address) - int(self.whole.first)
        if not self.from_cidr:
            return offset < LARGEST
        if address.version == 4 and self.whole.size <= 2:
            return False
        return 1 <= offset <= LARGEST


def parse(cidr: str, start: str, end: str) -> PoolRange:
    """Raises AddressError in the words that Antrea refuses the range with."""
    if cidr:
        return PoolRange(cidr, cidr_range(cidr), True)
    first, last = _address(start, "start"), _address(end, "end")
    if first.version != last.version:
        raise AddressError(f"range start {start} and range end {end} should belong to same family")
    if int(first) > int(last):
        raise AddressError(f"range start {start} should not be greater than range end {end}")
    return PoolRange(f"{start}-{end}", Range(first, last), False)


def cidr_range(cidr: str) -> Range:
    """All addresses of a CIDR, which may be written with bits behind the prefix."""
    try:
        written, length = parse_cidr(cidr)
    except AddressError:
        raise AddressError(f"invalid cidr {cidr}") from None
    if ":" not in cidr:
        length += 96
    # IPv4 in the clothes of IPv6 is IPv4, here as everywhere.
    is_v4 = is_ipv4(written) and length >= 96
    kind = ipaddress.IPv4Address if is_v4 else ipaddress.IPv6Address
    size = 1 << (128 - length)
    first = int.from_bytes(written[12:] if is_v4 else written) // size * size
    return Range(kind(first), kind(first + size - 1))


def _address(text: str, end: str) -> IPAddress:
    try:
        return from_bytes(to_bytes(text))
    except AddressError:
        raise AddressError(f"invalid {end} ip address {text}") from None


class _Family:
    """Disjoint ranges of one IP family in ascending order; the n-th entries belong together."""

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.lasts: list[int] = []
        self.entries: list[tuple[int, PoolRange]] = []  # with the order in which they came


class DisjointRanges:
    """Ranges that do not overlap, found in logarithmic time: a pool of a megabyte has 20,000 of them."""

    def __init__(self) -> None:
        self._families = {4: _Family(), 6: _Family()}
        self._number = 0

    def __iter__(self) -> Iterator[PoolRange]:
        for family in self._families.values():
            yield from (found for _, found in family.entries)

    def overlapping(self, wanted: PoolRange) -> PoolRange | None:
        """Of those that overlap with it, the one that came first."""
        family = self._families[wanted.whole.first.version]
        low = bisect_left(family.lasts, int(wanted.whole.first))
        high = bisect_right(family.firsts, int(wanted.whole.last))
        return min(family.entries[low:high])[1] if low < high else None

    def add(self, new: PoolRange) -> None:
        """The caller has seen that nothing overlaps with it."""
        family = self._families[new.whole.first.version]
        place = bisect_left(family.firsts, int(new.whole.first))
        family.firsts.insert(place, int(new.whole.first))
        family.lasts.insert(place, int(new.whole.last))
        family.entries.insert(place, (self._number, new))
        self._number += 1
