"""Owned tasks, back-off, and the frame of a process."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import log, metrics
from runtime.backoff import Backoff
from runtime.tasks import OnCrash, Supervisor

PROJECT = Path(__file__).parents[2]


async def test_a_crashed_task_is_reported_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, runs = Supervisor("part"), 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("not yet")
        done.set()

    before = metrics.REGISTRY.get_sample_value("antrea_task_crashes_total", {"task": "part/work"}) or 0
    supervisor.start("work", work, OnCrash.RESTART, Backoff(initial=0.001))
    await asyncio.wait_for(done.wait(), 5)
    await supervisor.close()
    assert runs == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "part/work" in caplog.text
    after = metrics.REGISTRY.get_sample_value("antrea_task_crashes_total", {"task": "part/work"})
    assert after == before + 2
    assert supervisor.failed is None


async def test_a_task_that_the_process_needs_ends_it() -> None:
    supervisor = Supervisor()
    child = supervisor.child("part")

    async def work() -> None:
        raise ValueError("broken")

    child.start("work", work, OnCrash.END)
    await asyncio.wait_for(supervisor.wait_for_stop(), 5)
    await supervisor.close()
    assert isinstance(supervisor.failed, ValueError)


async def test_closing_cancels_tasks_and_runs_closers_last_first() -> None:
    supervisor, order = Supervisor(), []

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            order.append("cancelled")

    async def closer(name: str) -> None:
        order.append(name)

    async def hangs() -> None:
        await asyncio.sleep(3600)

    async def fails() -> None:
        raise OSError("gone")

    supervisor.start("a", forever)
    supervisor.on_close("first", lambda: closer("first"))
    supervisor.on_close("hangs", hangs)
    supervisor.on_close("fails", fails)
    supervisor.on_close("last", lambda: closer("last"))
    await asyncio.sleep(0)
    started = time.monotonic()
    await supervisor.close(grace=0.5)
    assert order == ["cancelled", "last", "first"]
    assert time.monotonic() - started < 3
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@given(st.floats(0.01, 5), st.floats(1.1, 4), st.floats(0, 1))
def test_back_off_grows_within_its_bounds(initial: float, factor: float, jitter: float) -> None:
    backoff = Backoff(initial, 10, factor, jitter)
    previous = initial
    for _ in range(20):
        delay = backoff.next()
        assert previous * (1 - jitter) * 0.999 <= delay <= previous * 1.001
        previous = min(10, previous * factor)
    backoff.reset()
    assert backoff.next() <= initial


def test_verbosity_opens_levels(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log.setup(2)
        logger = log.get("part")
        for n in range(4):
            logger.log(log.V(n), "line %d", n)
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(" ", 2)[2] for line in lines] == [
            "INFO part: line 0", "V(1) part: line 1", "V(2) part: line 2",
        ]  # fmt: skip
        with pytest.raises(ValueError, match="negative"):
            log.set_verbosity(-1)
        assert log.verbosity() == 2
    finally:
        root.handlers[:] = handlers
        log.set_verbosity(0)
        root.setLevel(level)


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {project!r})
from runtime import log, process
from runtime.errors import ConfigurationError
from runtime.tasks import OnCrash

async def serve(supervisor):
    if {what!r} == "refuse":
        raise ConfigurationError("The key x in f.conf is wrong: correct it.")
    async def crash():
        raise ValueError("oh")
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
    if {what!r} == "crash":
        supervisor.start("t", crash, OnCrash.END)
    if {what!r} == "stubborn":
        supervisor.start("t", stubborn)
    print("up", flush=True)

log.setup()
sys.exit(process.run("p", serve))
"""


def start(what: str) -> subprocess.Popen[str]:
    program = PROGRAM.format(project=str(PROJECT), what=what)
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("what", ["serve", "stubborn"])
def test_sigterm_ends_a_process_within_five_seconds(what: str) -> None:
    process = start(what)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 0, stderr
    assert time.monotonic() - started < 5


def test_a_refused_configuration_is_one_sentence_and_status_one() -> None:
    process = start("refuse")
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "p: The key x in f.conf is wrong: correct it." in stderr
    assert "Traceback" not in stderr


def test_a_crash_of_what_is_needed_is_status_one() -> None:
    process = start("crash")
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "ValueError: oh" in stderr
