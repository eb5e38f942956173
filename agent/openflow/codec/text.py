"""Flows as ``ovs-ofctl -O OpenFlow15 dump-flows`` prints them: what an operator knows how to read."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Mapping

from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.fields import Field
from agent.openflow.codec.match import Term, terms

Names = Mapping[int, str] | None

_PORT_NAMES = {
    a.IN_PORT: "IN_PORT", a.TABLE: "TABLE", a.NORMAL: "NORMAL", a.FLOOD: "FLOOD", a.ALL: "ALL",
    a.CONTROLLER: "CONTROLLER", a.LOCAL: "LOCAL", a.ANY: "ANY",
}  # fmt: skip

_PROTOCOL_WORDS = {
    (f.ETH_IPV4, f.PROTO_TCP): "tcp", (f.ETH_IPV4, f.PROTO_UDP): "udp", (f.ETH_IPV4, f.PROTO_SCTP): "sctp",
    (f.ETH_IPV4, f.PROTO_ICMP): "icmp",
    (f.ETH_IPV6, f.PROTO_TCP): "tcp6", (f.ETH_IPV6, f.PROTO_UDP): "udp6", (f.ETH_IPV6, f.PROTO_SCTP): "sctp6",
    (f.ETH_IPV6, f.PROTO_ICMPV6): "icmp6",
}  # fmt: skip
_ETHERTYPE_WORDS = {f.ETH_IPV4: "ip", f.ETH_IPV6: "ipv6", f.ETH_ARP: "arp"}


def hexadecimal(value: int) -> str:
    """As C's ``%#x``: zero has no prefix."""
    return f"{value:#x}" if value else "0"


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def _quoted(names: Names, number: int) -> str | None:
    name = names.get(number) if names else None
    return f'"{name}"' if name is not None and not name.replace("_", "").isalnum() else name


def port(number: int, names: Names = None) -> str:
    return _PORT_NAMES.get(number) or _quoted(names, number) or str(number)


def table(number: int, names: Names = None) -> str:
    return _quoted(names, number) or str(number)


def _value(field: Field, value: int, mask: int | None, *, setting: bool = False) -> str:
    """A value of a field. ``setting``: as in set_field, else as in a match."""
    if field.shape == "mac":
        return _mac(value) if mask is None else f"{_mac(value)}/{_mac(mask)}"
    if field.shape == "ipv4" or field.shape == "ipv6":
        kind = ipaddress.IPv4Address if field.size == 4 else ipaddress.IPv6Address
        if mask is None:
            return str(kind(value))
        inverted = ~mask & (1 << field.size * 8) - 1
        if inverted & inverted + 1 == 0:
            return f"{kind(value)}/{field.size * 8 - inverted.bit_length()}"
        return f"{kind(value)}/{kind(mask)}"
    if field.shape == "ct_state" and not setting:
        bits = field.bits
        known = (1 << bits) - 1 if mask is None else mask
        words = "".join(
            ("+" if value >> bit & 1 else "-") + name
            for bit, name in enumerate(f.CT_STATE_NAMES)
            if known >> bit & 1
        )
        return words or "0"
    if mask is not None:
        return f"{hexadecimal(value)}/{hexadecimal(mask)}"
    if field.shape in ("decimal", "port"):
        return str(value)
    return hexadecimal(value)


_PRINT_FIRST = (
    f.PKT_MARK, f.CONJ_ID, f.CT_STATE, f.CT_ZONE, f.CT_MARK, f.CT_LABEL,
    f.CT_NW_SRC, f.CT_IPV6_SRC, f.CT_NW_DST, f.CT_IPV6_DST, f.CT_NW_PROTO, f.CT_TP_SRC, f.CT_TP_DST,
)  # fmt: skip
_PRINT_LAST = (
    f.TUN_ID, f.TUN_SRC, f.TUN_DST, f.TUN_IPV6_SRC, f.TUN_IPV6_DST, f.METADATA, f.IN_PORT,
    f.VLAN_VID, f.VLAN_PCP, f.ETH_SRC, f.ETH_DST,
    f.IPV4_SRC, f.IPV4_DST, f.IPV6_SRC, f.IPV6_DST, f.IPV6_LABEL,
    f.ARP_SPA, f.ARP_TPA, f.ARP_OP, f.ARP_SHA, f.ARP_THA,
    f.IP_PROTO, f.IP_DSCP, f.IP_ECN, f.IP_TTL, f.IP_FRAG,
    f.ICMP_TYPE, f.ICMP_CODE, f.ICMPV6_TYPE, f.ICMPV6_CODE, f.ND_TARGET, f.ND_SLL, f.ND_TLL,
    f.TCP_SRC, f.UDP_SRC, f.SCTP_SRC, f.TCP_DST, f.UDP_DST, f.SCTP_DST, f.TCP_FLAGS,
)  # fmt: skip


