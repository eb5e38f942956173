"""Refusals of pools and Egresses of which there is no recording, and how much may be asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.ippools import parse
from controller.admission.egresses import EgressSpec, spec_refusal
from controller.admission.external_pools import ExternalIPPool, overlap_refusal
from controller.admission.known_pools import ExternalIPPools
from controller.admission.pools import IPRange, Refused, SubnetInfo, checked_ranges
from tests.controller.admission.replay import fill


def pool(name: str, *ranges: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ipRanges": list(ranges), **spec}}


async def refusal(wanted: dict[str, Any], *existing: dict[str, Any]) -> str | None:
    known = ExternalIPPools()
    await fill(known, existing)
    return judged(wanted, known)


def judged(wanted: dict[str, Any], known: ExternalIPPools) -> str | None:
    written = msgspec.convert(wanted, ExternalIPPool)
    try:
        ranges = checked_ranges(written.ranges, written.spec.subnet_info if written.spec else None)
    except Refused as error:
        return str(error)
    return overlap_refusal(written.name, ranges, known.all())


def subnet(gateway: str, length: int) -> dict[str, Any]:
    return {"gateway": gateway, "prefixLength": length}


@pytest.mark.parametrize(
    ("ranges", "network", "message"),
    [
        ([], subnet("x", 24), "invalid gateway address x"),
        ([], subnet("", 24), "invalid gateway address "),
        ([], subnet("10.0.0.1", -1), "invalid prefixLength -1"),
        ([], subnet("::1", 127), None),
        (
            [{"start": "10.0.0.1", "end": "::1"}],
            None,
            "range start 10.0.0.1 and range end ::1 should belong to same family",
        ),
        ([{"cidr": "10.0.0.0/24"}], subnet("10.0.0.1", 24), None),
        ([{"cidr": "10.0.0.9/32"}], subnet("10.0.0.1", 24), None),
        ([{}], None, "invalid start ip address "),
        # The first fault in the order of the list, whatever comes later.
        (
            [{"cidr": "10.0.0.0/24"}, {"cidr": "10.0.0.9/32"}, {"cidr": "x"}],
            None,
            "range [10.0.0.9/32] overlaps with range [10.0.0.0/24]",
        ),
        # Of several that overlap, the one that is listed first.
        (
            [{"cidr": "10.0.1.0/24"}, {"cidr": "10.0.0.0/24"}, {"cidr": "10.0.0.0/16"}],
            None,
            "range [10.0.0.0/16] overlaps with range [10.0.1.0/24]",
        ),
        ([{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}], None, None),
    ],
)
async def test_a_pool(ranges: list[dict[str, str]], network: Any, message: str | None) -> None:
    assert await refusal(pool("p", *ranges, subnetInfo=network)) == message


async def test_a_pool_does_not_overlap_with_itself_as_it_was() -> None:
    was, new = pool("p", {"cidr": "10.0.0.0/24"}), pool("p", {"cidr": "10.0.0.0/24"}, {"cidr": "10.0.1.0/24"})
    assert await refusal(new, was) is None
    assert await refusal({**new, "metadata": {"name": "q"}}, was) == (
        "range [10.0.0.0/24] overlaps with range [10.0.0.0/24] of ExternalIPPool p"
    )


async def test_what_is_wrong_in_another_pool_is_not_this_ones_fault() -> None:
    """Stored while no webhook was called."""
    broken = pool("broken", {"cidr": "x"}, {"cidr": "10.0.0.0/24"}, {"start": "::2", "end": "::1"})
    assert await refusal(pool("p", {"cidr": "10.0.1.0/24"}), broken) is None
    assert await refusal(pool("p", {"cidr": "10.0.0.0/25"}), broken) == (
        "range [10.0.0.0/25] overlaps with range [10.0.0.0/24] of ExternalIPPool broken"
    )


async def test_pools_go_and_their_ranges_are_free() -> None:
    known = ExternalIPPools()
    wanted = pool("p", {"cidr": "10.0.0.0/24"})
    await fill(known, [pool("q", {"cidr": "10.0.0.0/24"})])
    assert judged(wanted, known) is not None
    await fill(known, [])
    assert judged(wanted, known) is None
    assert known.of("q") is None


# A small world, so that ranges meet.
RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(
        lambda r: IPRange(start=f"10.0.0.{r[0]}", end=f"10.0.0.{r[0] + r[1]}")
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(RANGES)
def test_overlaps_are_found_as_by_looking_at_every_pair(ranges: list[IPRange]) -> None:
    expected, seen = None, []
    for item in ranges:
        found = parse("", item.start or "", item.end or "")
        other = next((one for one in seen if one.overlaps(found)), None)
        if other is not None:
            expected = f"range [{found.text}] overlaps with range [{other.text}]"
            break
        seen.append(found)
    try:
        assert sorted(checked_ranges(ranges, None)) == sorted(seen)
        message = None
    except Refused as error:
        message = str(error)
    assert message == expected


def test_a_megabyte_of_ranges_is_checked_in_a_moment() -> None:
    """Comparing each with each would be two hundred million comparisons, and minutes."""
    many = [IPRange(start=f"10.{i >> 8}.{i & 255}.1", end=f"10.{i >> 8}.{i & 255}.9") for i in range(20_000)]
    checked = checked_ranges(reversed(many), SubnetInfo(gateway="10.0.0.1", prefix_length=8))
    assert len(list(checked)) == 20_000


@pytest.mark.parametrize(
    ("bandwidth", "message"),
    [
        ({"rate": "1e", "burst": "1"}, "Rate 1e in Egress e is invalid: unable to parse quantity's suffix"),
        ({"rate": "-", "burst": "800M"}, None),
        (None, None),
    ],
)
def test_bandwidth(bandwidth: Any, message: str | None) -> None:
    spec = msgspec.convert({"egressIP": "10.0.0.1", "bandwidth": bandwidth}, EgressSpec)
    assert spec_refusal("e", spec) == message
