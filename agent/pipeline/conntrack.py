"""Connections of the userspace datapath, remembered and put back after vswitchd was restarted.

The userspace datapath keeps conntrack in vswitchd's memory. Without it a packet of an established
connection is new and goes through policy; if it comes from the side that may not open connections, it is
dropped for ever. So a snapshot is taken now and then, and after a restart one made-up packet per
connection, sent through ``ct(commit)`` and nowhere else, makes each of them known again.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec import messages
from agent.pipeline.registers import ZONE

_LINE = re.compile(
    r"^(?P<protocol>tcp|udp),"
    r"orig=\(src=(?P<src>[^,]+),dst=(?P<dst>[^,]+),sport=(?P<sport>\d+),dport=(?P<dport>\d+)[^)]*\),"
    r"reply=\(src=(?P<rsrc>[^,]+),dst=(?P<rdst>[^,]+),sport=(?P<rsport>\d+),dport=(?P<rdport>\d+)[^)]*\)"
    r"(?:,zone=(?P<zone>\d+))?(?P<rest>.*)$"
)
_EXTRA = re.compile(r",(mark|labels)=(0x[0-9a-f]+|\d+)")
_STATE = re.compile(r"state=(\w+)")
_OVER = frozenset({"TIME_WAIT", "LAST_ACK", "CLOSING", "FIN_WAIT_1", "FIN_WAIT_2"})


@dataclass(frozen=True, slots=True)
class Connection:
    """One tracked connection, in its original direction."""

    protocol: str  # tcp or udp
    src: ipaddress.IPv4Address | ipaddress.IPv6Address
    dst: ipaddress.IPv4Address | ipaddress.IPv6Address
    sport: int
    dport: int
    zone: int
    mark: int
    label: int


def parse(dump: str, known: Iterable[Connection] = ()) -> list[Connection]:
    """The connections of ``dpctl/dump-conntrack`` that may be restored: TCP and UDP, not translated.

    A TCP connection counts once it is established. A SYN that one policy let pass and another one stopped has
    an entry too, and restoring that would open a way. Entries that were restored look unfinished until real
    packets have passed: those of ``known`` (the last snapshot) count in any state. UDP needs no such care: a
    restored entry stays new until a reply passes. Lines of another form are passed over: they belong to other
    protocols or other versions of OVS.
    """
    before = {(e.protocol, str(e.src), str(e.dst), str(e.sport), str(e.dport)) for e in known}
    zones = {str(zone) for zone in ZONE.values()}
    found = []
    for line in dump.splitlines():
        parts = _LINE.match(line)
        if parts is None or parts["zone"] not in zones:
            continue
        if (parts["src"], parts["dst"]) != (parts["rdst"], parts["rsrc"]):
            continue
        if (parts["sport"], parts["dport"]) != (parts["rdport"], parts["rsport"]):
            continue
        state = _STATE.search(parts["rest"])
        if parts["protocol"] == "tcp" and (state is None or state[1] != "ESTABLISHED"):
            key = (parts["protocol"], parts["src"], parts["dst"], parts["sport"], parts["dport"])
            if key not in before or (state is not None and state[1] in _OVER):
                continue
        extra = {key: int(value, 0) for key, value in _EXTRA.findall(parts["rest"])}
        try:
            found.append(
                Connection(
                    parts["protocol"],
                    ipaddress.ip_address(parts["src"]),
                    ipaddress.ip_address(parts["dst"]),
                    int(parts["sport"]),
                    int(parts["dport"]),
                    int(parts["zone"]),
                    extra.get("mark", 0),
                    extra.get("labels", 0),
                )
            )
        except ValueError:
            continue
    return found


def _sum(data: bytes) -> int:
    """The Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(connection: Connection) -> bytes:
    """A packet in the original direction: a bare ACK or an empty datagram, with right checksums."""
    src, dst = connection.src.packed, connection.dst.packed
    if connection.protocol == "tcp":
        number = f.PROTO_TCP
        segment = struct.pack(
            "!HHIIBBHHH", connection.sport, connection.dport, 1, 1, 5 << 4, 0x10, 65535, 0, 0
        )
        checksum_at = 16
    else:
        number = f.PROTO_UDP
        segment = struct.pack("!HHHH", connection.sport, connection.dport, 8, 0)
        checksum_at = 6
    if connection.src.version == 4:
        pseudo = src + dst + struct.pack("!BBH", 0, number, len(segment))
    else:
        pseudo = src + dst + struct.pack("!IxxxB", len(segment), number)
    checksum = _sum(pseudo + segment) or 0xFFFF
    segment = segment[:checksum_at] + struct.pack("!H", checksum) + segment[checksum_at + 2 :]
    if connection.src.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, number, 0) + src + dst
        head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
        ethertype = f.ETH_IPV4
    else:
        head = struct.pack("!IHBB", 6 << 28, len(segment), number, 64) + src + dst
        ethertype = f.ETH_IPV6
    return bytes.fromhex("020000000002020000000001") + struct.pack("!H", ethertype) + head + segment


def restoring_message(xid: int, connection: Connection) -> bytes:
    """The packet-out that makes the connection known again; the packet goes nowhere."""
    execute = b""
    if connection.mark:
        execute += a.set_field(f.CT_MARK, connection.mark)
    if connection.label:
        execute += a.set_field(f.CT_LABEL, connection.label)
    action = a.ct(connection.zone, commit=True, execute=execute)
    return messages.packet_out(xid, packet(connection), action, m.in_port(a.CONTROLLER))