def format_match(match: bytes, ports: Names = None) -> str:
    """The match as in dump-flows, without table and priority: ``tcp,reg1=0x1,nw_src=10.0.0.1,tp_dst=80``."""
    found: dict[Field, Term] = {term.field: term for term in terms(match)}
    parts = []

    def take(order: tuple[Field, ...]) -> None:
        for field in order:
            term = found.pop(field, None)
            if term is None:
                continue
            if field == f.IN_PORT:
                parts.append(f"in_port={port(term.value, ports)}")
            elif field == f.VLAN_VID:
                parts.append(_vlan(term))
            else:
                parts.append(f"{field.keyword}={_value(*term)}")

    take(_PRINT_FIRST)
    ethertype, proto = found.get(f.ETH_TYPE), found.get(f.IP_PROTO)
    if ethertype is not None and ethertype.mask is None:
        word = (
            _PROTOCOL_WORDS.get((ethertype.value, proto.value))
            if proto is not None and proto.mask is None
            else None
        )
        if word is not None:
            del found[f.IP_PROTO]
        parts.append(word or _ETHERTYPE_WORDS.get(ethertype.value) or f"dl_type={ethertype.value:#06x}")
        del found[f.ETH_TYPE]
    parts += _registers(found)
    take(_PRINT_LAST)
    parts += [f"{field.keyword}={_value(*term)}" for field, term in found.items()]
    return ",".join(parts)


def _vlan(term: Term) -> str:
    """OVS shows a VLAN id without the bit that says that there is one, if it matches on the whole id."""
    if term.mask is None and term.value & 0x1000:
        return f"dl_vlan={term.value & 0xFFF}"
    return f"vlan_tci={_value(f.VLAN_VID, term.value, term.mask)}"


def _registers(found: dict[Field, Term]) -> list[str]:
    """The registers of a match, one by one, whichever width they were written in."""
    wide = [field for field in found if field in f.XREG or field in f.REG or field in f.XXREG]
    parts: dict[int, str] = {}
    for field in wide:
        _, value, mask = found.pop(field)
        words = field.size // 4
        first = (field.number if words < 4 else field.number - 111) * words
        for index in range(words):
            shift = 32 * (words - 1 - index)
            part = 0xFFFFFFFF if mask is None else mask >> shift & 0xFFFFFFFF
            if part:
                shown = _value(f.REG[0], value >> shift & part, None if part == 0xFFFFFFFF else part)
                parts[first + index] = f"reg{first + index}={shown}"
    return [parts[number] for number in sorted(parts)]


# --- actions -----------------------------------------------------------------------------------------------


