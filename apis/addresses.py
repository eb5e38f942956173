"""IP addresses, CIDRs and ranges as the control plane writes them.

On Antrea's wire every address has 16 bytes, an IPv4 address as IPv4-mapped IPv6 (``::ffff:a.b.c.d``);
readers also accept 4 bytes. CIDRs keep the bits behind the prefix as they were written (``10.0.0.7/24``
stays 10.0.0.7), because that is what upstream's controller sends: agents mask them.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final, NamedTuple

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

V4_MAPPED: Final = bytes(10) + b"\xff\xff"


class AddressError(ValueError):
    """An address, CIDR or range that cannot be read; the text names it."""


class CIDR(NamedTuple):
    """A CIDR as written: 16 address bytes, host bits not masked, and the prefix length of its own family."""

    address: bytes
    prefix_length: int

    @property
    def network(self) -> IPNetwork:
        """The network it stands for, host bits masked."""
        return ipaddress.ip_network((from_bytes(self.address), self.prefix_length), strict=False)

    def __str__(self) -> str:
        return f"{from_bytes(self.address)}/{self.prefix_length}"


# What an empty list of peers in a policy stands for: any address of either family.
ANY_IPV4: Final = CIDR(V4_MAPPED + bytes(4), 0)
ANY_IPV6: Final = CIDR(bytes(16), 0)


def to_bytes(text: str) -> bytes:
    """The 16 bytes of an address in text form."""
    try:
        # A colon never occurs in IPv4; inet_pton is several times faster than the ipaddress module.
        if ":" in text:
            return socket.inet_pton(socket.AF_INET6, text)
        return V4_MAPPED + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        raise AddressError(f"{text!r} is not an IP address") from None


def from_bytes(address: bytes) -> IPAddress:
    """The address that 16 (or 4) bytes of the wire stand for; IPv4-mapped ones are IPv4."""
    if len(address) == 16:
        if address.startswith(V4_MAPPED):
            return ipaddress.IPv4Address(address[12:])
        return ipaddress.IPv6Address(address)
    if len(address) == 4:
        return ipaddress.IPv4Address(address)
    raise AddressError(f"an address has 4 or 16 bytes, not {len(address)}")


def is_ipv4(address: bytes) -> bool:
    return len(address) == 4 or address.startswith(V4_MAPPED)


def parse_cidr(text: str) -> CIDR:
    """``address/length``. Upstream splits at the slash and needs exactly two parts."""
    address_text, slash, length_text = text.partition("/")
    if not slash or not length_text.isascii() or not length_text.isdigit():
        raise AddressError(f"{text!r} is not a CIDR: it must be written as address/prefix length")
    address = to_bytes(address_text)
    length = int(length_text)
    bits = 128 if ":" in address_text else 32
    if length > bits:
        raise AddressError(f"{text!r} is not a CIDR: the prefix length is above {bits}")
    return CIDR(address, length)


class Range(NamedTuple):
    """An inclusive range of addresses of one family."""

    first: IPAddress
    last: IPAddress

    def __contains__(self, address: object) -> bool:
        return (
            isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
            and address.version == self.first.version
            and int(self.first) <= int(address) <= int(self.last)
        )

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_range(first: str, last: str) -> Range:
    """A range from its two ends, which must be of one family and in order."""
    low, high = from_bytes(to_bytes(first)), from_bytes(to_bytes(last))
    if low.version != high.version:
        raise AddressError(f"the range {first}-{last} mixes IPv4 and IPv6")
    if int(low) > int(high):
        raise AddressError(f"the range {first}-{last} ends before it begins")
    return Range(low, high)
