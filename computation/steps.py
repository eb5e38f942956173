"""Long work in short pieces: how the graph lets its caller pause.

What may take long (a group of 100,000 pods, a selector over 25,000 namespaces) is written as a generator that
yields None after every `STEP` elementary pieces of work. The graph knows no clock: whoever runs it looks at
one at each pause. What is short is not written so, because generators cost more than the work itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

# Elementary pieces (a pod, a label set, a namespace, a policy) in one step: 1 to 2 ms of work.
STEP = 1024


def chunks(things: Iterable[T]) -> Iterator[list[T]]:
    """``things`` in lists of one step each."""
    iterator = iter(things)
    while part := list(islice(iterator, STEP)):
        yield part


class Work:
    """Counts pieces of work over many short loops: ``if work.done(n): yield``."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def done(self, pieces: int = 1) -> bool:
        """Whether a step is full; then the next one begins."""
        self._count += pieces
        if self._count < STEP:
            return False
        self._count = 0
        return True