class _Printer:
    """Prints action lists with the names of tables and ports at hand."""

    def __init__(self, tables: Names, ports: Names) -> None:
        self.tables = tables
        self.ports = ports

    def actions(self, data: bytes) -> list[str]:
        return [self.action(kind, raw) for kind, raw in a.walk(data)]

    def action(self, kind: int, raw: bytes) -> str:
        try:
            if kind == a.EXPERIMENTER:
                vendor, subtype = struct.unpack_from("!IH", raw, 4)
                extension = _EXTENSIONS.get(subtype) if vendor == a.NICIRA else None
                return (
                    extension(self, raw)
                    if extension
                    else f"experimenter({vendor:#x},{subtype},{raw[10:].hex()})"
                )
            known = _STANDARD.get(kind)
            return known(self, raw) if known else f"unknown({kind},{raw[4:].hex()})"
        except (struct.error, IndexError, ValueError) as error:
            if isinstance(error, CodecError):
                raise
            raise CodecError(f"action {kind} of {len(raw)} bytes cannot be read: {error}") from None

    def output(self, raw: bytes) -> str:
        number, length = struct.unpack_from("!IH", raw, 4)
        if number == a.CONTROLLER:
            return f"CONTROLLER:{length}"
        return _PORT_NAMES.get(number) or f"output:{port(number, self.ports)}"

    def set_field(self, raw: bytes) -> str:
        field, value, mask = terms(raw[4 : 8 + raw[7]])[0]
        return f"set_field:{_value(field, value, mask, setting=True)}->{field.name}"

    def copy_field(self, raw: bytes) -> str:
        bits, source, target, source_header, target_header = struct.unpack_from("!HHH2x4s4s", raw, 4)
        return f"move:{_bits(source_header, source, bits)}->{_bits(target_header, target, bits)}"

    def resubmit(self, raw: bytes) -> str:
        number, where = struct.unpack_from("!HB", raw, 10)
        into = table(where, self.tables) if where != a.NO_TABLE else ""
        return f"resubmit({'' if number == 0xFFF8 else port(number, self.ports)},{into})"

    def output_reg(self, raw: bytes) -> str:
        spec, header = struct.unpack_from("!H4s", raw, 10)
        return f"output:{_bits(header, spec >> 6, (spec & 63) + 1)}"

    def conjunction(self, raw: bytes) -> str:
        clause, clauses, number = struct.unpack_from("!BBI", raw, 10)
        return f"conjunction({number},{clause + 1}/{clauses})"

    def ct(self, raw: bytes) -> str:
        flags, source, zone, where, alg = struct.unpack_from("!HIHB3xH", raw, 10)
        parts = []
        if flags & a.CT_COMMIT:
            parts.append("commit")
        if flags & 2:
            parts.append("force")
        if where != a.NO_TABLE:
            parts.append(f"table={table(where, self.tables)}")
        if source:
            parts.append(f"zone={_bits(source.to_bytes(4, 'big'), zone >> 6, (zone & 63) + 1)}")
        elif zone:
            parts.append(f"zone={zone}")
        nested = list(a.walk(raw[24:]))
        if nested and nested[0][1][:10] == struct.pack(
            "!HHIH", a.EXPERIMENTER, len(nested[0][1]), a.NICIRA, a.NX_NAT
        ):
            parts.append(self.nat(nested.pop(0)[1]))
        if nested:
            parts.append(f"exec({','.join(self.action(kind, inner) for kind, inner in nested)})")
        if alg:
            parts.append(f"alg={ {21: 'ftp', 69: 'tftp'}.get(alg, alg) }")
        return f"ct({','.join(parts)})"

    def nat(self, raw: bytes) -> str:
        flags, present = struct.unpack_from("!HH", raw, 12)
        if not flags & 3:
            return "nat"
        offset = 16
        addresses: list[str] = []
        for bit, size in ((1, 4), (2, 4), (4, 16), (8, 16)):
            if present & bit:
                address = str(ipaddress.ip_address(raw[offset : offset + size]))
                addresses.append(f"[{address}]" if size == 16 and present & 0x10 else address)
                offset += size
        ports: list[str] = []
        for bit in (0x10, 0x20):
            if present & bit:
                ports.append(str(int.from_bytes(raw[offset : offset + 2], "big")))
                offset += 2
        shown = "-".join(addresses) + (":" + "-".join(ports) if ports else "")
        return f"nat({'src' if flags & 1 else 'dst'}={shown})"

    def controller2(self, raw: bytes) -> str:
        parts = []
        offset, reason = 16, "action"
        while offset + 4 <= len(raw):
            kind, length = struct.unpack_from("!HH", raw, offset)
            if length < 4:
                break
            value = raw[offset + 4 : offset + length]
            if kind == 0:
                parts.append(f"max_len={int.from_bytes(value[:2], 'big')}")
            elif kind == 1:
                parts.append(f"id={int.from_bytes(value[:2], 'big')}")
            elif kind == 2:
                reason = {0: "no_match", 1: "action", 2: "invalid_ttl"}.get(value[0], str(value[0]))
            elif kind == 3:
                parts.append(f"userdata={value.hex('.')}")
            elif kind == 4:
                parts.append("pause")
            offset += length + -length % 8
        if reason != "action":
            parts.insert(0, f"reason={reason}")
        return f"controller({','.join(parts)})"

    def learn(self, raw: bytes) -> str:
        idle, hard, priority, cookie, flags, where, fin_idle, fin_hard = struct.unpack_from(
            "!HHHQHBxHH", raw, 10
        )
        parts = [f"table={table(where, self.tables)}"]
        for word, value in (("idle_timeout", idle), ("hard_timeout", hard), ("fin_idle_timeout", fin_idle),
                            ("fin_hard_timeout", fin_hard)):  # fmt: skip
            if value:
                parts.append(f"{word}={value}")
        if priority != 0x8000:
            parts.append(f"priority={priority}")
        parts += [word for bit, word in ((1, "send_flow_rem"), (2, "delete_learned")) if flags & bit]
        if cookie:
            parts.append(f"cookie={cookie:#x}")
        return f"learn({','.join(parts + _learn_specs(raw[32:]))})"


