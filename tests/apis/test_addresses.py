"""Addresses of 16 bytes, CIDRs with their host bits, ranges."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.addresses import (
    ANY_IPV4,
    ANY_IPV6,
    CIDR,
    AddressError,
    from_bytes,
    is_ipv4,
    parse_cidr,
    parse_range,
    to_bytes,
)


def test_ipv4_addresses_are_mapped() -> None:
    assert to_bytes("10.0.0.1").hex() == "00000000000000000000ffff0a000001"
    assert from_bytes(bytes([10, 0, 0, 1])) == from_bytes(to_bytes("10.0.0.1"))


@given(st.ip_addresses())
def test_addresses_read_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return  # on the wire it cannot be told from the IPv4 address
    raw = to_bytes(str(address))
    assert len(raw) == 16
    assert from_bytes(raw) == address
    assert is_ipv4(raw) == (address.version == 4)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "::g", "10.0.0.1/8", "a\x00b", "1" * 300])
def test_text_that_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        to_bytes(text)


def test_host_bits_are_kept() -> None:
    cidr = parse_cidr("10.0.0.7/24")
    assert cidr == CIDR(to_bytes("10.0.0.7"), 24)
    assert str(cidr) == "10.0.0.7/24"
    assert str(cidr.network) == "10.0.0.0/24"


def test_any() -> None:
    assert (parse_cidr("0.0.0.0/0"), parse_cidr("::/0")) == (ANY_IPV4, ANY_IPV6)


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/x", "10.0.0.0/33", "::/129", "10.0.0.0/8/8", "/8", "10.0.0.0/-1"]
)
def test_text_that_is_no_cidr(text: str) -> None:
    with pytest.raises(AddressError):
        parse_cidr(text)


def test_ranges() -> None:
    addresses = parse_range("10.0.0.2", "10.0.0.9")
    assert addresses.size == 8
    assert from_bytes(to_bytes("10.0.0.9")) in addresses
    assert from_bytes(to_bytes("10.0.0.10")) not in addresses
    assert from_bytes(to_bytes("::a")) not in addresses


@pytest.mark.parametrize("first, last", [("10.0.0.2", "10.0.0.1"), ("10.0.0.1", "::1"), ("x", "10.0.0.1")])
def test_ranges_that_are_refused(first: str, last: str) -> None:
    with pytest.raises(AddressError):
        parse_range(first, last)
