"""The wrappings that Kubernetes puts around protobuf bodies, and the framing of its watch streams.

A body is ``k8s\\0`` and a ``runtime.Unknown``: kind and version, the message, and two strings that are always
written and always empty. A watch is a sequence of frames: in protobuf four bytes of big-endian length and a
*bare* ``WatchEvent`` whose object is again a whole body; in JSON one object per line.

Written by hand rather than through the generated messages: the server wraps every event with these few
functions, and they only join bytes. Decoders are given bounds, because what they read comes from a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

MAGIC = b"k8s\0"
MAX_FRAME = 256 * 1024 * 1024
"""Largest watch frame that a reader accepts unless told otherwise; a group of 100,000 members has about 8
MB."""


class EnvelopeError(ValueError):
    """The bytes are not what the Kubernetes protobuf envelope or a watch stream prescribes."""


@dataclass(frozen=True, slots=True)
class Enveloped:
    """A body taken out of its envelope: ``raw`` is the message of the type that the other two name."""

    api_version: str
    kind: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class WatchFrame:
    """One event of a watch stream. ``object`` is the enveloped body (protobuf) or the JSON text."""

    type: str
    object: bytes


_SHORT = tuple(
    bytes((value,)) if value < 0x80 else bytes((value & 0x7F | 0x80, value >> 7)) for value in range(0x1000)
)


def varint(value: int) -> bytes:
    """``value`` (not negative) as a protobuf varint."""
    if value < 0x1000:
        return _SHORT[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field with a number below 16."""
    return bytes((number << 3 | 2,)) + varint(len(payload)) + payload


def type_meta(api_version: str, kind: str) -> bytes:
    """The first field of the envelope, which is the same for every object of a kind."""
    return MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode()))


def wrap(api_version: str, kind: str, message: bytes) -> bytes:
    """The whole body for a message."""
    return wrap_typed(type_meta(api_version, kind), message)


def wrap_typed(prefix: bytes, message: bytes) -> bytes:
    """The whole body for a message, with the prefix that :func:`type_meta` made."""
    return b"".join((prefix, b"\x12", varint(len(message)), message, b"\x1a\x00\x22\x00"))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at ``at`` and the position after it."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise EnvelopeError("truncated or oversized varint in a protobuf message")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The top-level fields of a message as (number, value); values of wire type 2 are bytes."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = read_varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise EnvelopeError(f"protobuf wire type {wire_type} is not in use by Kubernetes")
        if length > len(data) - at:
            raise EnvelopeError("a protobuf field is longer than the message that holds it")
        yield number, data[at : at + length]
        at += length


def unwrap(body: bytes) -> Enveloped:
    """Takes a body out of its envelope. Raises EnvelopeError on anything else."""
    if not body.startswith(MAGIC):
        raise EnvelopeError("the body does not start with the Kubernetes protobuf prefix k8s\\0")
    api_version = kind = ""
    raw = b""
    for number, value in fields(body[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for inner, text in fields(value):
                if isinstance(text, bytes):
                    if inner == 1:
                        api_version = _text(text)
                    elif inner == 2:
                        kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
        elif number == 3 and value:
            raise EnvelopeError("an encoded (compressed) protobuf body is not supported")
    return Enveloped(api_version, kind, raw)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise EnvelopeError("a string in the protobuf envelope is not UTF-8") from error


def watch_frame(event_type: str, body: bytes) -> bytes:
    """A frame of a protobuf watch: length and WatchEvent, around an enveloped body."""
    kind = event_type.encode()
    raw = b"\x0a" + varint(len(body))
    inner = b"\x12" + varint(len(raw) + len(body)) + raw
    length = 2 + len(kind) + len(inner) + len(body)
    return b"".join((length.to_bytes(4, "big"), b"\x0a", varint(len(kind)), kind, inner, body))


def watch_frame_typed(event_prefix: bytes, prefix: bytes, message: bytes) -> bytes:
    """`watch_frame` around `wrap_typed` in one go, because a server does little else. ``event_prefix`` comes
    from `watch_event_type`."""
    size = len(message)
    size_field = _SHORT[size] if size < 0x1000 else varint(size)
    size += len(prefix) + len(size_field) + 5
    raw = _SHORT[size] if size < 0x1000 else varint(size)
    size += 1 + len(raw)
    inner = _SHORT[size] if size < 0x1000 else varint(size)
    size += len(event_prefix) + len(inner)
    return b"".join(
        (
            size.to_bytes(4, "big"), event_prefix, inner, b"\x0a", raw, prefix, b"\x12", size_field, message,
            b"\x1a\x00\x22\x00",
        )
    )  # fmt: skip


def watch_event_type(event_type: str) -> bytes:
    """What is the same in all events of a type."""
    return field(1, event_type.encode()) + b"\x12"


def watch_line(event_type: str, document: bytes) -> bytes:
    """A line of a JSON watch, around the text of a JSON object."""
    return b"".join((b'{"type":"', event_type.encode(), b'","object":', document, b"}\n"))


class ProtobufWatchDecoder:
    """Cuts a protobuf watch stream into events; bytes arrive in pieces of any size."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame

    def feed(self, data: bytes) -> list[WatchFrame]:
        """Adds received bytes; returns the events that are complete. Raises EnvelopeError."""
        buffer = self._buffer
        buffer += data
        frames: list[WatchFrame] = []
        at = 0
        while len(buffer) - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if length > self._max_frame:
                raise EnvelopeError(f"a watch frame of {length} bytes exceeds the limit of {self._max_frame}")
            if len(buffer) - at - 4 < length:
                break
            frames.append(_watch_event(bytes(buffer[at + 4 : at + 4 + length])))
            at += 4 + length
        if at:
            del buffer[:at]
        return frames

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete frame are held: not zero at the end means a truncated stream."""
        return len(self._buffer)


def _watch_event(event: bytes) -> WatchFrame:
    event_type, body = "", b""
    for number, value in fields(event):
        if number == 1 and isinstance(value, bytes):
            event_type = _text(value)
        elif number == 2 and isinstance(value, bytes):
            for inner, raw in fields(value):
                if inner == 1 and isinstance(raw, bytes):
                    body = raw
    if not event_type:
        raise EnvelopeError("a watch event without a type")
    return WatchFrame(event_type, body)


class _JSONEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw = msgspec.Raw(b"null")


class JSONWatchDecoder:
    """Cuts a JSON watch stream into events; ``object`` stays undecoded text."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame
        self._decoder = msgspec.json.Decoder(_JSONEvent)

    def feed(self, data: bytes) -> list[WatchFrame]:
        """Adds received bytes; returns the events that are complete. Raises EnvelopeError."""
        searched = len(self._buffer)
        self._buffer += data
        end = self._buffer.rfind(b"\n", searched)
        if end < 0:
            if len(self._buffer) > self._max_frame:
                raise EnvelopeError(f"a line of a watch exceeds the limit of {self._max_frame} bytes")
            return []
        complete = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return [self._event(line) for line in complete.split(b"\n") if line.strip()]

    def _event(self, line: bytes) -> WatchFrame:
        try:
            event = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EnvelopeError(f"a line of a watch is not a JSON watch event: {error}") from error
        return WatchFrame(event.type, bytes(event.object))

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete line are held."""
        return len(self._buffer)
