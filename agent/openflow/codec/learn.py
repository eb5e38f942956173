"""The learn action: a flow that a packet writes while it passes.

The description of the learned flow is a list of *specs*, each of them bytes made by one of the functions
here: fields of the learned match (equal to a constant, or to a field of the packet), and writes that the
learned flow will do.
"""

from __future__ import annotations

import struct

from agent.openflow.codec.actions import NX_LEARN, _experimenter
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.fields import Field

# Bits of a spec's header: what it describes, and where its value comes from.
_LOAD = 1 << 11
_OUTPUT = 2 << 11
_CONSTANT = 1 << 13


def _constant(value: int, bits: int) -> bytes:
    return value.to_bytes(-(-bits // 16) * 2, "big")


def match_value(field: Field, value: int) -> bytes:
    """The learned flow matches the field with a constant."""
    bits = field.bits
    return struct.pack("!H", _CONSTANT | bits) + _constant(value, bits) + field.header + b"\0\0"


def match_field(field: Field, source: Field) -> bytes:
    """The learned flow matches ``field`` with what the present packet has in ``source``."""
    if field.bits != source.bits:
        raise CodecError(f"learn: {field.name} and {source.name} differ in width")
    return struct.pack("!H", field.bits) + source.header + b"\0\0" + field.header + b"\0\0"


def load_value(field: Field, value: int, first: int, last: int) -> bytes:
    """The learned flow writes a constant into bits first..last of a field."""
    bits = last - first + 1
    return (
        struct.pack("!H", _LOAD | _CONSTANT | bits)
        + _constant(value, bits)
        + field.header
        + struct.pack("!H", first)
    )


def learn(
    table: int, *specs: bytes, priority: int, cookie: int, idle_timeout: int = 0, hard_timeout: int = 0
) -> bytes:
    """Adds the described flow to ``table``. Time-outs in seconds; 0 is none."""
    head = struct.pack("!HHHQHBxHH", idle_timeout, hard_timeout, priority, cookie, 0, table, 0, 0)
    return _experimenter(NX_LEARN, head + b"".join(specs))
