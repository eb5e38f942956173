"""ExternalIPPool between v1alpha2 and v1beta1: what each means, and that nothing is lost on the way."""

from __future__ import annotations

import copy
import ipaddress
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apis.ippools import PoolRange, parse
from controller.conversions.external_ip_pools import (
    LONGEST,
    WRITTEN_AS_V1ALPHA2,
    WRITTEN_AS_V1BETA1,
    external_ip_pool,
)
from controller.conversions.versions import NEW, OLD

Pool = dict[str, Any]


def pool(version: str, *ranges: Any, **annotations: str) -> Pool:
    metadata: dict[str, Any] = {"name": "p", "labels": {"a": "b"}}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": version,
        "kind": "ExternalIPPool",
        "metadata": metadata,
        "spec": {"ipRanges": list(ranges), "nodeSelector": {"matchLabels": {"a": "b"}}},
        "status": {"usage": {"total": 1, "used": 0}},
    }


def converted(item: Pool, wanted: str) -> Pool:
    result = external_ip_pool(copy.deepcopy(item), wanted)
    result["apiVersion"] = wanted
    return result


def ranges(item: Pool) -> Any:
    return item["spec"]["ipRanges"]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("10.105.18.100/32", {"start": "10.105.18.100", "end": "10.105.18.100"}),
        ("10.0.0.4/31", {"start": "10.0.0.4", "end": "10.0.0.5"}),
        ("10.0.0.5/31", {"start": "10.0.0.4", "end": "10.0.0.5"}),
        ("2001:db8::7/128", {"start": "2001:db8::7", "end": "2001:db8::7"}),
        ("2001:DB8::1/127", {"start": "2001:db8::", "end": "2001:db8::1"}),
        ("10.0.0.4/30", {"cidr": "10.0.0.4/30"}),
        ("2001:db8::/126", {"cidr": "2001:db8::/126"}),
        ("10.0.0.4/33", {"cidr": "10.0.0.4/33"}),
        ("", {"cidr": ""}),
    ],
)
def test_a_cidr_of_one_or_two_addresses_keeps_its_addresses(written: str, stored: dict[str, str]) -> None:
    new = converted(pool(OLD, {"cidr": written}), NEW)
    assert ranges(new) == [stored]
    assert converted(new, OLD) == pool(OLD, {"cidr": written})


def test_what_is_not_concerned_gets_no_annotation() -> None:
    old = pool(OLD, {"start": "10.0.0.1", "end": "10.0.0.1"}, {"cidr": "10.1.0.0/24"})
    assert converted(old, NEW) == {**old, "apiVersion": NEW}


def test_the_written_ranges_are_kept_where_people_can_read_them() -> None:
    new = converted(pool(OLD, {"cidr": "10.0.0.1/32"}, note="mine"), NEW)
    assert new["metadata"]["annotations"] == {"note": "mine", WRITTEN_AS_V1ALPHA2: '[{"cidr":"10.0.0.1/32"}]'}


def test_an_edit_in_v1beta1_counts_and_what_was_written_before_does_not() -> None:
    new = converted(pool(OLD, {"cidr": "10.0.0.1/32"}), NEW)
    ranges(new).append({"cidr": "10.9.0.0/24"})
    old = converted(new, OLD)
    assert ranges(old) == [{"start": "10.0.0.1", "end": "10.0.0.1"}, {"cidr": "10.9.0.0/24"}]
    assert converted(old, NEW) == new


def test_an_edit_in_v1alpha2_is_an_edit() -> None:
    old = converted(converted(pool(OLD, {"cidr": "10.0.0.1/32"}), NEW), OLD)
    ranges(old).append({"cidr": "10.0.0.2/32"})
    assert ranges(converted(old, NEW)) == [
        {"start": "10.0.0.1", "end": "10.0.0.1"},
        {"start": "10.0.0.2", "end": "10.0.0.2"},
    ]


def test_a_short_cidr_of_v1beta1_is_not_given_addresses_by_an_update_through_v1alpha2() -> None:
    new = pool(NEW, {"cidr": "10.0.0.1/32"}, {"cidr": "10.1.0.0/24"})
    old = converted(new, OLD)
    assert ranges(old) == ranges(new)
    old["metadata"]["labels"]["c"] = "d"
    assert ranges(converted(old, NEW)) == ranges(new)

    ranges(old)[1] = {"cidr": "10.2.0.0/24"}  # with an edit they are ranges of v1alpha2
    assert ranges(converted(old, NEW))[0] == {"start": "10.0.0.1", "end": "10.0.0.1"}