def _learn_specs(data: bytes) -> list[str]:
    parts = []
    offset = 0
    while offset + 2 <= len(data):
        (head,) = struct.unpack_from("!H", data, offset)
        if head == 0:  # padding
            break
        offset += 2
        bits, kind, constant = head & 0x7FF, head >> 11 & 3, head >> 13 & 1
        if constant:
            size = -(-bits // 16) * 2
            value = int.from_bytes(data[offset : offset + size], "big")
            source = hexadecimal(value)
            offset += size
        else:
            header, first = struct.unpack_from("!4sH", data, offset)
            value, source = 0, _bits(header, first, bits)
            offset += 6
        if kind == 2:
            parts.append(f"output:{source}")
            continue
        header, first = struct.unpack_from("!4sH", data, offset)
        offset += 6
        target = _bits(header, first, bits)
        if kind == 1:
            parts.append(f"load:{source}->{target}")
        elif constant:
            field = _field(header)
            parts.append(f"{field.name}={_value(field, value, None)}")
        else:
            parts.append(target if target == source else f"{target}={source}")
    return parts


def _field(header: bytes) -> Field:
    key = (header[0] << 8 | header[1], header[2] >> 1)
    field = f.BY_NUMBER.get(key)
    if field is None:
        raise CodecError(f"field {key[0]:#x}:{key[1]} is not known")
    return field


def _bits(header: bytes, first: int, bits: int) -> str:
    """A range of a field's bits: ``NXM_NX_REG0[0..3]``, a single bit ``[5]``, the whole field ``[]``."""
    field = _field(header)
    if first == 0 and bits == field.bits:
        return f"{field.nxm}[]"
    return f"{field.nxm}[{first}]" if bits == 1 else f"{field.nxm}[{first}..{first + bits - 1}]"


_STANDARD: dict[int, Callable[[_Printer, bytes], str]] = {
    a.OUTPUT: _Printer.output,
    a.SET_FIELD: _Printer.set_field,
    a.COPY_FIELD: _Printer.copy_field,
    a.GROUP: lambda _, raw: f"group:{int.from_bytes(raw[4:8], 'big')}",
    a.METER: lambda _, raw: f"meter:{int.from_bytes(raw[4:8], 'big')}",
    a.DEC_TTL: lambda _, __: "dec_ttl",
    a.PUSH_VLAN: lambda _, raw: f"push_vlan:{int.from_bytes(raw[4:6], 'big'):#06x}",
    a.POP_VLAN: lambda _, __: "pop_vlan",
    a.SET_QUEUE: lambda _, raw: f"set_queue:{int.from_bytes(raw[4:8], 'big')}",
}
_EXTENSIONS: dict[int, Callable[[_Printer, bytes], str]] = {
    a.NX_RESUBMIT_TABLE: _Printer.resubmit,
    a.NX_OUTPUT_REG: _Printer.output_reg,
    a.NX_LEARN: _Printer.learn,
    a.NX_CONJUNCTION: _Printer.conjunction,
    a.NX_CT: _Printer.ct,
    a.NX_NAT: _Printer.nat,
    a.NX_CONTROLLER2: _Printer.controller2,
    a.NX_CT_CLEAR: lambda _, __: "ct_clear",
}


def format_actions(data: bytes, tables: Names = None, ports: Names = None) -> str:
    """A list of actions, as in a bucket of a group."""
    return ",".join(_Printer(tables, ports).actions(data)) or "drop"


def format_instructions(body: bytes, tables: Names = None, ports: Names = None) -> str:
    """What a flow does: ``set_field:0x2/0xf->reg0,goto_table:4``, or ``drop``."""
    printer = _Printer(tables, ports)
    parts: list[str] = []
    for kind, raw in a.walk(body):
        if kind == a.APPLY_ACTIONS:
            parts += printer.actions(raw[8:])
        elif kind == a.GOTO:
            parts.append(f"goto_table:{table(raw[4], tables)}")
        elif kind == a.CLEAR_ACTIONS:
            parts.append("clear_actions")
        elif kind == a.WRITE_ACTIONS:
            parts.append(f"write_actions({','.join(printer.actions(raw[8:])) or 'drop'})")
        elif kind == a.WRITE_METADATA and len(raw) >= 24:
            value, mask = struct.unpack_from("!QQ", raw, 8)
            suffix = "" if mask == 0xFFFFFFFFFFFFFFFF else f"/{mask:#x}"
            parts.append(f"write_metadata:{value:#x}{suffix}")
        else:
            parts.append(f"instruction({kind},{raw[4:].hex()})")
    return ",".join(parts) or "drop"


def format_flow(
    cookie: int, number: int, priority: int, match: bytes, body: bytes,
    tables: Names = None, ports: Names = None, stats: str = "",
) -> str:  # fmt: skip
    """A line of dump-flows. ``stats`` goes where OVS prints counters: ``n_packets=1, n_bytes=42``."""
    head = [f"cookie={cookie:#x}"] if cookie else []
    if number or tables:
        head.append(f"table={table(number, tables)}")
    if stats:
        head.append(stats)
    shown = format_match(match, ports)
    rank = "" if priority == 0x8000 else f"priority={priority}"
    last = ",".join(part for part in (rank, shown) if part)
    return f" {', '.join([*head, last])} actions={format_instructions(body, tables, ports)}"
