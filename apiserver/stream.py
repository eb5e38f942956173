"""The sending half of a watch: from a watcher's queue to a chunked HTTP answer.

One coroutine per watch. It encodes what is due, joins it up to a bound, and writes it in one go; a client
that does not read makes the write wait, and what comes meanwhile queues up in the watcher until its bound
closes it. All streams of a process share the event loop by `apiserver.pace.Turns`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from apiserver.events import EventEncoder
from apiserver.history import Entry
from apiserver.request import Context
from apiserver.slices import Long
from apiserver.snapshot import Snapshot
from apiserver.stores import Stores
from apiserver.watcher import BOOKMARK, Due, Marker, Watcher

_log = logging.getLogger(__name__)

JOIN_BYTES = 16 * 1024
"""Frames are joined up to about this size before they are written: a TLS record. Whatever is written at once
is memory for as long as the connection lives: OpenSSL's buffers do not shrink, and there are thousands."""

PIECE_BYTES = 256 * 1024
"""A frame that is longer is written in pieces of this size."""

STUCK_SECONDS = 30.0
"""A write that no byte of which can go out for so long ends the watch: what queues up behind it is memory."""


class Sender:
    """Turns a snapshot and then what is due to a watcher into bytes, and hands them to ``write``.

    ``offer`` takes bytes without waiting; it returns False, and has not taken them, where it cannot do so at
    the moment. With it, a stream that keeps up is served without its coroutine.
    """

    def __init__(
        self,
        stores: Stores,
        watcher: Watcher,
        encoder: EventEncoder,
        write: Callable[[bytes], Awaitable[object]],
        offer: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._frames = stores.frames
        self._turns = stores.turns
        self._makers = stores.makers
        self._watcher = watcher
        self._encoder = encoder
        self._write = write
        self._offer = offer
        self._failure: Exception | None = None  # of an encoder, for the coroutine to raise
        self._later: Due | None = None  # taken, but too long to be sent without the coroutine
        self._buffer: list[bytes] = []
        self._size = 0

    async def send_initial(self, snapshot: Snapshot, first: Iterable[bytes]) -> None:
        """``first`` are ready frames to be sent after the snapshot: the bookmark, and markers."""
        with self._frames:
            for step in snapshot.steps():
                frame = b""
                if step is not None:
                    long = self._encoder.long_initial(*step)
                    frame = await self._makers.text(long, True) if long else self._encoder.initial(*step)
                await self._add(frame, initial=True)
        for frame in first:
            await self._add(frame, initial=True)
        await self._flush()

    async def send_changes(self) -> None:
        """Returns when the watcher is closed."""
        watcher = self._watcher
        at_once = self._send_at_once if self._offer is not None else None
        while not watcher.closed:
            watcher.at_once = at_once
            await watcher.wait()
            watcher.at_once = None
            if self._failure is not None:
                raise self._failure
            while (due := self._take()) is not None:
                long = self._long(due)
                frame = await self._makers.text(long, False) if long else self._frame(due)
                await self._add(frame, initial=False)
            await self._flush()

    def _take(self) -> Due | None:
        due, self._later = self._later, None
        return due if due is not None else self._watcher.take()

    def _long(self, due: Due) -> Long | None:
        event, what = due
        return self._encoder.long_change(event, what) if isinstance(what, Entry) else None

    def _frame(self, due: Due) -> bytes:
        event, what = due
        if isinstance(what, Entry):
            return self._encoder.change(event, what)
        if isinstance(what, Marker):
            return self._encoder.marker(what)
        assert event == BOOKMARK
        return self._encoder.bookmark(what, False)

    def _send_at_once(self) -> bool:
        """What is due, if it is little and the client keeps up. False: the coroutine has to go on with it."""
        assert self._offer is not None
        try:
            while self._size < JOIN_BYTES:
                due = self._watcher.take()
                if due is None:
                    data = b"".join(self._buffer)
                    if data and not self._offer(data):
                        return False
                    self._buffer.clear()
                    self._size = 0
                    return True
                if self._long(due) is not None:
                    self._later = due
                    return False
                frame = self._frame(due)
                self._buffer.append(frame)
                self._size += len(frame)
        except Exception as error:
            self._failure = error
        return False

    async def _add(self, frame: bytes, initial: bool) -> None:
        if len(frame) > PIECE_BYTES:
            await self._flush()
            await self._write_long(frame, initial)
        elif frame:
            self._buffer.append(frame)
            self._size += len(frame)
            if self._size >= JOIN_BYTES:
                await self._flush()
        if self._turns.due():
            await self._turns.rest(initial)

    async def _write_long(self, frame: bytes, initial: bool) -> None:
        """Piece by piece: what is handed to TLS at once is encrypted, and kept, at once."""
        for start in range(0, len(frame), PIECE_BYTES):
            await self._write(frame[start : start + PIECE_BYTES])
            if self._turns.due():
                await self._turns.rest(initial)

    async def _flush(self) -> None:
        if self._buffer:
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            self._buffer.clear()
            self._size = 0
            if self._offer is None or not self._offer(data):
                await self._write(data)


class WatchStream:
    """Sends an initial state and then everything that the watcher has due, as an HTTP answer."""

    def __init__(self, ctx: Context, stores: Stores, watcher: Watcher, encoder: EventEncoder) -> None:
        self._ctx = ctx
        self._stores = stores
        self._watcher = watcher
        self._transport: asyncio.WriteTransport | None = None  # once the answer's head is sent
        self._response = web.StreamResponse(
            headers={"Content-Type": encoder.content_type, "Cache-Control": "no-cache, private"}
        )
        self._sender = Sender(stores, watcher, encoder, self._write, self._offer)

    async def run(self, snapshot: Snapshot, first: Iterable[bytes], timeout: float) -> web.StreamResponse:
        """Runs until the client leaves, the time is over, or the watcher is closed."""
        response = self._response
        response.enable_chunked_encoding()
        try:
            await response.prepare(self._ctx.http)
            self._transport = self._ctx.http.transport
            async with asyncio.timeout(timeout):
                await self._sender.send_initial(snapshot, first)
                await self._sender.send_changes()
        except TimeoutError:
            pass
        except ConnectionError:
            if self._watcher.closed:
                _log.info("watch %s ended: %s", self._ctx.info.path, self._watcher.closed)
            return response  # the client has left, or was sent away
        finally:
            self._stores.unwatch(self._watcher)
        if self._watcher.closed:
            _log.info("watch %s ended: %s", self._ctx.info.path, self._watcher.closed)
        try:
            await response.write_eof()
        except ConnectionError:
            pass
        return response

    def _offer(self, data: bytes) -> bool:
        """A chunk straight to the transport, past all that aiohttp does for a write, if nothing waits."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._response.write(data)
        except TimeoutError:
            self._watcher.close(f"the client has read nothing for {STUCK_SECONDS:g} s")
            if (transport := self._ctx.http.transport) is not None:
                transport.abort()  # a closing handshake would wait for the same client
            raise ConnectionError(self._watcher.closed) from None
