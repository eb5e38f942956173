"""Conjunction ids that outlive the process, under the rule that each of them stands for.

After a restart a rule finds its id again, so its flows are the same as before and none needs to be sent, and
the ids in the ct labels of living connections keep their meaning. The file is a journal: a line per change,
written before the id is used, rewritten as a whole when much of it is history. Each line begins with its
checksum.

When ids cannot be written, enforcement goes on with them and the file is removed, because what it says may be
wrong from then on; it is written as a whole once that is possible. A start that finds no file, or one with
damage, says so with ``trusted``: then the flows get a new round, and nothing old can be taken for new.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import time
import zlib
from io import FileIO
from pathlib import Path

from agent.pipeline.cookies import write_atomically

log = logging.getLogger(__name__)

FIRST = 2  # 1 is kept for the interception of DNS answers, as upstream does
LAST = 0xFFFFFFFF
_COMPACT_AT = 1024  # lines of history
_RETRY = 5.0  # seconds between attempts to write to a disk that did not take the last one
_MAX_FILE = 256 << 20  # bytes


class ConjunctionIds:
    """Ids by rule. ``path`` None keeps them in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._ids: dict[str, int] = {}
        self._free: collections.deque[int] = collections.deque()  # the longest unused first
        self._next = FIRST
        self._history = 0
        self._file: FileIO | None = None
        self._failed_at: float | None = None  # monotonic; None while the disk takes what it is given
        self._pending: list[str] = []
        self.trusted = True  # all that the last process used is known
        self._load()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, rule_id: str) -> bool:
        return rule_id in self._ids

    def get(self, rule_id: str) -> int:
        """The rule's id; a new one if it has none."""
        number = self._ids.get(rule_id)
        if number is None:
            if self._free:
                number = self._free.popleft()
            elif self._next <= LAST:
                number, self._next = self._next, self._next + 1
            else:
                raise OverflowError(f"all {LAST} conjunction ids are in use")
            self._ids[rule_id] = number
            self._pending.append(f"+{number} {rule_id}")
        return number

    def rule(self, number: int) -> str | None:
        """The rule that an id stands for. Slow: for people and statistics."""
        return next((rule_id for rule_id, used in self._ids.items() if used == number), None)

    def release(self, rule_id: str) -> None:
        """The rule is gone; its id may stand for another rule from now on."""
        number = self._ids.pop(rule_id, None)
        if number is not None:
            self._free.append(number)
            self._pending.append(f"-{number}")
            self._history += 2

    def retain(self, rule_ids: set[str]) -> None:
        """Releases the ids of all rules but these: once the rules of this start are known."""
        for rule_id in [rule_id for rule_id in self._ids if rule_id not in rule_ids]:
            self.release(rule_id)

    def save(self) -> None:
        """Writes what has changed. Call it before flows with new ids are sent."""
        if self._path is None:
            self._pending.clear()
            return
        if self._failed_at is not None:
            self._pending.clear()  # the next attempt writes everything
            if time.monotonic() - self._failed_at >= _RETRY:
                self._write_again()
            return
        if not self._pending:
            return
        try:
            if self._history > _COMPACT_AT + len(self._ids):
                self._rewrite()
                return
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            data = "".join(map(_sealed, self._pending)).encode()
            if self._file.write(data) != len(data):
                raise OSError("only a part could be written")
            self._pending.clear()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        self.save()
        if self._failed_at is not None:
            self._write_again()
        self._close_file()

    def _give_up(self, error: OSError) -> None:
        """What is on the disk is behind: a next process must not go by it."""
        assert self._path is not None
        self._failed_at = time.monotonic()
        self._close_file()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        log.error(
            "conjunction ids cannot be written to %s (%s): going on with them; a restart before they can be "
            "will send all flows again",
            self._path,
            error,
        )

    def _write_again(self) -> None:
        self._failed_at = time.monotonic()
        try:
            self._rewrite()
        except OSError as error:
            log.debug("conjunction ids still cannot be written to %s: %s", self._path, error)
            return
        self._failed_at = None
        log.warning("conjunction ids can be written to %s again", self._path)

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _rewrite(self) -> None:
        assert self._path is not None
        self._close_file()
        content = "".join(_sealed(f"+{number} {rule_id}") for rule_id, number in self._ids.items())
        write_atomically(self._path, content.encode())
        self._history = 0
        self._pending.clear()

    def _load(self) -> None:
        """Reads the journal. What cannot be read, such as a last line cut short, is left out."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_FILE)
        except FileNotFoundError:
            self.trusted = False
            self._begin()
            return
        except OSError as error:
            self.trusted = False
            log.warning("cannot read %s (%s): rules get new conjunction ids", self._path, error)
            self._begin()
            return
        rules: dict[int, str] = {}
        lines = data.split(b"\n")
        unread = 1 if lines.pop() else 0  # behind the last newline
        for line in lines:
            try:
                _replay(line, rules)
            except (ValueError, KeyError):
                unread += 1
        if unread:
            self.trusted = False
            log.warning(
                "%s: %d lines cannot be read; their rules get new conjunction ids", self._path, unread
            )
        for value, rule_id in rules.items():
            self._ids.setdefault(rule_id, value)
        used = set(self._ids.values())
        self._next = max(used, default=FIRST - 1) + 1
        if self._next - FIRST - len(used) <= 1 << 20:
            self._free.extend(value for value in range(FIRST, self._next) if value not in used)
        if unread:
            self._begin()

    def _begin(self) -> None:
        """A file that can be trusted from now on, be it empty."""
        try:
            self._rewrite()
        except OSError as error:
            self._give_up(error)


def _sealed(change: str) -> str:
    return f"{zlib.crc32(change.encode()):08x} {change}\n"


def _replay(line: bytes, rules: dict[int, str]) -> None:
    """One change of the journal. Raises ValueError and KeyError."""
    seal, _, change = line.decode().partition(" ")
    if f"{zlib.crc32(change.encode()):08x}" != seal:
        raise ValueError("the checksum is wrong")
    number, _, rule_id = change[1:].partition(" ")
    value = int(number)
    if change[:1] == "+" and rule_id and FIRST <= value <= LAST:
        rules[value] = rule_id
    elif change[:1] == "-":
        del rules[value]
    else:
        raise ValueError("it is no change")
