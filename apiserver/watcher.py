"""One watch: the changes that are due to it, between the stores that offer them and the stream that sends
them.

A watcher holds references to history entries, not bytes: they are encoded when the stream is ready to send,
and then once for all. It is bounded, by the number of events and by the bytes of those that have left the
history and live only for it; when a client is too slow for a bound, the watch ends, because a stream that
skips an event corrupts whoever replays it.
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
        "_kept",
        "_limit",
        "_limit_bytes",
        "_node",
        "_on_close",
        "_pending",
        "_wake",
        "_weighed",
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
        limit_bytes: int = 32 * 1024 * 1024,
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
        self._limit_bytes = limit_bytes
        self._weighed = 0  # events in front that were looked at: how many bytes they keep
        self._kept = 0
        # Most watches are of all that a node may see, which takes no call to find out.
        self._node = selection.node if selection == Selection(node=selection.node) else ""
        self._wake = asyncio.Event()
        self._woken = False  # whether the event is set, or about to be
        self.turns: Turns | None = None  # of the stores that it is registered with
        # Set while the stream only waits: takes and sends what is due without waking it; says whether that
        # was all. A change that concerns a thousand watches is out in half the time.
        self.at_once: Callable[[], bool] | None = None
        self._on_close = on_close  # ends a stream that hangs in a write

    def offer(self, entry: Entry) -> None:
        """Queues the event that the change means to this watch, if it means any."""
        old, new, node = entry.old, entry.new, self._node
        if node:
            before = old is not None and (span := old.span) is not None and node in span
            after = new is not None and (span := new.span) is not None and node in span
        else:
            wants = self.selection.wants
            before = old is not None and wants(old)
            after = new is not None and wants(new)
        if after:
            self._queue((MODIFIED if before else ADDED, entry))
        elif before:
            self._queue((DELETED, entry))

    def offer_bookmark(self, version: int) -> None:
        if self._pending and self._pending[-1][0] == BOOKMARK:
            self._pending.pop()
            self._weighed = min(self._weighed, len(self._pending))
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
        first = self._pending[0][1]
        if isinstance(first, Entry) and first.evicted and not self._bears():
            return
        if not self._woken:
            self._woken = True
            if self.turns is not None:
                self.turns.wake(self._turn)
            else:
                self._wake.set()

    def _bears(self) -> bool:
        """Weighs what has left the history since the last look; False: it was too much."""
        pending = self._pending
        while self._weighed < len(pending):
            what = pending[self._weighed][1]
            if isinstance(what, Entry):
                if not what.evicted:
                    break
                self._kept += what.size
            self._weighed += 1
        if self._kept <= self._limit_bytes:
            return True
        self.close(f"the client is behind by more than {self._limit_bytes} bytes that only it still needs")
        return False

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
            due = self._pending.popleft()
            if self._weighed:
                self._weighed -= 1
                if isinstance(due[1], Entry):
                    self._kept -= due[1].size
            return due
        if not self.closed:
            self._woken = False
            self._wake.clear()
        return None