@pytest.mark.parametrize(
    "text", ["", "x", "{}", "null", "[1]", '[{"cidr": "10.0.0.2/32"}]', "[" * 100_000, '"' + "a" * LONGEST]
)
def test_an_annotation_that_says_something_else_is_left_alone(text: str) -> None:
    new = pool(NEW, {"start": "10.0.0.1", "end": "10.0.0.1"}, **{WRITTEN_AS_V1ALPHA2: text})
    assert converted(new, OLD) == {**new, "apiVersion": OLD}


def test_a_long_list_keeps_its_meaning_without_an_annotation() -> None:
    """Kubernetes bounds what an object's annotations may take."""
    many = [{"cidr": f"{ipaddress.IPv4Address(0x0A000000 + 2 * i)}/32"} for i in range(4000)]
    new = converted(pool(OLD, *many), NEW)
    assert "annotations" not in new["metadata"]
    assert all(item["start"] == item["end"] for item in ranges(new))
    assert converted(new, OLD)["spec"] == new["spec"]


@pytest.mark.parametrize(
    "spec", [None, "x", {}, {"ipRanges": None}, {"ipRanges": "x"}, {"ipRanges": [None, "x", {"cidr": 5}]}]
)
def test_what_no_schema_lets_through_is_left_for_the_schema(spec: Any) -> None:
    item = {"apiVersion": OLD, "kind": "ExternalIPPool", "metadata": {"name": "p"}, "spec": spec}
    assert converted(item, NEW) == {**item, "apiVersion": NEW}
    assert converted({**item, "apiVersion": NEW}, OLD) == item


# -- any pool ------------------------------------------------------------------------------------------------

ADDRESSES = st.ip_addresses()


@st.composite
def written_ranges(draw: st.DrawFn) -> dict[str, str]:
    address = draw(ADDRESSES)
    bits = address.max_prefixlen
    if draw(st.booleans()):
        length = draw(st.one_of(st.integers(bits - 3, bits), st.integers(0, bits)))
        return {"cidr": f"{address}/{length}"}
    last = type(address)(min(int(address) + draw(st.integers(0, 300)), 2**bits - 1))
    mapped = [getattr(end, "ipv4_mapped", None) is None for end in (address, last)]
    assume(mapped[0] == mapped[1])  # otherwise they are of two families, and no range
    return {"start": str(address), "end": str(last)}


LISTS = st.lists(written_ranges(), max_size=5)


def usable(version: str, item: dict[str, str]) -> PoolRange:
    """What a range stands for, by the rules of its version."""
    found = parse(item.get("cidr", ""), item.get("start", ""), item.get("end", ""))
    short = version == OLD and found.from_cidr and found.whole.size <= 2
    return found._replace(from_cidr=found.from_cidr and not short)


@settings(max_examples=200, deadline=None)
@given(LISTS, st.booleans())
def test_v1alpha2_comes_back_as_it_was(written: list[dict[str, str]], annotated: bool) -> None:
    old = pool(OLD, *written, **({"note": "mine"} if annotated else {}))
    new = converted(old, NEW)
    assert converted(new, OLD) == old
    assert [usable(NEW, item)[1:] for item in ranges(new)] == [usable(OLD, item)[1:] for item in written]


@settings(max_examples=200, deadline=None)
@given(LISTS, st.one_of(st.none(), LISTS.map(json.dumps), st.text(max_size=20)))
def test_v1beta1_comes_back_as_it_was(written: list[dict[str, str]], kept: str | None) -> None:
    """Also with an annotation that is out of date."""
    new = pool(NEW, *written, **({} if kept is None else {WRITTEN_AS_V1ALPHA2: kept}))
    assert converted(converted(new, OLD), NEW) == new


@settings(max_examples=100, deadline=None)
@given(LISTS, LISTS)
def test_any_number_of_updates_through_either_version_adds_nothing(
    first: list[dict[str, str]], then: list[dict[str, str]]
) -> None:
    """Written in v1alpha2, edited in v1beta1, touched in v1alpha2 again and again."""
    new = converted(pool(OLD, *first), NEW)
    new["spec"]["ipRanges"] = then
    touched = new
    for _ in range(3):
        touched = converted(converted(touched, OLD), NEW)
    assert touched == new
    assert WRITTEN_AS_V1BETA1 not in (touched["metadata"].get("annotations") or {})
