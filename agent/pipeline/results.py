"""What a commit did, and what may go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass


class ProgrammerError(Exception):
    """What is wanted could not be brought into the switch for now; it stays wanted."""


@dataclass(frozen=True, slots=True)
class FlowFailure:
    """A flow (or group) that the switch refuses, who wants it, and why. All others went on."""

    flow: str
    owners: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{' and '.join(self.owners) or 'nobody'}: the switch refuses{self.flow}: {self.reason}"


@dataclass(frozen=True, slots=True)
class CommitResult:
    """How many mods a commit sent, and what the switch refused. ``deferred``: before the first
    synchronize."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    groups: int = 0
    meters: int = 0
    failures: tuple[FlowFailure, ...] = ()
    deferred: bool = False

    @property
    def total(self) -> int:
        return self.added + self.modified + self.deleted + self.groups + self.meters
