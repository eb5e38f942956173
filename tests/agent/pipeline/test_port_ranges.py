"""A range of ports as value/mask pairs: every port once, and no fewer pairs would do."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline.port_ranges import split


@pytest.mark.parametrize(
    "first,last,expected",
    [
        (80, 80, [(80, 0xFFFF)]),
        (8000, 8010, [(0x1F40, 0xFFF8), (0x1F48, 0xFFFE), (0x1F4A, 0xFFFF)]),
        (8000, 8100, [(0x1F40, 0xFFC0), (0x1F80, 0xFFE0), (0x1FA0, 0xFFFC), (8100, 0xFFFF)]),
        (0, 65535, [(0, 0)]),
        (0, 1, [(0, 0xFFFE)]),
        (65535, 65535, [(65535, 0xFFFF)]),
    ],
)
def test_examples(first: int, last: int, expected: list[tuple[int, int]]) -> None:
    assert list(split(first, last)) == expected


@settings(max_examples=60)
@given(st.integers(0, 65535), st.integers(0, 65535))
def test_covers_exactly_and_cannot_be_joined(one: int, other: int) -> None:
    first, last = sorted((one, other))
    pairs = list(split(first, last))
    covered = [port for value, mask in pairs for port in range(value, value + (0xFFFF ^ mask) + 1)]
    assert covered == list(range(first, last + 1))
    for (low, mask), (high, other_mask) in itertools.pairwise(pairs):
        doubled = mask << 1 & 0xFFFF
        assert mask != other_mask or low & doubled != high & doubled


@pytest.mark.parametrize("first,last", [(81, 80), (-1, 5), (5, 65536)])
def test_what_is_no_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="are no range"):
        list(split(first, last))
