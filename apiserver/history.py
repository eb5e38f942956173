"""What has changed lately, in order: the bounded memory from which watches resume.

An entry is one change of one key. It lives until the ring is full, by number or by the bytes of frames that
were encoded for it; watchers that still have to send it keep it alive a little longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator

from apis.record import Delta, Media, Record

FRAME_OVERHEAD = 200
"""Bytes that a kept frame takes besides its own: a change may have a frame for each of 1,000 nodes."""


class Entry:
    """A change with its version, and the frames made of it: each is encoded once and sent to all."""

    __slots__ = (
        "_history",
        "_size",
        "delta",
        "evicted",
        "frames",
        "key",
        "new",
        "old",
        "old_version",
        "resource",
        "takes_steps",
        "version",
    )

    def __init__(
        self,
        history: History,
        version: int,
        resource: str,
        key: tuple[str, str],
        old: Record | None,
        old_version: int,
        new: Record | None,
        delta: Delta | None,
    ) -> None:
        self.version = version
        self.resource = resource
        self.key = key
        self.old = old
        self.old_version = old_version
        self.new = new
        self.delta = delta
        encode = getattr(delta, "encode_in_steps", None)
        self.takes_steps = encode is not None and encode(Media.PROTOBUF, None, "") is not None
        self.frames: dict[Hashable, bytes] = {}
        self.evicted = False  # whether only watchers keep it
        self._history = history
        self._size = 0

    @property
    def size(self) -> int:
        """About how many bytes whoever keeps it alone keeps alive; as of the first time that it is asked."""
        if not self._size:
            self._size = FRAME_OVERHEAD + sum([len(frame) + FRAME_OVERHEAD for frame in self.frames.values()])
            self._size += getattr(self.delta, "size", 0)
            for record in (self.old, self.new):
                if record is not None:
                    known: int | None = getattr(record, "size", None)
                    self._size += len(record.encode(Media.JSON, None, "")) if known is None else known
        return self._size

    def keep(self, key: Hashable, frame: bytes) -> bytes:
        """Remembers an encoded frame, counted against the ring's bound."""
        self.frames[key] = frame
        self._history.grew(len(frame) + FRAME_OVERHEAD)
        return frame


class History:
    """The ring. ``floor`` is the oldest version from which everything later is still known."""

    def __init__(self, start: int, max_entries: int, max_bytes: int) -> None:
        self.floor = start
        self._entries: deque[Entry] = deque()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > self._max_entries:
            self._evict()

    def grew(self, size: int) -> None:
        self._bytes += size
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            self._evict()

    def _evict(self) -> None:
        entry = self._entries.popleft()
        self.floor = entry.version
        entry.evicted = True
        # Frames encoded after the eviction for late watchers are counted but never subtracted: at worst
        # the ring is a little shorter than it may be until it has turned once.
        self._bytes = max(
            0, self._bytes - sum([len(frame) + FRAME_OVERHEAD for frame in entry.frames.values()])
        )

    def since(self, version: int) -> list[Entry]:
        """The entries later than ``version``, oldest first."""
        newer: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.version <= version:
                break
            newer.append(entry)
        newer.reverse()
        return newer

    def backwards(self, version: int) -> Iterator[Entry]:
        """The entries later than ``version``, newest first: undoing them gives the state at that version."""
        for entry in reversed(self._entries):
            if entry.version <= version:
                return
            yield entry

    def __len__(self) -> int:
        return len(self._entries)
