"""What received messages mean. Decoding raises CodecError and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.openflow.codec import messages as m
from agent.openflow.codec.actions import NICIRA
from agent.openflow.codec.errors import CodecError, describe
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.match import Term, terms
from agent.openflow.codec.messages import Bucket, Group, Meter


@dataclass(frozen=True, slots=True)
class Event:
    """A message with nothing more to say than its type; base of all others."""

    xid: int


@dataclass(frozen=True, slots=True)
class Hello(Event):
    version: int


@dataclass(frozen=True, slots=True)
class ErrorMessage(Event):
    """OVS refused the message with this xid. ``data``: at least the first 64 bytes of that message."""

    kind: int
    code: int
    data: bytes

    def __str__(self) -> str:
        return describe(self.kind, self.code)


@dataclass(frozen=True, slots=True)
class EchoRequest(Event):
    data: bytes


@dataclass(frozen=True, slots=True)
class EchoReply(Event):
    data: bytes


@dataclass(frozen=True, slots=True)
class FeaturesReply(Event):
    datapath_id: int
    tables: int


@dataclass(frozen=True, slots=True)
class BarrierReply(Event):
    pass


@dataclass(frozen=True, slots=True)
class RoleReply(Event):
    role: int
    generation: int


@dataclass(frozen=True, slots=True)
class MultipartReply(Event):
    """A part of an answer; ``more`` parts follow. The functions below read the bodies."""

    kind: int
    more: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class BundleReply(Event):
    bundle: int
    kind: int


@dataclass(frozen=True, slots=True)
class PacketIn(Event):
    """A packet sent up by a controller action. ``properties`` go back unchanged to let a paused packet go
    on."""

    packet: bytes
    table: int
    cookie: int
    reason: int
    userdata: bytes
    metadata: bytes  # a match: in_port, registers, ct state
    continuation: bytes
    properties: bytes

    def fields(self) -> list[Term]:
        return terms(self.metadata)


@dataclass(frozen=True, slots=True)
class PortStatus(Event):
    """A port came (0), went (1) or changed (2)."""

    reason: int
    port: Port


@dataclass(frozen=True, slots=True)
class Unknown(Event):
    """A message type that means nothing to us, kept so that nothing disappears silently."""

    kind: int
    body: bytes


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


def decode(kind: int, xid: int, body: bytes) -> Event:
    """One message. Raises CodecError when the body does not have the form that the type demands."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        return Unknown(xid, kind, body)
    try:
        return decoder(xid, body)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"a message of type {kind} with {len(body)} bytes cannot be read: {error}") from None


def _features(xid: int, body: bytes) -> Event:
    datapath_id, _, tables = struct.unpack_from("!QIB", body)
    return FeaturesReply(xid, datapath_id, tables)


def _multipart(xid: int, body: bytes) -> Event:
    kind, flags = struct.unpack_from("!HH4x", body)
    return MultipartReply(xid, kind, bool(flags & 1), body[8:])


def _bundle(xid: int, body: bytes) -> Event:
    bundle, kind = struct.unpack_from("!IH", body)
    return BundleReply(xid, bundle, kind)


def _error(xid: int, body: bytes) -> Event:
    kind, code = struct.unpack_from("!HH", body)
    return ErrorMessage(xid, kind, code, body[4:])


def _experimenter(xid: int, body: bytes) -> Event:
    vendor, subtype = struct.unpack_from("!II", body)
    if vendor == NICIRA and subtype == m.NX_PACKET_IN2:
        return _packet_in2(xid, body[8:])
    return Unknown(xid, m.EXPERIMENTER, body)


def _packet_in2(xid: int, properties: bytes) -> Event:
    packet = userdata = metadata = continuation = b""
    table = reason = cookie = 0
    for kind, value in _properties(properties):
        if kind == 0:
            packet = value
        elif kind == 3:
            table = value[0]
        elif kind == 4:
            (cookie,) = struct.unpack_from("!4xQ", value)
        elif kind == 5:
            reason = value[0]
        elif kind == 6:
            # 4 bytes of alignment, then fields, where a match would have its header first
            metadata = value[4:]
        elif kind == 7:
            userdata = value
        elif kind == 8:
            continuation = value
    return PacketIn(xid, packet, table, cookie, reason, userdata, metadata, continuation, properties)


def _properties(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(data):
        kind, length = struct.unpack_from("!HH", data, offset)
        if length < 4 or offset + length > len(data):
            raise CodecError(f"property {kind} has the length {length} with {len(data) - offset} bytes left")
        yield kind, data[offset + 4 : offset + length]
        offset += length + -length % 8


def _port_status(xid: int, body: bytes) -> Event:
    (port,) = ports(body[8:]) or (None,)
    if port is None:
        raise CodecError("a port status without a port")
    return PortStatus(xid, body[0], port)


_DECODERS: dict[int, Callable[[int, bytes], Event]] = {
    m.HELLO: lambda xid, body: Hello(xid, m.VERSION),
    m.ERROR: _error,
    m.ECHO_REQUEST: EchoRequest,
    m.ECHO_REPLY: EchoReply,
    m.EXPERIMENTER: _experimenter,
    m.FEATURES_REPLY: _features,
    m.PORT_STATUS: _port_status,
    m.MULTIPART_REPLY: _multipart,
    m.BARRIER_REPLY: lambda xid, body: BarrierReply(xid),
    m.ROLE_REPLY: lambda xid, body: RoleReply(xid, *struct.unpack_from("!IxxxxQ", body)),
    m.BUNDLE_CONTROL: _bundle,
}


# --- bodies of multipart replies ---------------------------------------------------------------------------


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
                for prop, value in _properties(bucket[8 + actions :]):
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
