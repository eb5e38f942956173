"""A Linux kernel of the tests' own, in which Open vSwitch has its kernel datapath: user-mode Linux.

It runs as an ordinary process (kernel.py says where it comes from). It sees the host's files, but what it
writes stays in its memory (see ``init``); tests run in it with the interpreter and the checkout of the pytest
that starts it, and report through one directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kernel import kernel

CHECKOUT = Path(__file__).resolve().parents[2]
INSIDE = "ANTREA_KERNEL_GUEST"  # in the environment of what runs in the guest
MEMORY = "2G"
TIME_LIMIT = 600.0  # seconds for all of a guest's life
GRACE = 5.0

Report = dict[str, Any]  # nodeid, outcome (passed, failed, skipped), text, seconds


class GuestError(Exception):
    """The guest did not come up, ended too early or took too long; the text has the end of its console."""


class DidNotBoot(GuestError):
    """No test was reached: this machine's processor or its sandbox does not carry user-mode Linux."""


def is_inside() -> bool:
    return INSIDE in os.environ


def why_not() -> str | None:
    """Why this machine cannot run the kernel tier; None if it can."""
    if is_inside():
        return None
    if os.geteuid() != 0:
        return "the kernel tier's guest reads the host's files as root: run `make test` as root"
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        return "the kernel tier runs user-mode Linux, which is for Linux on x86-64"
    return None if kernel.find() else kernel.why_not_buildable()


class Guest:
    """``directory`` is empty and the guest's alone; it keeps the console and the reports afterwards."""

    def __init__(self, directory: Path, tests: Sequence[str]) -> None:
        self.directory = directory
        self._reports: dict[str, Report] = {}
        self._read = 0  # bytes of the report file
        self._began = time.monotonic()
        (directory / "tests.json").write_text(json.dumps(list(tests)))
        self._process = self._boot()

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    def _boot(self) -> subprocess.Popen[bytes]:
        environment = {
            "GUEST_DIRECTORY": str(self.directory),
            "GUEST_CHECKOUT": str(CHECKOUT),
            "GUEST_PYTHON": sys.executable,
            "GUEST_SECONDS": str(int(TIME_LIMIT) + 30),
            INSIDE: "1",
            **{key: os.environ[key] for key in ("PYTHONPATH", "ANTREA_SEED", "CI") if key in os.environ},
        }
        init = self.directory / "init"
        exports = [f"export {key}={shlex.quote(value)}" for key, value in environment.items()]
        program = shlex.quote(str(Path(__file__).with_name("init")))
        init.write_text("\n".join(["#!/bin/sh", *exports, f"exec /bin/sh {program}", ""]))
        init.chmod(0o700)
        command = [
            str(kernel.build()), f"mem={MEMORY}", "root=none", "rootfstype=hostfs", "rootflags=/", "ro",
            f"init={init}", "quiet", "con=null", "con0=null,fd:1", f"uml_dir={self.directory}", "umid=guest",
        ]  # fmt: skip
        with open(self.console, "wb") as console:
            return subprocess.Popen(
                command,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.directory),
                    "LD_PRELOAD": str(kernel.library()),
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def wait_for(self, test: str) -> Report:
        """The report of a test, as soon as it is there. Raises GuestError."""
        while True:
            ended = self._process.poll() is not None
            self._read_reports()
            if test in self._reports:
                return self._reports[test]
            if ended:
                # What runs the tests writes its log first; without one the kernel did not get that far.
                kind = GuestError if (self.directory / "pytest.log").exists() else DidNotBoot
                raise kind(f"the guest ended without a report of {test}\n{self.last_words()}")
            if time.monotonic() > self._began + TIME_LIMIT:
                self.end(grace=0.1)
                raise GuestError(f"the guest was ended after {TIME_LIMIT:g} s\n{self.last_words()}")
            time.sleep(0.05)

    def _read_reports(self) -> None:
        with contextlib.suppress(FileNotFoundError), open(self.directory / "reports.jsonl", "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                report = json.loads(line)
                self._reports[report["nodeid"]] = report

    def last_words(self, lines: int = 40) -> str:
        parts = []
        for path in (self.console, self.directory / "pytest.log"):
            with contextlib.suppress(FileNotFoundError):
                text = path.read_text(errors="replace").splitlines()[-lines:]
                parts.append("\n".join([f"--- the end of {path}", *text]))
        return "\n".join(parts)

    def end(self, grace: float = GRACE) -> None:
        """Wait ``grace`` seconds for the guest to switch itself off, then end its processes."""
        for signum in (None, signal.SIGTERM, signal.SIGKILL):
            if signum is not None and self._process.poll() is None:
                self._process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
                break
        # The guest's processes are children of the kernel's, in its process group, which nobody else is in.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
