"""One watch: the changes that are due to it, between the stores that offer them and the stream that sends
them.

A watcher holds references to history entries, not bytes: they are encoded when the stream is ready to send,
and then once for all. It is bounded; when a client is too slow for the bound, the watch ends, because a
stream that skips an event corrupts whoever replays it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from apiserver.history import Entry
from apiserver.pace import Turns
from apiserver.selection import Selection

ADDED, MODIFIED, DELETED, BOOKMARK, MARKER = "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "MARKER"


@dataclass(frozen=True, slots=True)
class Marker:
    """Everything that follows from this Pod has been sent."""

    namespace: str
    name: str
    uid: str


Due = tuple[str, Entry | int | Marker]
"""An event type with its entry, the version of a BOOKMARK, or a marker."""


class Watcher:
    """Registered with Stores.watch, drained by one stream."""

    __slots__ = (
        "_limit",
        "_on_close",
        "_pending",
        "_wake",
        "_woken",
        "at_once",
        "bookmarks",
        "closed",
        "markers",
        "selection",
        "turns",
    )

    def __init__(
        self,
        selection: Selection,
        *,
        limit: int = 65536,
        bookmarks: bool = False,
        markers: bool = False,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.selection = selection
        self.bookmarks = bookmarks
        self.markers = markers
        self.closed = ""  # why, once it is
        self._pending: deque[Due] = deque()
        self._limit = limit
        self._wake = asyncio.Event()
        self._woken = False  # whether the event is set, or about to be
        self.turns: Turns | None = None  # of the stores that it is registered with
        # Set while the stream only waits: takes and sends what is due without waking it; says whether that
        # was all. A change that concerns a thousand watches is out in half the time.
        self.at_once: Callable[[], bool] | None = None
        self._on_close = on_close  # ends a stream that hangs in a write

    def offer(self, entry: Entry) -> None:
        """Queues the event that the change means to this watch, if it means any."""
        wants = self.selection.wants
        before = entry.old is not None and wants(entry.old)
        after = entry.new is not None and wants(entry.new)
        if after:
            self._queue((MODIFIED if before else ADDED, entry))
        elif before:
            self._queue((DELETED, entry))

    def offer_bookmark(self, version: int) -> None:
        if self._pending and self._pending[-1][0] == BOOKMARK:
            self._pending.pop()
        self._queue((BOOKMARK, version))

    def offer_marker(self, namespace: str, name: str, uid: str) -> None:
        self._queue((MARKER, Marker(namespace, name, uid)))

    def _queue(self, due: Due) -> None:
        if self.closed:
            return
        if len(self._pending) >= self._limit:
            self.close(f"the client is more than {self._limit} events behind")
            return
        self._pending.append(due)
        if not self._woken:
            self._woken = True
            if self.turns is not None:
                self.turns.wake(self._turn)
            else:
                self._wake.set()

    def _turn(self) -> None:
        if self.at_once is None or self.closed or not self.at_once():
            self._wake.set()

    def close(self, reason: str) -> None:
        """Ends the watch: what is queued is dropped, the client starts over."""
        if not self.closed:
            self.closed = reason
            self._pending.clear()
            self._wake.set()
            if self._on_close is not None:
                self._on_close()

    async def wait(self) -> None:
        """Returns once something is due or the watch is closed."""
        await self._wake.wait()

    def take(self) -> Due | None:
        """The next event, or None when there is none at the moment."""
        if self._pending:
            return self._pending.popleft()
        if not self.closed:
            self._woken = False
            self._wake.clear()
        return None
