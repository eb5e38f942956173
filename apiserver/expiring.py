"""A bounded memory of answers that are good for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Expiring(Generic[K, V]):
    """At most ``limit`` answers, each for ``seconds``; the one that was stored first makes room.

    For ``keep`` seconds more ``stale`` still tells an answer, for times in which no new one can be had.
    """

    def __init__(
        self, limit: int, seconds: float, keep: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._keep = keep
        self._clock = clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The answer while it is fresh."""
        return self._younger_than(key, 0.0)

    def stale(self, key: K) -> V | None:
        """The answer, fresh or not."""
        return self._younger_than(key, self._keep)

    def _younger_than(self, key: K, grace: float) -> V | None:
        known = self._entries.get(key)
        if known is None:
            return None
        age = self._clock() - known[0]
        if age >= self._keep and age >= 0:
            del self._entries[key]
        return known[1] if age < grace else None

    def put(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        while len(self._entries) >= self._limit:
            self._entries.popitem(last=False)
        self._entries[key] = (self._clock() + self._seconds, value)

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
