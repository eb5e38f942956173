"""What received messages mean. Decoding raises CodecError and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from agent.openflow.codec import messages as m
from agent.openflow.codec.actions import NICIRA
from agent.openflow.codec.descriptions import Port, ports, properties
from agent.openflow.codec.errors import CodecError, describe
from agent.openflow.codec.match import Term, terms


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
    metadata: bytes  # like a match: in_port, registers, ct state
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


def _packet_in2(xid: int, body: bytes) -> Event:
    packet = userdata = metadata = continuation = b""
    table = reason = cookie = 0
    for kind, value in properties(body):
        if kind == 0:
            packet = value
        elif kind == 3:
            table = value[0]
        elif kind == 4:
            (cookie,) = struct.unpack_from("!4xQ", value)
        elif kind == 5:
            reason = value[0]
        elif kind == 6:
            metadata = value
        elif kind == 7:
            userdata = value
        elif kind == 8:
            continuation = value
    return PacketIn(xid, packet, table, cookie, reason, userdata, metadata, continuation, body)


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
