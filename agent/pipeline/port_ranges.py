"""A range of ports as value/mask pairs, which is all that a match can say."""

from __future__ import annotations

from collections.abc import Iterator

FULL = 0xFFFF


def split(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest aligned blocks that make up first..last, in ascending order: (value, mask).

    A single port is (port, 0xffff), all ports are (0, 0).
    """
    if not 0 <= first <= last <= FULL:
        raise ValueError(f"ports {first} to {last} are no range within 0 to {FULL}")
    while first <= last:
        size = first & -first or FULL + 1
        while first + size - 1 > last:
            size >>= 1
        yield first, FULL & ~(size - 1)
        first += size
