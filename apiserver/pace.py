"""Long work in short steps: nothing may hold the event loop for longer than some milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections import deque

SLICE_SECONDS = 0.005
WAKE_AT_ONCE = 16


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


class Waker:
    """Wakes streams a few at a time.

    A change that concerns a thousand watches makes a thousand coroutines ready; woken together they would all
    run in one turn of the loop, and everybody else would wait for the last of them.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Event] = deque()
        self._scheduled = False

    def wake(self, event: asyncio.Event) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # published before the loop runs: nobody waits yet
            event.set()
            return
        self._waiting.append(event)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(WAKE_AT_ONCE, len(self._waiting))):
            self._waiting.popleft().set()
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._turn, loop)
