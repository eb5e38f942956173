"""How long to wait before trying again."""

from __future__ import annotations

import asyncio
import random
import time


class Backoff:
    """Delays in seconds that grow from ``initial`` to ``maximum`` and are spread by jitter.

    ``jitter`` is the part of each delay that is random: 0.5 draws from the upper half of it. Jitter keeps a
    thousand agents that lost the same controller from coming back in the same millisecond. ``reset`` is for
    the caller to call once the thing works again; whoever cannot tell uses ``reset_after``: a pause between
    two failures longer than that starts over.
    """

    __slots__ = ("_failed_at", "_next", "factor", "initial", "jitter", "maximum", "reset_after")

    def __init__(
        self,
        initial: float = 0.2,
        maximum: float = 30.0,
        factor: float = 2.0,
        jitter: float = 0.5,
        reset_after: float | None = None,
    ) -> None:
        self.initial = initial
        self.maximum = maximum
        self.factor = factor
        self.jitter = jitter
        self.reset_after = reset_after
        self._next = initial
        self._failed_at = float("-inf")

    def reset(self) -> None:
        self._next = self.initial

    def next(self) -> float:
        """The delay due after one more failure."""
        now = time.monotonic()
        if self.reset_after is not None and now - self._failed_at > self.reset_after + self._next:
            self.reset()
        self._failed_at = now
        delay = self._next
        self._next = min(self.maximum, delay * self.factor)
        return delay * (1 - self.jitter * random.random())

    async def wait(self) -> None:
        await asyncio.sleep(self.next())
