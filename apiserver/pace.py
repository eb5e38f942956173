"""Long work in short steps: nothing may hold the event loop for longer than some milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

SLICE_SECONDS = 0.005
WAKE_AT_ONCE = 32
BEGIN_AT_ONCE = 2


class Pace:
    """``if pace.due(): await pace.rest()`` inside a loop over much."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.monotonic() + SLICE_SECONDS

    def due(self) -> bool:
        return time.monotonic() >= self._until

    async def rest(self) -> None:
        await asyncio.sleep(0)
        self._until = time.monotonic() + SLICE_SECONDS


class Turns:
    """Shares the event loop among the streams of a process.

    A change that concerns a thousand watches makes a thousand coroutines ready, and so does a thousand nodes
    that connect at once; if all ran in one turn of the loop, everybody else would wait for the last of them.
    Here a few run in each turn, and they share one slice of time. Streams with changes go before those that
    send their initial state, of which one is finished before the next begins: half-made states are memory.
    """

    def __init__(self) -> None:
        self._live: deque[Callable[[], None]] = deque()
        self._initial: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._until: float | None = None  # None: the slice begins when the first stream looks

    def wake(self, call: Callable[[], None]) -> None:
        """Call it in one of the next turns. It must not raise, nor take long."""
        self._live.append(call)
        self._schedule()

    async def begin(self) -> None:
        """Wait for the turn of an initial state."""
        event = asyncio.Event()
        self._initial.append(event.set)
        self._schedule()
        await event.wait()

    def due(self) -> bool:
        """Whether the slice of this turn is over."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + SLICE_SECONDS
        return now >= self._until

    async def rest(self, initial: bool) -> None:
        """Wait for another turn."""
        event = asyncio.Event()
        if initial:
            self._initial.appendleft(event.set)
        else:
            self._live.append(event.set)
        self._schedule()
        await event.wait()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # published before the loop runs: nobody waits yet
            self._live.pop()()
            return
        self._scheduled = True
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._until = None
        for waiting, at_once in ((self._live, WAKE_AT_ONCE), (self._initial, BEGIN_AT_ONCE)):
            for _ in range(min(at_once, len(waiting))):
                waiting.popleft()()
                if self.due():
                    break
        self._scheduled = bool(self._live or self._initial)
        if self._scheduled:
            loop.call_soon(self._turn, loop)
