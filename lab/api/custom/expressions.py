"""CEL, asked of a process of its own (see `worker`), which is started when the first rule has to be read."""

from __future__ import annotations

import atexit
import select
import subprocess
import sys
import threading
from typing import Any, NamedTuple

import msgspec

_PATIENCE = 15.0  # seconds of real time; the worker's processor time is bounded by itself
_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """One rule and the values of its variables."""

    rule: str
    message_expression: str
    values: dict[str, Any]


class Verdict(NamedTuple):
    """True, False, or why the rule could not be evaluated; the text of the message expression, if any."""

    result: bool | str
    message: str | None


class BudgetError(Exception):
    """The rules took more time or memory than they may. Nothing is known of any of them."""


class Expressions:
    """Asks one worker at a time; threads wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def compile(self, rules: list[str]) -> list[str | None]:
        """For each rule why it cannot be read, or None."""
        found: list[str | None] = self._ask({"compile": rules})
        return found

    def evaluate(self, asked: list[Asked]) -> list[Verdict]:
        """Raises BudgetError."""
        return [Verdict(*answer) for answer in self._ask({"evaluate": asked})]

    def _ask(self, request: dict[str, Any]) -> Any:
        line = _encode(request) + b"\n"
        with self._lock:
            worker = self._running()
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                worker.stdin.write(line)
                worker.stdin.flush()
                ready, _, _ = select.select([worker.stdout], [], [], _PATIENCE)
                answer = worker.stdout.readline() if ready else b""
            except OSError:
                answer = b""
            if not answer.endswith(b"\n"):
                self._end()
                raise BudgetError
        return msgspec.json.decode(answer)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            command = [sys.executable, "-m", "lab.api.custom.worker"]
            self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            for pipe in (worker.stdin, worker.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    pass  # what it had not read yet
            worker.kill()
            worker.wait()

    def close(self) -> None:
        with self._lock:
            self._end()


ENGINE = Expressions()
atexit.register(ENGINE.close)
