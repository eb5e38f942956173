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
from apiserver.snapshot import Snapshot
from apiserver.stores import Stores
from apiserver.watcher import BOOKMARK, Marker, Watcher

_log = logging.getLogger(__name__)

JOIN_BYTES = 64 * 1024
"""Frames are joined up to about this size before they are written. With a thousand streams that wait for
their clients at the same time this is memory; as system calls go, 64 KiB is as good as any more."""

STUCK_SECONDS = 30.0
"""A write that no byte of which can go out for so long ends the watch: what queues up behind it is memory."""


class Sender:
    """Turns a snapshot and then what is due to a watcher into bytes, and hands them to ``write``."""

    def __init__(
        self,
        stores: Stores,
        watcher: Watcher,
        encoder: EventEncoder,
        write: Callable[[bytes], Awaitable[object]],
    ) -> None:
        self._frames = stores.frames
        self._turns = stores.turns
        self._watcher = watcher
        self._encoder = encoder
        self._write = write
        self._buffer: list[bytes] = []
        self._size = 0

    async def send_initial(self, snapshot: Snapshot, first: Iterable[bytes]) -> None:
        """``first`` are ready frames to be sent after the snapshot: the bookmark, and markers."""
        with self._frames:
            for step in snapshot.steps():
                await self._add(self._encoder.initial(*step) if step is not None else b"", initial=True)
        for frame in first:
            await self._add(frame, initial=True)
        await self._flush()

    async def send_changes(self) -> None:
        """Returns when the watcher is closed."""
        watcher = self._watcher
        while not watcher.closed:
            await watcher.wait()
            while (due := watcher.take()) is not None:
                event, what = due
                if isinstance(what, Entry):
                    frame = self._encoder.change(event, what)
                elif isinstance(what, Marker):
                    frame = self._encoder.marker(what)
                else:
                    assert event == BOOKMARK
                    frame = self._encoder.bookmark(what, False)
                await self._add(frame, initial=False)
            await self._flush()

    async def _add(self, frame: bytes, initial: bool) -> None:
        if frame:
            self._buffer.append(frame)
            self._size += len(frame)
            if self._size >= JOIN_BYTES:
                await self._flush()
        if self._turns.due():
            await self._turns.rest(initial)

    async def _flush(self) -> None:
        if self._buffer:
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            self._buffer.clear()
            self._size = 0
            await self._write(data)


class WatchStream:
    """Sends an initial state and then everything that the watcher has due, as an HTTP answer."""

    def __init__(self, ctx: Context, stores: Stores, watcher: Watcher, encoder: EventEncoder) -> None:
        self._ctx = ctx
        self._stores = stores
        self._watcher = watcher
        self._response = web.StreamResponse(
            headers={"Content-Type": encoder.content_type, "Cache-Control": "no-cache, private"}
        )
        self._sender = Sender(stores, watcher, encoder, self._write)

    async def run(self, snapshot: Snapshot, first: Iterable[bytes], timeout: float) -> web.StreamResponse:
        """Runs until the client leaves, the time is over, or the watcher is closed."""
        response = self._response
        response.enable_chunked_encoding()
        try:
            await response.prepare(self._ctx.http)
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

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._response.write(data)
        except TimeoutError:
            self._watcher.close(f"the client has read nothing for {STUCK_SECONDS:g} s")
            if (transport := self._ctx.http.transport) is not None:
                transport.abort()  # a closing handshake would wait for the same client
            raise ConnectionError(self._watcher.closed) from None
