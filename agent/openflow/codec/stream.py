"""Received bytes to events: frames messages, keeps what is incomplete."""

from __future__ import annotations

from agent.openflow.codec import messages as m
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.events import Event, decode


class Stream:
    """The receiving half of a connection. After a CodecError it stays broken: close the connection.

    A message is at most 65,535 bytes long, so no more than that is ever kept between two calls.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken: CodecError | None = None

    def receive(self, data: bytes) -> list[Event]:
        """The events that are complete with ``data``. Raises CodecError for what is not OpenFlow 1.5."""
        if self._broken is not None:
            raise self._broken
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        offset, end = 0, len(buffer)
        try:
            while end - offset >= 8:
                version, kind = buffer[offset], buffer[offset + 1]
                length = buffer[offset + 2] << 8 | buffer[offset + 3]
                # A hello may come in a newer version; anything else may not.
                if version != m.VERSION and not (kind == m.HELLO and version > m.VERSION):
                    raise CodecError(
                        f"the peer speaks OpenFlow version {version:#04x}, this side {m.VERSION:#04x}"
                    )
                if length < 8:
                    raise CodecError(f"a message of type {kind} says that it is {length} bytes long")
                if end - offset < length:
                    break
                xid = int.from_bytes(buffer[offset + 4 : offset + 8], "big")
                events.append(decode(kind, xid, bytes(buffer[offset + 8 : offset + length])))
                offset += length
        except CodecError as error:
            self._broken = error
            raise
        finally:
            del buffer[:offset]
        return events
