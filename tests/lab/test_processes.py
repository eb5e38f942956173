"""Processes of a lab are found and ended by their token, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lab import processes
from lab.directory import new_token

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(token: str, argv: list[str] = SLEEP) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(argv, env={**os.environ, processes.TOKEN_VARIABLE: token})
    deadline = time.monotonic() + 10
    while not processes.carries(process.pid, token) and time.monotonic() < deadline:
        time.sleep(0.005)  # between fork and exec the environment is still the test's own
    return process


@pytest.fixture
def token() -> Iterator[str]:
    value = new_token()
    yield value
    processes.end_all(value)


def test_only_the_labs_own_processes_are_found_and_ended(token: str) -> None:
    ours, theirs = start(token), start(new_token())
    try:
        assert [found.pid for found in processes.of_lab(token)] == [ours.pid]
        ended = processes.end_all(token)
        assert [found.pid for found in ended] == [ours.pid]
        assert ours.wait(timeout=5) == -9
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()


def test_children_carry_the_token_too(token: str) -> None:
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    parent = start(token, [sys.executable, "-c", script + "; import time; time.sleep(60)"])
    deadline = time.monotonic() + 10
    while len(list(processes.of_lab(token))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()  # as when a supervisor is killed: the child is nobody's now
    parent.wait()
    assert len(list(processes.of_lab(token))) == 1
    processes.end_all(token)
    assert list(processes.of_lab(token)) == []


def test_a_process_that_ends_on_sigterm_gets_its_time(token: str) -> None:
    script = """
import signal, sys, time
signal.signal(15, lambda *_: (time.sleep(0.2), sys.exit(7)))
print("on", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, processes.TOKEN_VARIABLE: token},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    processes.end_all(token, grace=5.0)
    assert process.wait(timeout=5) == 7


def test_this_process_and_its_ancestors_are_spared() -> None:
    assert {os.getpid(), os.getppid()} <= processes.ancestors()


def test_start_time_tells_a_process_from_its_successor() -> None:
    assert processes.start_time(os.getpid()) > 0
    assert processes.start_time(2**22 + 1) == 0
