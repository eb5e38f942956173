"""Just enough SCTP for a probe, without sockets: INIT, INIT-ACK and ABORT as bytes (RFC 9260).

The kernels that labs run on often lack the sctp module; raw sockets (protocol 132) can play the first
exchange of an association all the same. The answering side puts its name into the state cookie of the
INIT-ACK, so that the prober knows who answered.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PROTOCOL = 132
INIT, INIT_ACK, ABORT = 1, 2, 6
_STATE_COOKIE = 7


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (Castagnoli polynomial, reflected)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet with one chunk. ``tag`` is the header's verification tag, ``initiate_tag`` what an INIT or
    INIT-ACK chooses for its own side; ``cookie`` is the state cookie of an INIT-ACK."""

    source_port: int
    destination_port: int
    tag: int
    chunk: int
    initiate_tag: int = 0
    cookie: bytes = b""


def encode(packet: Packet) -> bytes:
    if packet.chunk == ABORT:
        chunk = struct.pack("!BBH", ABORT, 0, 4)
    else:
        # initiate tag, receiver window, outbound streams, inbound streams, initial TSN
        body = struct.pack("!IIHHI", packet.initiate_tag, 65536, 1, 1, 1)
        if packet.chunk == INIT_ACK:
            body += struct.pack("!HH", _STATE_COOKIE, 4 + len(packet.cookie)) + packet.cookie
        chunk = struct.pack("!BBH", packet.chunk, 0, 4 + len(body)) + body
        chunk += bytes(-len(chunk) % 4)
    header = struct.pack("!HHI", packet.source_port, packet.destination_port, packet.tag)
    # The checksum is computed over the packet with a zero in its place, and stored little-endian.
    checksum = struct.pack("<I", crc32c(header + bytes(4) + chunk))
    return header + checksum + chunk


def decode(data: bytes) -> Packet | None:
    """The packet, or None for anything that is not a whole packet of one of the three kinds."""
    if len(data) < 16:
        return None
    source, destination, tag = struct.unpack_from("!HHI", data)
    if struct.pack("<I", crc32c(data[:8] + bytes(4) + data[12:])) != data[8:12]:
        return None
    chunk, _, length = struct.unpack_from("!BBH", data, 12)
    if chunk == ABORT:
        return Packet(source, destination, tag, ABORT)
    if chunk not in (INIT, INIT_ACK) or length < 20 or len(data) < 12 + length:
        return None
    (initiate_tag,) = struct.unpack_from("!I", data, 16)
    cookie = b""
    offset = 32
    while chunk == INIT_ACK and offset + 4 <= 12 + length:
        kind, size = struct.unpack_from("!HH", data, offset)
        if size < 4:
            break
        if kind == _STATE_COOKIE:
            cookie = data[offset + 4 : min(offset + size, 12 + length)]
            break
        offset += size + (-size % 4)
    return Packet(source, destination, tag, chunk, initiate_tag, cookie)


def ip_payload(data: bytes) -> bytes:
    """What a raw IPv4 socket delivers begins with the IP header; IPv6 ones deliver the payload alone."""
    return data[(data[0] & 0x0F) * 4 :] if data else data
