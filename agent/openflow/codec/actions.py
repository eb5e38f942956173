"""One function per action, each giving that action's bytes as Open vSwitch writes them in OpenFlow 1.5.

Actions are joined by ``+`` or ``b"".join``; ``instructions`` wraps them for a flow. Every action is a
multiple of eight bytes long.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Iterator

from agent.openflow.codec import fields as f
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.fields import Field
from agent.openflow.codec.match import _mac

# Reserved port numbers (OpenFlow 1.5).
IN_PORT, TABLE, NORMAL, FLOOD, ALL, CONTROLLER, LOCAL, ANY = (
    0xFFFFFFF8, 0xFFFFFFF9, 0xFFFFFFFA, 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip

EXPERIMENTER = 0xFFFF
NICIRA = 0x2320

OUTPUT, PUSH_VLAN, POP_VLAN, SET_QUEUE, GROUP, DEC_TTL, SET_FIELD, COPY_FIELD, METER = (
    0, 17, 18, 21, 22, 24, 25, 28, 29,
)  # fmt: skip
NX_RESUBMIT_TABLE, NX_OUTPUT_REG, NX_LEARN, NX_CONJUNCTION, NX_CT, NX_NAT, NX_CONTROLLER2, NX_CT_CLEAR = (
    14, 15, 16, 34, 35, 36, 37, 43,
)  # fmt: skip

NO_TABLE = 0xFF
CT_COMMIT = 1
NAT_SRC, NAT_DST = 1, 2


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _experimenter(subtype: int, body: bytes) -> bytes:
    """A Nicira extension; its length includes the padding."""
    length = 10 + len(body)
    length += -length % 8
    return struct.pack("!HHIH", EXPERIMENTER, length, NICIRA, subtype) + body + bytes(length - 10 - len(body))


def output(port: int) -> bytes:
    return struct.pack("!HHIH6x", OUTPUT, 16, port, 0xFFFF if port == CONTROLLER else 0)


def _range(start: int, stop: int) -> int:
    """Bits start..stop of a field, as Nicira's actions write them."""
    return start << 6 | stop - start


def output_field(field: Field, start: int = 0, stop: int | None = None) -> bytes:
    """Output to the port whose number stands in a field."""
    stop = field.bits - 1 if stop is None else stop
    return _experimenter(NX_OUTPUT_REG, struct.pack("!H4sH6x", _range(start, stop), field.header, 0xFFFF))


def group(number: int) -> bytes:
    return struct.pack("!HHI", GROUP, 8, number)


def meter(number: int) -> bytes:
    return struct.pack("!HHI", METER, 8, number)


def dec_ttl() -> bytes:
    return struct.pack("!HH4x", DEC_TTL, 8)


def push_vlan(ethertype: int = 0x8100) -> bytes:
    return struct.pack("!HHH2x", PUSH_VLAN, 8, ethertype)


def pop_vlan() -> bytes:
    return struct.pack("!HH4x", POP_VLAN, 8)


def set_field(field: Field, value: int, mask: int | None = None) -> bytes:
    """Writes a value into a field, or into the bits of a field that the mask names."""
    full = (1 << field.size * 8) - 1
    if value > full or (mask is not None and (mask > full or value & ~mask)):
        raise CodecError(f"set_field on {field.name}: {value:#x} does not fit into {(mask or full):#x}")
    if mask is None or mask == full:
        oxm = field.header + value.to_bytes(field.size, "big")
    else:
        oxm = field.masked_header + value.to_bytes(field.size, "big") + mask.to_bytes(field.size, "big")
    body = _padded(struct.pack("!HH", SET_FIELD, 0) + oxm)
    return struct.pack("!HH", SET_FIELD, len(body)) + body[4:]


def set_mac(field: Field, mac: str) -> bytes:
    return set_field(field, _mac(mac))


