"""Registers, ct marks, ct labels, packet marks and zones, each named once (Antrea v2.7, fields of the
pipeline).

``PKT_SOURCE.match(POD)`` is a match fragment and ``PKT_SOURCE.load(POD)`` an action; features never write a
number of a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec.fields import Field


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits ``first`` to ``last`` of a field."""

    field: Field
    first: int
    last: int

    @property
    def mask(self) -> int:
        return ((1 << self.last - self.first + 1) - 1) << self.first

    def match(self, value: int) -> bytes:
        """The bits have this value."""
        if self.field in f.REG:
            return m.reg(self.field.number, value << self.first, self.mask)
        return m.masked(self.field, value << self.first, self.mask)

    def load(self, value: int) -> bytes:
        """Writes this value into the bits."""
        return a.set_field(self.field, value << self.first, self.mask)


def _reg(number: int, first: int = 0, last: int = 31) -> Bits:
    return Bits(f.REG[number], first, last)


PKT_SOURCE = _reg(0, 0, 3)
FROM_TUNNEL, FROM_GATEWAY, FROM_POD, FROM_UPLINK, FROM_BRIDGE = 1, 2, 3, 4, 5
PKT_DESTINATION = _reg(0, 4, 7)
TO_TUNNEL, TO_GATEWAY, TO_UPLINK = 1, 2, 4
REWRITE_MAC = _reg(0, 9, 9)
OUTPUT = _reg(0, 21, 22)
TO_PORT, TO_CONTROLLER = 1, 2
TARGET_PORT = _reg(1)
FROM_EXTERNAL = _reg(4, 27, 27)
FROM_LOCAL = _reg(4, 28, 28)
EGRESS_CONJUNCTION = _reg(5)
INGRESS_CONJUNCTION = _reg(6)

# Registers 10 and 11 are free upstream. Userspace datapath: a reply of an allowed SCTP association (see
# sctp).
SCTP_REPLY = _reg(10, 0, 0)
# Never written, so always zero: clauses that match on it form classifier tables of their own (see
# policy_flows).
ZERO = 11

CONN_SOURCE = Bits(f.CT_MARK, 0, 3)
SERVICE_MARK = Bits(f.CT_MARK, 4, 4)
SNAT_MARK = Bits(f.CT_MARK, 5, 5)
HAIRPIN_MARK = Bits(f.CT_MARK, 6, 6)

INGRESS_LABEL = Bits(f.CT_LABEL, 0, 31)
EGRESS_LABEL = Bits(f.CT_LABEL, 32, 63)

HOST_LOCAL_MARK = Bits(f.PKT_MARK, 31, 31)

ZONE = {4: 65520, 6: 65510}

VIRTUAL_MAC = "aa:bb:cc:dd:ee:ff"
