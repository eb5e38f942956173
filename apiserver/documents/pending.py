"""A client's write, step by step: large objects in another thread, and waiting for those who review it.

kube-apiserver does the same: what a write was made from is compared when it is stored, and if somebody was
faster it is made again from what is there now, reviewers included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from apiserver import errors
from apiserver.documents.operation import Result, Reviewer
from apiserver.documents.refusals import info_for
from apiserver.documents.writes import Deletion, Outrun, Write
from apiserver.resources import Object

LARGE = 64 * 1024
"""From this many bytes on, working on an object takes longer than a step of the event loop may."""

_ATTEMPTS = 16
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Forms(Protocol):
    """Converts between a version's form and the one that is kept; may ask another program."""

    async def shown(self, document: Object) -> Object: ...

    async def kept(self, document: Object) -> Object: ...


async def off_loop(size: int, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Does pure work at once, or in a thread when the object is large."""
    if size < LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def carry_out(write: Write, reviewer: Reviewer | None, size: int, forms: Forms | None = None) -> Result:
    """Takes all steps of the write; ``size`` are the bytes of the request. Raises StatusError."""
    for _ in range(_ATTEMPTS):
        write.begin()
        try:
            return await _attempt(write, reviewer, max(size, write.size), forms)
        except Outrun:
            write.operation.warnings.clear()
    raise errors.modified_conflict(info_for(write.kind), write.operation.name)


async def _attempt(write: Write, reviewer: Reviewer | None, size: int, forms: Forms | None) -> Result:
    kind, operation = write.kind, write.operation
    if forms is not None and operation.old is not None:
        operation.old = await forms.shown(operation.old)
    await off_loop(size, write.change)
    write.admit()
    reviewed = reviewer is not None and reviewer.concerned(kind, operation)
    if reviewer is not None and reviewed and await reviewer.mutate(kind, operation):
        await off_loop(size, write.remake)
        write.admit()
    if size < LARGE and kind.checks_slowly and operation.new is not None:
        await asyncio.to_thread(write.check)
    else:
        await off_loop(size, write.check)
    if reviewer is not None and reviewed:
        await reviewer.validate(kind, operation)
        write.admit()  # what it looks at may have changed meanwhile
    if forms is not None and operation.new is not None and not isinstance(write, Deletion):
        write.kept = await forms.kept(operation.new)
    return write.commit()
