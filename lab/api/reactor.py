"""What follows from a change, done after it: one queue for all controllers of this process.

Controllers observe the registry and put work in here under a key; work of one key that waits already is not
queued twice. One task drains the queue in slices, so that a flood of changes never holds the event loop. Work
that fails is reported and tried again with back-off; it never ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable

from lab.api.journal import UnwrittenError

_log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.005
_RETRIES = 8
_FULL_SECONDS = 1.0
Work = Callable[[], None]


class Reactor:
    def __init__(self) -> None:
        self._waiting: dict[Hashable, Work] = {}  # in order of arrival
        self._failures: dict[Hashable, int] = {}
        self._wake = asyncio.Event()

    def soon(self, key: Hashable, work: Work) -> None:
        """Queues the work, unless some is waiting under the key."""
        if key not in self._waiting:
            self._waiting[key] = work
            self._wake.set()

    def drain(self, seconds: float | None = None) -> bool:
        """Does what is waiting, and what follows from it. False if time ran out before it was done."""
        until = None if seconds is None else time.monotonic() + seconds
        while self._waiting:
            key = next(iter(self._waiting))
            work = self._waiting.pop(key)
            try:
                work()
                self._failures.pop(key, None)
            except UnwrittenError:
                self._later(_FULL_SECONDS, key, work)  # the disk is full: the journal says so
            except Exception:
                self._failed(key, work)
            if until is not None and time.monotonic() >= until:
                return not self._waiting
        return True

    def _failed(self, key: Hashable, work: Work) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if count > _RETRIES:
            _log.exception("the work %s failed %d times and is given up until its object changes", key, count)
            del self._failures[key]
            return
        _log.warning("the work %s failed and will be tried again", key, exc_info=count == 1)
        self._later(0.05 * 2**count, key, work)

    def _later(self, seconds: float, key: Hashable, work: Work) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(seconds, self.soon, key, work)

    async def run(self) -> None:
        """Drains for as long as the task lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while not self.drain(_SLICE_SECONDS):
                await asyncio.sleep(0)
