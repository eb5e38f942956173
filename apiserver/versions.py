"""The resourceVersions of a process.

One counter serves all stores, so that a version is a point in the history of everything. The start of the
process stands in the high bits: a version of an earlier process can be told from one of this, and versions
never go backwards over a restart. Below 2^63, because client-go parses them as signed here and there.
"""

from __future__ import annotations

import time

COUNTER_BITS = 26
"""67 million changes until the counter runs into the epoch; then the epoch grows, and order still holds."""

EPOCHS_PER_SECOND = 32
"""37 bits of epoch last until the year 2106; two starts within 31 ms would share one."""


class Versions:
    """Hands out versions. Not shared between threads."""

    def __init__(self, epoch: int | None = None) -> None:
        if epoch is None:
            epoch = int(time.time() * EPOCHS_PER_SECOND)
        self.base = epoch << COUNTER_BITS
        self.current = self.base

    def next(self) -> int:
        self.current += 1
        return self.current

    def owns(self, version: int) -> bool:
        """Whether this process has handed out the version (or started with it)."""
        return self.base <= version <= self.current


def parse_version(text: str) -> int | None:
    """The number in a resourceVersion, 0 for none, or None for something that is no version."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    return int(text)
