"""One write: on whose behalf it happens, what becomes of it, and names that the server makes up."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from apiserver.documents.kind import Kind
from apiserver.resources import Object

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no lookalikes: generated names spell nothing


@dataclass(slots=True)
class Operation:
    """What admission sees and may change: `new` in place."""

    verb: str  # create, update or delete
    namespace: str
    name: str
    new: Object | None
    old: Object | None
    subresource: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    uid: str = ""  # of the user
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of the user
    options: Object = field(default_factory=dict)  # CreateOptions and the like, as the writer gave them


class Result(NamedTuple):
    """An object after a write, and its version; 0: it was not stored."""

    document: Object
    version: int


Admission = Callable[[Kind, Operation], None]
"""A rule about a write that needs other objects, or the writer. Raises StatusError to refuse."""


class Reviewer(Protocol):
    """Admission that is asked of others and takes its time. Only what clients write is reviewed."""

    def concerned(self, kind: Kind, operation: Operation) -> bool:
        """Whether there is anybody to ask; if not, the write does not wait."""

    async def mutate(self, kind: Kind, operation: Operation) -> bool:
        """Lets others change ``operation.new``; whether they did. Raises StatusError to refuse."""

    async def validate(self, kind: Kind, operation: Operation) -> None:
        """Lets others refuse the checked write. Raises StatusError."""


Observer = Callable[[Kind, Object | None, Object | None], None]
"""Told of each change after it has been published: the kind, the old and the new object."""


def generate_name(prefix: str) -> str:
    """The prefix and five characters, in 63 at most."""
    return prefix[:58] + "".join(random.choices(_SUFFIX, k=5))
