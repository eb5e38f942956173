"""Ranges of pools: which addresses are meant, which may be asked for, and what is no range."""

from __future__ import annotations

import ipaddress

import pytest

from apis.addresses import AddressError
from apis.ippools import cidr_range, parse


def admitted(cidr: str, address: str) -> bool:
    return parse(cidr, "", "").admits(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("cidr", "address", "expected"),
    [
        ("10.0.0.0/24", "10.0.0.0", False),
        ("10.0.0.0/24", "10.0.0.1", True),
        ("10.0.0.0/24", "10.0.0.255", True),
        ("10.0.0.0/24", "10.0.1.0", False),
        ("10.0.0.77/24", "10.0.0.1", True),
        ("10.0.0.0/30", "10.0.0.2", True),
        ("10.0.0.0/31", "10.0.0.0", False),
        ("10.0.0.0/31", "10.0.0.1", False),
        ("10.0.0.0/32", "10.0.0.0", False),
        ("10.0.0.0/15", "10.1.0.0", True),
        ("10.0.0.0/15", "10.1.0.1", False),
        ("0.0.0.0/0", "0.1.0.0", True),
        ("0.0.0.0/0", "255.0.0.0", False),
        ("2001:db8::/124", "2001:db8::", False),
        ("2001:db8::/124", "2001:db8::f", True),
        ("2001:db8::/127", "2001:db8::1", True),
        ("2001:db8::/128", "2001:db8::", False),
        ("2001:db8::/64", "2001:db8::1:0", True),
        ("2001:db8::/64", "2001:db8::1:1", False),
        ("2001:db8::/64", "2001:db8:0:1::5", False),
        ("10.0.0.0/24", "::ffff:a00:1", False),
    ],
)
def test_addresses_of_a_cidr(cidr: str, address: str, expected: bool) -> None:
    assert admitted(cidr, address) is expected


def test_both_ends_of_a_range_belong_to_it() -> None:
    written = parse("", "10.0.0.9", "10.0.0.10")
    assert [written.admits(ipaddress.ip_address(f"10.0.0.{n}")) for n in (8, 9, 10, 11)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert written.text == "10.0.0.9-10.0.0.10"
    large = parse("", "10.0.0.0", "10.9.0.0")
    assert large.admits(ipaddress.ip_address("10.0.255.255"))
    assert not large.admits(ipaddress.ip_address("10.1.0.0"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (("10.0.0.0", "", ""), "invalid cidr 10.0.0.0"),
        (("10.0.0.0/33", "", ""), "invalid cidr 10.0.0.0/33"),
        (("010.0.0.0/8", "", ""), "invalid cidr 010.0.0.0/8"),
        (("::/129", "", ""), "invalid cidr ::/129"),
        (("", "x", "y"), "invalid start ip address x"),
        (("", "10.0.0.1", ""), "invalid end ip address "),
        (("", "10.0.0.1", "::1"), "range start 10.0.0.1 and range end ::1 should belong to same family"),
        (("", "::2", "::1"), "range start ::2 should not be greater than range end ::1"),
    ],
)
def test_what_is_no_range(written: tuple[str, str, str], message: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse(*written)
    assert str(refused.value) == message


def test_a_cidr_spans_its_network() -> None:
    assert str(cidr_range("10.0.0.77/24")) == "10.0.0.0-10.0.0.255"
    assert str(cidr_range("::/0")) == f"::-{ipaddress.IPv6Address(2**128 - 1)}"
    assert str(cidr_range("::ffff:10.0.0.1/127")) == "10.0.0.0-10.0.0.1"
    assert cidr_range("::ffff:10.0.0.1/95").first.version == 6


def test_ranges_overlap_when_they_share_an_address() -> None:
    one = parse("10.0.0.0/24", "", "")
    assert one.overlaps(parse("", "10.0.0.255", "10.0.1.9"))
    assert parse("", "10.0.0.255", "10.0.1.9").overlaps(one)
    assert not one.overlaps(parse("", "10.0.1.0", "10.0.1.9"))
    assert not one.overlaps(parse("::/0", "", ""))