def set_address(field: Field, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return set_field(field, int(address))


def load(register: int, value: int, mask: int = 0xFFFFFFFF) -> bytes:
    """Writes into a register, or into the bits of it that the mask names."""
    return set_field(f.REG[register], value, mask)


def move(source: Field, target: Field, bits: tuple[int, int] | None = None, to: int | None = None) -> bytes:
    """Copies bits (first, last) of a field into another, from bit ``to`` on; the whole field if none are
    named."""
    first, last = bits if bits is not None else (0, source.bits - 1)
    start = first if to is None else to
    return struct.pack(
        "!HHHHH2x4s4s4x", COPY_FIELD, 24, last - first + 1, first, start, source.header, target.header
    )


@functools.cache
def resubmit(table: int, port: int = 0xFFF8) -> bytes:
    """Looks the packet up again in a table, then goes on with the next action here."""
    return _experimenter(NX_RESUBMIT_TABLE, struct.pack("!HB3x", port, table))


_CONJUNCTION = struct.Struct("!HHIHBBI")


def conjunction(number: int, clause: int, clauses: int) -> bytes:
    """Clause ``clause`` of ``clauses``, counted from 1, of conjunction ``number`` is true."""
    return _CONJUNCTION.pack(EXPERIMENTER, 16, NICIRA, NX_CONJUNCTION, clause - 1, clauses, number)


CONJUNCTION_HEAD = _CONJUNCTION.pack(EXPERIMENTER, 16, NICIRA, NX_CONJUNCTION, 0, 0, 0)[:10]


def nat(
    source: str | None = None,
    target: str | None = None,
    port: int | None = None,
) -> bytes:
    """Inside of ct: address translation. Without arguments: as the connection was translated before."""
    if source is None and target is None:
        return _experimenter(NX_NAT, bytes(6))
    address = ipaddress.ip_address(source if source is not None else target or "")
    present = 1 if address.version == 4 else 4
    body = address.packed
    if port is not None:
        present |= 0x10
        body += struct.pack("!H", port)
    return _experimenter(
        NX_NAT, struct.pack("!2xHH", NAT_SRC if source is not None else NAT_DST, present) + body
    )


def ct(
    zone: int | tuple[Field, int, int],
    *,
    table: int = NO_TABLE,
    commit: bool = False,
    nat: bytes = b"",
    execute: bytes = b"",
) -> bytes:
    """Connection tracking: looks up (and stores) the connection in a zone, then goes on in ``table``.

    ``zone`` is a number, or (field, first bit, last bit). ``execute`` are set_field and move actions on
    ct_mark and ct_label, which need ``commit``.
    """
    if isinstance(zone, tuple):
        source, where = int.from_bytes(zone[0].header, "big"), _range(zone[1], zone[2])
    else:
        source, where = 0, zone
    flags = CT_COMMIT if commit else 0
    return _experimenter(NX_CT, struct.pack("!HIHB3xH", flags, source, where, table, 0) + nat + execute)


def ct_clear() -> bytes:
    return _experimenter(NX_CT_CLEAR, b"")


def controller(controller_id: int, userdata: bytes = b"", *, pause: bool = False, reason: int = 0) -> bytes:
    """Sends the packet to the connection with this controller id. Reason 0 is "no match"."""
    body = bytes(6)
    if controller_id:
        body += struct.pack("!HHH2x", 1, 8, controller_id)
    if reason != 1:
        body += struct.pack("!HHB3x", 2, 5, reason)
    if userdata:
        body += _padded(struct.pack("!HH", 3, 4 + len(userdata)) + userdata)
    if pause:
        body += struct.pack("!HH4x", 4, 4)
    return _experimenter(NX_CONTROLLER2, body)


# --- instructions ------------------------------------------------------------------------------------------

MAX_ACTIONS = 0xFE00  # bytes; a flow-mod has room for the match as well

GOTO, WRITE_METADATA, WRITE_ACTIONS, APPLY_ACTIONS, CLEAR_ACTIONS = 1, 2, 3, 4, 5


@functools.cache
def goto(table: int) -> bytes:
    """The instruction to go on in a table (which must lie behind the flow's own)."""
    return struct.pack("!HHB3x", GOTO, 8, table)


def apply(actions: bytes) -> bytes:
    """The instruction to carry out actions; nothing for no actions."""
    if not actions:
        return b""
    if len(actions) > MAX_ACTIONS:
        raise CodecError(f"{len(actions)} bytes of actions do not fit into one flow")
    return struct.pack("!HH4x", APPLY_ACTIONS, 8 + len(actions)) + actions


def instructions(*actions: bytes, goto_table: int | None = None) -> bytes:
    """What a flow does: actions, then a table to go on in. Neither: the packet is dropped."""
    return apply(b"".join(actions)) + (goto(goto_table) if goto_table is not None else b"")


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, whole action) for each action of a list; also walks instructions, which are framed alike."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 4:
            raise CodecError("an action list ends inside of an action's header")
        kind, length = struct.unpack_from("!HH", data, offset)
        if length < 8 or length % 8 or offset + length > end:
            raise CodecError(f"action {kind} has the length {length} with {end - offset} bytes left")
        yield kind, data[offset : offset + length]
        offset += length
