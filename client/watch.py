"""A watch as batches of events: whatever one read from the connection completes is one batch."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from apis.envelope import (
    EnvelopeError,
    JSONWatchDecoder,
    ProtobufWatchDecoder,
    WatchFrame,
)
from client.errors import ApiError, ConnectionFailed, Status
from client.rest import JSON, PROTOBUF, Query, RestClient

MAX_FRAME = 64 << 20  # bytes; an AddressGroup of 100,000 members takes about 8 MB

__all__ = ["MAX_FRAME", "WatchFrame", "watch"]


async def watch(
    client: RestClient,
    path: str,
    query: Query | None = None,
    *,
    protobuf: bool = False,
    idle_timeout: float | None = None,
    max_frame: int = MAX_FRAME,
) -> AsyncGenerator[list[WatchFrame], None]:
    """The events of one watch, in batches, until the server ends it (then the iterator ends as well).

    ``query`` carries what the server needs (``watch=1``, ``resourceVersion`` …). Objects are JSON text, or
    enveloped protobuf bodies (``apis.envelope.unwrap``). Raises ApiError, ConnectionFailed, and
    ConnectionFailed too for bytes that are no watch. Close the iterator (``aclosing``) to end the watch.
    """
    decoder = ProtobufWatchDecoder(max_frame) if protobuf else JSONWatchDecoder(max_frame)
    accept = f"{PROTOBUF};stream=watch, {PROTOBUF}" if protobuf else JSON
    async with client.stream(path, query=query, accept=accept, idle_timeout=idle_timeout) as chunks:
        try:
            async for chunk in chunks:
                events = decoder.feed(chunk)
                if events:
                    yield events
        except EnvelopeError as error:
            raise ConnectionFailed(f"{client.endpoint.url}{path}: not a watch: {error}") from error


def error_of(event: WatchFrame, url: str = "") -> ApiError:
    """The error that an ERROR event of a JSON watch carries."""
    error = ApiError.from_body(500, "watch ended by an ERROR event", event.object, url)
    try:
        error.status = msgspec.json.decode(event.object, type=Status).code or 500
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return error
