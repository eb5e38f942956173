"""Source ports that no probe has used lately, also not a probe of another process.

Connection tracking keeps a flow for seconds to minutes after it ended, and what it knows passes without
asking any policy. A probe must therefore come from a port that was not used for a while. Ports are taken
in blocks from a counter in a file that all probers of a lab share; within its blocks each prober counts
per source, since two pods may use the same number at the same time.
"""

from __future__ import annotations

import fcntl
import os
import random
from pathlib import Path

FIRST, LAST = 20_000, 60_000
BLOCK = 250


class SourcePorts:
    """``path`` is the shared counter's file; without one the sequence starts anywhere."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._blocks: list[int] = []  # first port of each block that is ours
        self._used: dict[str, int] = {}  # source → how many ports it has had
        self._next = random.randrange(FIRST, LAST, BLOCK)

    def take(self, source: str) -> int:
        count = self._used.get(source, 0)
        self._used[source] = count + 1
        block, offset = divmod(count, BLOCK)
        while len(self._blocks) <= block:
            self._blocks.append(self._reserve())
        return self._blocks[block] + offset

    def _reserve(self) -> int:
        if self._path is None:
            start = self._next
            self._next = _after(start)
            return start
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            text = os.read(descriptor, 16)
            start = int(text) if text.strip().isdigit() else FIRST
            os.pwrite(descriptor, b"%-8d" % _after(start), 0)
            return start
        finally:
            os.close(descriptor)


def _after(start: int) -> int:
    return start + BLOCK if start + 2 * BLOCK <= LAST else FIRST
