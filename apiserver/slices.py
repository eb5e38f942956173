"""Long encodings without holding the event loop, and made once for all who want the same at the time.

A group of 100,000 members takes a quarter of a second as JSON, and the patch that empties it tens of
milliseconds in any encoding. Such a text is made in steps by the stream or request that is first to want it;
the others wait for it. When the first one leaves, the next begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from apis.record import Media, Record
from apiserver.pace import Turns

Steps = Generator[None, None, bytes]


@dataclass(frozen=True, slots=True)
class Long:
    """A text that is made in steps: who else wants it has the same ``key``, and finds it by ``kept``."""

    key: Hashable
    kept: Callable[[], bytes | None]
    make: Callable[[], Steps]


class Makers:
    """The long texts that are being made in a process."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def text(self, long: Long, initial: bool) -> bytes:
        """The text; ``initial``: it belongs to an initial state, which goes behind changes."""
        lock = self._locks.get(long.key)
        if lock is None:
            lock = self._locks[long.key] = asyncio.Lock()
        async with lock:
            found = long.kept()
            return found if found is not None else await self._make(long.make(), initial)

    async def _make(self, steps: Steps, initial: bool) -> bytes:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                made: bytes = end.value
                return made
            if self._turns.due():
                await self._turns.rest(initial)


def steps_of(record: Record, media: Media, view: str | None, version: int) -> Steps | None:
    """The record's encoding in steps, if it is one that may take long."""
    encode = getattr(record, "encode_in_steps", None)
    made: Steps | None = encode(media, view, str(version)) if encode is not None else None
    return made
