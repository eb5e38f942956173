"""One supervised process: started in the foreground, watched through a pidfd, started again at once.

The pidfd fires when the last thread is gone and the pid file's lock is free; the zombie state in /proc
comes up to 60 ms earlier, and an Open vSwitch daemon that is started then gives up ("already running").
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# A process that lived at least this long has not died in a loop: it is started again at once.
STABLE_AFTER = 2.0
BACKOFF_FIRST = 0.2
BACKOFF_MAX = 10.0
STOP_GRACE = 5.0
LOG_LIMIT = 20_000_000  # bytes; a longer log is moved aside at the next start


@dataclass(frozen=True)
class ProcessSpec:
    """What to run. ``netns`` is the path of a network namespace; the process starts inside it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    netns: Path | None = None
    pass_fds: tuple[int, ...] = ()

    def command(self) -> list[str]:
        # nsenter replaces itself with the command: the pid is the child's own.
        prefix = ["nsenter", f"--net={self.netns}", "--"] if self.netns else []
        return [*prefix, *self.argv]


class Child:
    """Keeps one process running until told to stop."""

    def __init__(self, spec: ProcessSpec, base_env: Mapping[str, str]) -> None:
        self.spec = spec
        self._base_env = base_env
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._wanted = False
        self._started_at = 0.0
        self._failures = 0  # deaths in a row that came too soon
        self._retry: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self.starts = 0
        self.last_exit = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def uptime(self) -> float:
        return time.monotonic() - self._started_at if self._process else 0.0

    @property
    def state(self) -> str:
        if self._process:
            return "running"
        if self._retry:
            return "back-off"
        return "stopped"

    def start(self) -> None:
        """Start now, unless it runs already."""
        self._wanted = True
        if self._process is None:
            self._cancel_retry()
            self._spawn()

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """SIGTERM, and SIGKILL after ``grace`` seconds; returns when the process is gone."""
        self._wanted = False
        self._cancel_retry()
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._gone.wait(), grace)
        except TimeoutError:
            _say(f"{self.spec.name} did not end within {grace:g} s of SIGTERM and is killed")
            self.signal(signal.SIGKILL)
            await self._gone.wait()

    def signal(self, signum: int) -> None:
        """Send a signal to the running process; it is started again when that ends it."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def _spawn(self) -> None:
        self._retry = None
        _rotate(self.spec.log)
        log = os.open(self.spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(  # the fork takes about a millisecond; exec is awaited
                self.spec.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._base_env, **self.spec.env},
                pass_fds=self.spec.pass_fds,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            self.last_exit = str(error)
            _say(f"{self.spec.name} cannot be started: {error}")
            self._schedule(too_soon=True)
            return
        finally:
            os.close(log)
        self._started_at = time.monotonic()
        self.starts += 1
        self._gone.clear()
        self._pidfd = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._died)

    def _died(self) -> None:
        assert self._process is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        code = self._process.wait()  # the pidfd has fired: returns at once
        lived = self.uptime
        self._process = None
        self._gone.set()
        self.last_exit = _describe(code)
        if not self._wanted:
            return
        _say(f"{self.spec.name} ended with {self.last_exit} after {lived:.1f} s; starting it again")
        self._schedule(too_soon=lived < STABLE_AFTER)

    def _schedule(self, too_soon: bool) -> None:
        # The first early death may be somebody's single kill: only from the second on there is a delay.
        self._failures = self._failures + 1 if too_soon else 0
        delay = 0.0
        if self._failures > 1:
            delay = min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** (self._failures - 2)) * random.uniform(0.75, 1.25)
        self._retry = asyncio.get_running_loop().call_later(delay, self._spawn)

    def _cancel_retry(self) -> None:
        if self._retry:
            self._retry.cancel()
            self._retry = None


def _describe(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            os.replace(log, log.with_suffix(log.suffix + ".1"))


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
