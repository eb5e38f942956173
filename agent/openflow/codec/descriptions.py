"""Bodies of multipart replies: flows, groups, meters, ports and tables as the switch describes them.

Reading raises CodecError and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.messages import Bucket, Group, Meter


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    name: str
    mac: str
    is_down: bool


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """A flow as the switch describes it, with what it counted."""

    flow: Flow
    idle_timeout: int
    hard_timeout: int
    flags: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FlowUpdate:
    """What a flow monitor tells: initial, added, removed, modified; or abbreviated (own change), paused,
    resumed."""

    event: str
    table: int
    priority: int
    cookie: int
    match: bytes
    body: bytes


def properties(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each property of a list: type, length without padding, value, padding to 8 bytes."""
    offset = 0
    while offset < len(data):
        kind, length = struct.unpack_from("!HH", data, offset)
        if length < 4 or offset + length > len(data):
            raise CodecError(f"property {kind} has the length {length} with {len(data) - offset} bytes left")
        yield kind, data[offset + 4 : offset + length]
        offset += length + -length % 8


def _records(data: bytes, what: str, minimum: int, length_at: int = 0) -> Iterator[bytes]:
    """Records that begin with their length (or have it at ``length_at``)."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < minimum:
            raise CodecError(f"a {what} of {end - offset} bytes; {minimum} is the least")
        (length,) = struct.unpack_from("!H", data, offset + length_at)
        if length < minimum or offset + length > end:
            raise CodecError(f"a {what} has the length {length} with {end - offset} bytes left")
        yield data[offset : offset + length]
        offset += length


def _match_end(data: bytes, offset: int) -> tuple[bytes, int]:
    """The match at ``offset`` without header, and where what follows its padding begins."""
    kind, length = struct.unpack_from("!HH", data, offset)
    end = offset + length + -length % 8
    if kind != 1 or length < 4 or end > len(data):
        raise CodecError(f"a match of type {kind} and length {length} with {len(data) - offset} bytes left")
    return data[offset + 4 : offset + length], end


_FLOW_HEAD = struct.Struct("!H2xBxHHHHHQHH")


def flows(body: bytes) -> list[Flow]:
    """The flows of a FLOW_DESC reply, without counters: the fast way for comparing 100,000 of them."""
    found: list[Flow] = []
    append = found.append
    unpack = _FLOW_HEAD.unpack_from
    offset, end = 0, len(body)
    try:
        while offset < end:
            length, _, _, _, _, _, _, cookie, kind, matched = unpack(body, offset)
            stop = offset + length
            stats_at = offset + 24 + matched + (-matched & 7)
            if kind != 1 or matched < 4 or length < 32 or stop > end or stats_at + 4 > stop:
                raise CodecError(f"a flow of {length} bytes with a match of {matched} cannot be")
            stats = body[stats_at + 2] << 8 | body[stats_at + 3]
            body_at = stats_at + stats + (-stats & 7)
            if stats < 4 or body_at > stop:
                raise CodecError(f"a flow's statistics of {stats} bytes do not fit into it")
            # the key is table, priority, match: bytes 4 and 6..7 of the record, then the match
            key = body[offset + 4 : offset + 5] + body[offset + 6 : offset + 8]
            append(Flow(key + body[offset + 28 : offset + 24 + matched], cookie, body[body_at:stop]))
            offset = stop
    except struct.error as error:
        raise CodecError(f"a flow description breaks off: {error}") from None
    return found


def flow_records(body: bytes) -> list[FlowRecord]:
    """The flows of a FLOW_DESC reply with time-outs and counters."""
    found = []
    offset = 0
    for raw, flow in zip(_records(body, "flow", 32), flows(body), strict=True):
        _, _, _, idle, hard, flags, _, _, _, matched = _FLOW_HEAD.unpack_from(raw)
        at = 24 + matched + -matched % 8
        (length,) = struct.unpack_from("!H", raw, at + 2)
        packets = octets = 0
        offset = at + 4
        while offset + 4 <= at + length:
            number, size = raw[offset + 2] >> 1, raw[offset + 3]
            value = int.from_bytes(raw[offset + 4 : offset + 4 + size], "big")
            if number == 4:
                packets = value
            elif number == 5:
                octets = value
            offset += 4 + size
        found.append(FlowRecord(flow, idle, hard, flags, packets, octets))
    return found


def groups(body: bytes) -> list[Group]:
    """The groups of a GROUP_DESC reply."""
    found = []
    try:
        for raw in _records(body, "group", 16):
            _, kind, number, size = struct.unpack_from("!HBxIH", raw)
            buckets = []
            for bucket in _records(raw[16 : 16 + size], "bucket", 8):
                (actions,) = struct.unpack_from("!2xH", bucket)
                weight = None
                for prop, value in properties(bucket[8 + actions :]):
                    if prop == 0:
                        (weight,) = struct.unpack_from("!H", value)
                buckets.append(Bucket(bucket[8 : 8 + actions], weight))
            found.append(Group(number, kind, tuple(buckets)))
    except (struct.error, IndexError) as error:
        raise CodecError(f"a group description breaks off: {error}") from None
    return found


def meters(body: bytes) -> list[Meter]:
    """The meters of a METER_CONFIG reply; of several bands the last is kept (we make meters of one)."""
    found = []
    try:
        for raw in _records(body, "meter", 8):
            _, flags, number = struct.unpack_from("!HHI", raw)
            rate = burst = 0
            for band in _records(raw[8:], "meter band", 12, length_at=2):
                _, _, rate, burst = struct.unpack_from("!HHII", band)
            found.append(Meter(number, rate, burst, flags))
    except struct.error as error:
        raise CodecError(f"a meter description breaks off: {error}") from None
    return found


def ports(body: bytes) -> list[Port]:
    """The ports of a PORT_DESC reply or of a port status."""
    found = []
    try:
        for raw in _records(body, "port", 40, length_at=4):
            number, _, mac, name, config, state = struct.unpack_from("!IH2x6s2x16sII", raw)
            text = name.split(b"\0")[0].decode(errors="replace")
            found.append(Port(number, text, mac.hex(":"), bool(config & 1 or state & 1)))
    except struct.error as error:
        raise CodecError(f"a port description breaks off: {error}") from None
    return found


TABLE_FEATURES_LENGTH = 64


def table_features(body: bytes) -> list[tuple[int, str, bytes]]:
    """(number, name, whole record) of each table of a TABLE_FEATURES reply."""
    return [
        (raw[2], raw[8:40].split(b"\0")[0].decode(errors="replace"), raw)
        for raw in _records(body, "table", TABLE_FEATURES_LENGTH)
    ]


def renamed_table(record: bytes, name: str) -> bytes:
    """The request to give a table another name: its record without properties, with the command "modify" (the
    only one that OVS permits, in one message without further parts)."""
    head = struct.pack("!HBB", TABLE_FEATURES_LENGTH, record[2], 1)
    return head + record[4:8] + name.encode()[:31].ljust(32, b"\0") + record[40:TABLE_FEATURES_LENGTH]


_UPDATES = {
    0: "initial",
    1: "added",
    2: "removed",
    3: "modified",
    4: "abbreviated",
    5: "paused",
    6: "resumed",
}


def flow_updates(body: bytes) -> list[FlowUpdate]:
    """The updates in a message of a flow monitor."""
    found = []
    try:
        for raw in _records(body, "flow update", 8):
            (number,) = struct.unpack_from("!2xH", raw)
            event = _UPDATES.get(number, str(number))
            if number > 3:
                found.append(FlowUpdate(event, 0, 0, 0, b"", b""))
                continue
            table, _, _, _, priority, cookie = struct.unpack_from("!BBHHH4xQ", raw, 4)
            match, end = _match_end(raw, 24)
            found.append(FlowUpdate(event, table, priority, cookie, match, raw[end:]))
    except struct.error as error:
        raise CodecError(f"a flow update breaks off: {error}") from None
    return found
