"""Matches: fragments that people can read, joined into the bytes that Open vSwitch would write.

A *fragment* is one or more OXM fields as bytes. ``match(in_port(3), ip(), nw_src(address))`` joins fragments
into a match: prerequisites that several of them bring count once, fields stand in OVS's order, two registers
that share an OXM field are merged. A match has no header and no padding; messages add both.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Iterator
from typing import NamedTuple

from agent.openflow.codec import fields as f
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.fields import Field

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_LENGTH = 0xFFFF


class Term(NamedTuple):
    """One field of a match, read back. ``mask`` None: all bits count."""

    field: Field
    value: int
    mask: int | None


def exact(field: Field, value: int) -> bytes:
    """The field equals the value."""
    try:
        return field.header + value.to_bytes(field.size, "big")
    except OverflowError:
        raise CodecError(f"{field.name} has {field.size} bytes; {value:#x} does not fit") from None


def masked(field: Field, value: int, mask: int) -> bytes:
    """The field equals the value in the bits of the mask. A full mask is the same as none; an empty one is
    no term."""
    full = (1 << field.size * 8) - 1
    if mask == full:
        return exact(field, value)
    if mask == 0:
        return b""
    if value & ~mask:
        raise CodecError(f"{field.name}: value {value:#x} has bits outside of its mask {mask:#x}")
    try:
        return field.masked_header + value.to_bytes(field.size, "big") + mask.to_bytes(field.size, "big")
    except OverflowError:
        raise CodecError(f"{field.name} has {field.size} bytes; {value:#x}/{mask:#x} does not fit") from None


# --- fragments ---------------------------------------------------------------------------------------------


def in_port(port: int) -> bytes:
    return exact(f.IN_PORT, port)


@functools.cache
def eth_type(value: int) -> bytes:
    return exact(f.ETH_TYPE, value)


def arp() -> bytes:
    return eth_type(f.ETH_ARP)


def ip(version: int = 4) -> bytes:
    return eth_type(f.ETH_IPV4 if version == 4 else f.ETH_IPV6)


@functools.cache
def protocol(number: int, version: int = 4) -> bytes:
    """IP with a transport protocol."""
    return ip(version) + exact(f.IP_PROTO, number)


def _mac(value: str) -> int:
    try:
        number = int(value.replace(":", ""), 16)
    except ValueError:
        number = -1
    if len(value) != 17 or number < 0:
        raise CodecError(f"{value!r} is not a MAC address; write it as aa:bb:cc:dd:ee:ff")
    return number


def dl_src(mac: str) -> bytes:
    return exact(f.ETH_SRC, _mac(mac))


def dl_dst(mac: str) -> bytes:
    return exact(f.ETH_DST, _mac(mac))


def arp_op(operation: int) -> bytes:
    return exact(f.ARP_OP, operation)


def arp_spa(address: ipaddress.IPv4Address) -> bytes:
    return exact(f.ARP_SPA, int(address))


def arp_tpa(address: ipaddress.IPv4Address) -> bytes:
    return exact(f.ARP_TPA, int(address))


def arp_sha(mac: str) -> bytes:
    return exact(f.ARP_SHA, _mac(mac))


def _address(field4: Field, field6: Field, address: IPAddress | IPNetwork) -> bytes:
    kind = field4 if address.version == 4 else field6
    base = eth_type(f.ETH_IPV4 if address.version == 4 else f.ETH_IPV6)
    if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return base + kind.header + address.packed
    return base + masked(kind, int(address.network_address), int(address.netmask))


def nw_src(address: IPAddress | IPNetwork) -> bytes:
    """IP from an address or a network, of either family. A prefix length of 0 is any packet of the family."""
    return _address(f.IPV4_SRC, f.IPV6_SRC, address)


def nw_dst(address: IPAddress | IPNetwork) -> bytes:
    """IP to an address or a network, of either family."""
    return _address(f.IPV4_DST, f.IPV6_DST, address)


def reg(number: int, value: int, mask: int = 0xFFFFFFFF) -> bytes:
    """A register, written as OVS writes it: as one half of a pair."""
    if not 0 <= number < f.REGISTERS:
        raise CodecError(f"there is no register {number}; they are 0 to {f.REGISTERS - 1}")
    shift = 0 if number & 1 else 32
    return masked(f.XREG[number >> 1], value << shift, mask << shift)


def ct_state(text: str) -> bytes:
    """``"+rpl+trk"``, ``"-new+est"``: bits that must be set and bits that must not."""
    value = mask = 0
    for sign, name in zip(text[::4], (text[i + 1 : i + 4] for i in range(0, len(text), 4)), strict=True):
        if sign not in "+-" or name not in f.CT_STATE_NAMES:
            raise CodecError(
                f"ct_state {text!r}: each bit is written as + or - and one of {f.CT_STATE_NAMES}"
            )
        bit = 1 << f.CT_STATE_NAMES.index(name)
        mask |= bit
        if sign == "+":
            value |= bit
    return masked(f.CT_STATE, value, mask)


def ct_mark(value: int, mask: int = 0xFFFFFFFF) -> bytes:
    return masked(f.CT_MARK, value, mask)


def ct_label(value: int, mask: int = (1 << 128) - 1) -> bytes:
    return masked(f.CT_LABEL, value, mask)


def pkt_mark(value: int, mask: int = 0xFFFFFFFF) -> bytes:
    return masked(f.PKT_MARK, value, mask)


def conj_id(number: int) -> bytes:
    return exact(f.CONJ_ID, number)


def tun_id(number: int) -> bytes:
    return exact(f.TUN_ID, number)


_PORTS = {
    f.PROTO_TCP: (f.TCP_SRC, f.TCP_DST),
    f.PROTO_UDP: (f.UDP_SRC, f.UDP_DST),
    f.PROTO_SCTP: (f.SCTP_SRC, f.SCTP_DST),
}


def tp_src(number: int, port: int, mask: int = 0xFFFF, version: int = 4) -> bytes:
    """A source port of the transport protocol ``number``, its prerequisites included."""
    return protocol(number, version) + masked(_PORTS[number][0], port, mask)


def tp_dst(number: int, port: int, mask: int = 0xFFFF, version: int = 4) -> bytes:
    """A destination port of the transport protocol ``number``, its prerequisites included."""
    return protocol(number, version) + masked(_PORTS[number][1], port, mask)


def icmp(kind: int | None = None, code: int | None = None, version: int = 4) -> bytes:
    fragment = protocol(f.PROTO_ICMP if version == 4 else f.PROTO_ICMPV6, version)
    if kind is not None:
        fragment += exact(f.ICMP_TYPE if version == 4 else f.ICMPV6_TYPE, kind)
    if code is not None:
        fragment += exact(f.ICMP_CODE if version == 4 else f.ICMPV6_CODE, code)
    return fragment


# --- joining and reading -----------------------------------------------------------------------------------

_FIRST = struct.Struct("!HBB")


def _split(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """((class, number), the field's bytes with header), in the order of the data."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 4:
            raise CodecError("a match ends inside of a field's header")
        oxm_class, number, length = _FIRST.unpack_from(data, offset)
        stop = offset + 4 + length
        if stop > end:
            raise CodecError(f"field {oxm_class:#x}:{number >> 1} ends {stop - end} bytes after its match")
        yield (oxm_class, number >> 1), data[offset:stop]
        offset = stop


def terms(data: bytes) -> list[Term]:
    """The fields of a match, in the order of its bytes. Raises CodecError for fields that are not known
    here."""
    found = []
    for key, raw in _split(data):
        field = f.BY_NUMBER.get(key)
        if field is None:
            raise CodecError(f"field {key[0]:#x}:{key[1]} is not known")
        size = field.size
        has_mask = raw[2] & 1
        if len(raw) != 4 + size * (2 if has_mask else 1):
            raise CodecError(
                f"{field.name} has {len(raw) - 4} bytes instead of {size}, or twice that with a mask"
            )
        value = int.from_bytes(raw[4 : 4 + size], "big")
        found.append(Term(field, value, int.from_bytes(raw[4 + size :], "big") if has_mask else None))
    return found


def match(*fragments: bytes) -> bytes:
    """Joins fragments. Raises CodecError when two of them say different things about one field."""
    seen: dict[tuple[int, int], bytes] = {}
    for fragment in fragments:
        for key, raw in _split(fragment):
            before = seen.setdefault(key, raw)
            if before is not raw and before != raw:
                seen[key] = _merge(key, before, raw)
    if len(seen) == 1:
        return next(iter(seen.values()))
    return b"".join(raw for _, raw in sorted(seen.items(), key=_rank))


def _rank(item: tuple[tuple[int, int], bytes]) -> int:
    return f.RANK.get(item[0], len(f.RANK))


def _merge(key: tuple[int, int], one: bytes, other: bytes) -> bytes:
    """Two statements on one field, both of which must hold: bits of registers, of marks, of the ct state."""
    (first,), (second,) = terms(one), terms(other)
    full = (1 << first.field.size * 8) - 1
    mask1 = full if first.mask is None else first.mask
    mask2 = full if second.mask is None else second.mask
    common = mask1 & mask2
    if first.value & common != second.value & common:
        raise CodecError(
            f"{first.field.name} is to be {first.value:#x}/{mask1:#x} "
            f"and {second.value:#x}/{mask2:#x} at once"
        )
    return masked(first.field, first.value | second.value, mask1 | mask2)


def canonical(data: bytes) -> bytes:
    """A match as it would have been built here, whatever the order and the register form it came in."""
    parts = []
    for term in terms(data):
        field, value, mask = term
        full = (1 << field.size * 8) - 1
        mask = full if mask is None else mask
        if field.oxm_class == f.NXM_1 and field.number < f.REGISTERS:
            parts.append(reg(field.number, value & mask, mask))
        elif field.oxm_class == f.NXM_1 and 111 <= field.number < 115:
            first = (field.number - 111) * 2
            for half in (0, 1):
                shift = 64 * (1 - half)
                part = mask >> shift & 0xFFFFFFFFFFFFFFFF
                parts.append(masked(f.XREG[first + half], value >> shift & part, part))
        else:
            parts.append(masked(field, value & mask, mask))
    return match(*parts)
