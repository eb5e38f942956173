"""The objects on disk: a snapshot and a journal of what came after it.

Every change is appended to the journal with one write before its writer gets an answer; the kernel has it
then, so a killed process loses nothing that it has acknowledged (a crash of the machine may cost the last
seconds). A line that was cut off is ignored. When the journal has grown past the state by a good deal, a new
snapshot is written beside it in a thread; documents are immutable, so nothing has to stop meanwhile.

    snapshot-N     one object a line: {"r": resource, "v": version, "o": document}
    journal-N      one change a line: the same, or {"r":…, "v":…, "k": [namespace, name]} for a removal

Both have a number: a snapshot N is complete once it is there, and journals N and later apply to it.

When the disk is full (or fails) a change that cannot be appended is refused, its writer told, and nothing
has happened; what is there is still read. The next change tries again: writing goes on once there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import re
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from apiserver.errors import StatusError, internal

_log = logging.getLogger(__name__)
_COMPACT_AGAIN = 30.0  # seconds after a compaction that failed
_COMPACT_FROM = 32 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
_NAME = re.compile(r"^(snapshot|journal)-(\d+)$")


class Line(msgspec.Struct, omit_defaults=True):
    r: str
    v: int
    o: dict[str, Any] | None = None
    k: tuple[str, str] | None = None


class UnwrittenError(StatusError):
    """A change that the disk did not take. Nothing has happened; later it may be taken."""

    def __init__(self, folder: pathlib.Path, error: OSError) -> None:
        why = (
            f"the change could not be written to {folder} ({error.strerror}), so it has not been made: "
            "free some space there and try again"
        )
        refused = internal(why)
        super().__init__(refused.code, refused.reason, refused.message, refused.details)


class Entry(NamedTuple):
    resource: str
    version: int
    document: dict[str, Any]


_decoder = msgspec.json.Decoder(Line)


class Journal:
    """``load`` first, then ``begin``, then ``record`` for every change."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = -1
        self._number = 0
        self._size = 0
        self._base = 0  # bytes of the snapshot
        self._compacting: asyncio.Task[None] | None = None
        self._compact_after = 0.0  # a moment of the monotonic clock
        self.problem = ""  # why the last change could not be written

    # --- reading ---

    def _numbers(self, kind: str) -> list[int]:
        found = (_NAME.match(path.name) for path in self._folder.iterdir())
        return sorted(int(match[2]) for match in found if match is not None and match[1] == kind)

    def load(self) -> tuple[list[Entry], int]:
        """The objects, and the highest version that was ever given out."""
        snapshots, journals = self._numbers("snapshot"), self._numbers("journal")
        first = snapshots[-1] if snapshots else 0
        state: dict[tuple[str, str, str], Entry] = {}
        highest = 0
        paths = [self._folder / f"snapshot-{first}"] if snapshots else []
        paths += [self._folder / f"journal-{number}" for number in journals if number >= first]
        for path in paths:
            for line in self._lines(path):
                highest = max(highest, line.v)
                if line.o is not None:
                    metadata = line.o["metadata"]
                    key = (line.r, metadata.get("namespace", ""), metadata["name"])
                    state[key] = Entry(line.r, line.v, line.o)
                elif line.k is not None:
                    state.pop((line.r, *line.k), None)
        self._number = max([*snapshots, *journals, 0])
        return list(state.values()), highest

    @staticmethod
    def _lines(path: pathlib.Path) -> Iterable[Line]:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    _log.warning("the last line of %s was cut off and is ignored", path)
                    return
                try:
                    yield _decoder.decode(raw)
                except (msgspec.MsgspecError, KeyError) as error:
                    _log.warning("line %d of %s is damaged and is skipped: %s", number, path, error)

    # --- writing ---

    def begin(self, entries: Iterable[Entry]) -> None:
        """Starts a new generation with the state as its snapshot."""
        try:
            self._write_snapshot(self._number + 1, entries)
        except OSError as error:
            # What there was is still there, and journals that follow apply to it.
            _log.error("no snapshot could be written to %s: %s", self._folder, error.strerror)
            self._open(self._number + 1)
            return
        self._open(self._number + 1)
        self._remove_older(self._number)

    def _open(self, number: int) -> None:
        """Turns to a new journal. Raises OSError, and then goes on with the one it has."""
        path = self._folder / f"journal-{number}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._number, self._size = descriptor, number, 0

    def _write_snapshot(self, number: int, entries: Iterable[Entry]) -> None:
        path = self._folder / f"snapshot-{number}"
        temporary = path.with_name(path.name + ".new")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for entry in entries:
                    file.write(_encode(Line(entry.resource, entry.version, entry.document)) + b"\n")
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._base = path.stat().st_size

    def _remove_older(self, number: int) -> None:
        for kind in ("snapshot", "journal"):
            for old in self._numbers(kind):
                if old < number:
                    (self._folder / f"{kind}-{old}").unlink(missing_ok=True)
        for path in self._folder.glob("*.new"):
            path.unlink(missing_ok=True)

    def record(
        self, resource: str, namespace: str, name: str, document: dict[str, Any] | None, version: int
    ) -> None:
        """Appends one change. Raises UnwrittenError, and then nothing of it is there."""
        key = (namespace, name) if document is None else None
        data = _encode(Line(resource, version, document, key)) + b"\n"
        try:
            if self.problem:
                os.ftruncate(self._descriptor, self._size)  # else the next line would be joined to a part
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._failed(error)
            raise UnwrittenError(self._folder, error) from None
        self._size += len(data)
        if self.problem:
            _log.warning("changes are written to %s again", self._folder)
            self.problem = ""

    def _failed(self, error: OSError) -> None:
        if not self.problem:
            _log.error("changes cannot be written to %s and are refused: %s", self._folder, error.strerror)
        self.problem = f"changes cannot be written to {self._folder}: {error.strerror}"
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            pass  # tried again before the next change

    @property
    def wants_compaction(self) -> bool:
        running = self._compacting is not None and not self._compacting.done()
        large = self._size > max(_COMPACT_FROM, 2 * self._base)
        return large and not running and time.monotonic() >= self._compact_after

    def compact(self, entries: list[Entry]) -> None:
        """Begins a new journal now, and writes the state as its snapshot in a thread."""
        number = self._number + 1
        try:
            self._open(number)
        except OSError as error:
            self._not_compacted(error)
            return
        self._compacting = asyncio.create_task(self._compact(number, entries), name="journal-compaction")

    async def _compact(self, number: int, entries: list[Entry]) -> None:
        try:
            await asyncio.to_thread(self._write_snapshot, number, entries)
            await asyncio.to_thread(self._remove_older, number)
        except OSError as error:
            self._not_compacted(error)

    def _not_compacted(self, error: OSError) -> None:
        """The older snapshot and all journals after it stay, and say the same."""
        self._compact_after = time.monotonic() + _COMPACT_AGAIN
        _log.error("the journal in %s could not be compacted: %s", self._folder, error.strerror)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
