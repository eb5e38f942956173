"""Conjunction ids that outlive the process, under the rule that each of them stands for.

After a restart a rule finds its id again, so its flows are the same as before and none needs to be sent, and
the ids in the ct labels of living connections keep their meaning. The file is a journal: a line per change,
written before the id is used, rewritten as a whole when much of it is history.
"""

from __future__ import annotations

import collections
import logging
from pathlib import Path
from typing import BinaryIO

from agent.pipeline.cookies import write_atomically

log = logging.getLogger(__name__)

FIRST = 2  # 1 is kept for the interception of DNS answers, as upstream does
LAST = 0xFFFFFFFF
_COMPACT_AT = 1024  # lines of history


class ConjunctionIds:
    """Ids by rule. ``path`` None keeps them in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._ids: dict[str, int] = {}
        self._free: collections.deque[int] = collections.deque()  # the longest unused first
        self._next = FIRST
        self._history = 0
        self._file: BinaryIO | None = None
        self._pending: list[str] = []
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
            self._pending.append(f"+{number} {rule_id}\n")
        return number

    def rule(self, number: int) -> str | None:
        """The rule that an id stands for. Slow: for people and statistics."""
        return next((rule_id for rule_id, used in self._ids.items() if used == number), None)

    def release(self, rule_id: str) -> None:
        """The rule is gone; its id may stand for another rule from now on."""
        number = self._ids.pop(rule_id, None)
        if number is not None:
            self._free.append(number)
            self._pending.append(f"-{number}\n")
            self._history += 2

    def retain(self, rule_ids: set[str]) -> None:
        """Releases the ids of all rules but these: once the rules of this start are known."""
        for rule_id in [rule_id for rule_id in self._ids if rule_id not in rule_ids]:
            self.release(rule_id)

    def save(self) -> None:
        """Writes what has changed. Call it before flows with new ids are sent."""
        if not self._pending:
            return
        lines, self._pending = self._pending, []
        if self._path is None:
            return
        try:
            if self._history > _COMPACT_AT + len(self._ids):
                self._rewrite()
                return
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
            self._file.write("".join(lines).encode())
            self._file.flush()
        except OSError as error:
            log.error(
                "conjunction ids cannot be written to %s (%s): a restart will send flows again",
                self._path,
                error,
            )

    def close(self) -> None:
        self.save()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self) -> None:
        assert self._path is not None
        if self._file is not None:
            self._file.close()
            self._file = None
        content = "".join(f"+{number} {rule_id}\n" for rule_id, number in self._ids.items())
        write_atomically(self._path, content.encode())
        self._history = 0

    def _load(self) -> None:
        """Reads the journal. A line that cannot be read, such as a last one cut short, is left out."""
        if self._path is None:
            return
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("cannot read %s (%s): rules get new conjunction ids", self._path, error)
            return
        rules: dict[int, str] = {}
        unread = 0
        for line in data.decode(errors="replace").splitlines():
            sign, number, rule_id = line[:1], *line[1:].partition(" ")[::2]
            try:
                value = int(number)
                if sign == "+" and rule_id and FIRST <= value <= LAST:
                    rules[value] = rule_id
                elif sign == "-":
                    del rules[value]
                else:
                    unread += 1
            except (ValueError, KeyError):
                unread += 1
        if unread:
            log.warning(
                "%s: %d lines cannot be read; their rules get new conjunction ids", self._path, unread
            )
        for value, rule_id in rules.items():
            self._ids.setdefault(rule_id, value)
        used = set(self._ids.values())
        self._next = max(used, default=FIRST - 1) + 1
        if self._next - FIRST - len(used) <= 1 << 20:
            self._free.extend(value for value in range(FIRST, self._next) if value not in used)
        if unread or (data and not data.endswith(b"\n")):
            try:
                self._rewrite()
            except OSError as error:
                log.warning("cannot rewrite %s: %s", self._path, error)
