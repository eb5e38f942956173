"""The state with which a watch begins: exact for one version, read in steps, its frames shared.

Taking a snapshot copies references, which is quick for any number of objects; which of them the watch selects
is found out while it is sent. Records do not change, so a later look at them finds the same.

A thousand nodes that connect at once mostly want the same policies and address groups. As long as initial
states are being sent, frames that more than one node may want are kept, within a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from apis.record import Record
from apiserver.selection import Selection


class Stored(NamedTuple):
    """A record and the version at which it became current."""

    record: Record
    version: int


class Snapshot:
    """Objects store by store. ``selection`` None: all of them are wanted."""

    __slots__ = ("_parts", "_selection")

    def __init__(
        self, parts: Sequence[tuple[str, Sequence[Stored]]] = (), selection: Selection | None = None
    ) -> None:
        self._parts = parts
        self._selection = selection

    def steps(self) -> Iterator[tuple[str, Stored] | None]:
        """The wanted objects as (store, object), and None for each that is not wanted: one look each."""
        wants = None if self._selection is None else self._selection.wants
        for name, objects in self._parts:
            for stored in objects:
                yield (name, stored) if wants is None or wants(stored.record) else None

    def __iter__(self) -> Iterator[tuple[str, Stored]]:
        return filter(None, self.steps())


class SharedFrames:
    """Encoded initial frames, kept while somebody sends an initial state; at most ``limit`` bytes."""

    OVERHEAD = 200  # bytes that an entry takes besides its frame

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._frames: dict[Hashable, bytes] = {}
        self._size = 0
        self._limit = limit
        self._senders = 0

    def __enter__(self) -> SharedFrames:
        self._senders += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._senders -= 1
        if not self._senders:
            frames, self._frames, self._size = self._frames, {}, 0
            _forget(frames)

    def get(self, key: Hashable) -> bytes | None:
        return self._frames.get(key)

    def keep(self, key: Hashable, frame: bytes) -> bytes:
        if self._senders:
            self._size += len(frame) + self.OVERHEAD
            self._frames[key] = frame
            while self._size > self._limit:
                self._size -= len(self._frames.pop(next(iter(self._frames)))) + self.OVERHEAD
        return frame


_FORGOTTEN_AT_ONCE = 2048


def _forget(frames: dict[Hashable, bytes]) -> None:
    """Frees them in steps: a hundred thousand at once take tens of milliseconds."""
    for _ in range(min(len(frames), _FORGOTTEN_AT_ONCE)):
        frames.popitem()
    if frames:
        try:
            asyncio.get_running_loop().call_soon(_forget, frames)
        except RuntimeError:  # no loop that could be held up
            frames.clear()
