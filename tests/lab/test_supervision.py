"""A supervised process is started again when it dies, at once or after a pause, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runtime.child import Child, ProcessSpec

FOREVER = "import time\nwhile True: time.sleep(1)"


def child(tmp_path: Path, code: str) -> Child:
    spec = ProcessSpec("test", (sys.executable, "-c", code), tmp_path / "log")
    return Child(spec, os.environ)


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    subject = child(tmp_path, FOREVER)
    subject.start()
    try:
        for starts in (1, 2):
            pid = subject.pid
            assert subject.state == "running"
            assert subject.starts == starts
            subject.signal(9)
            await until(lambda pid=pid: subject.pid not in (None, pid))  # type: ignore[misc]
        assert subject.last_exit == "SIGKILL"
    finally:
        await subject.stop()
    assert subject.state == "stopped"
    assert subject.pid is None


async def test_what_dies_in_a_loop_is_held_back(tmp_path: Path) -> None:
    subject = child(tmp_path, "print('here', flush=True); raise SystemExit(3)")
    subject.start()
    try:
        await until(lambda: subject.state == "back-off" and subject.starts >= 3)
        assert subject.last_exit == "exit status 3"
        await asyncio.sleep(0.3)
        assert subject.starts <= 5  # a loop without pause would be at dozens
    finally:
        await subject.stop()
    assert (tmp_path / "log").read_text().startswith("here")


async def test_a_command_that_does_not_exist_ends_nothing(tmp_path: Path) -> None:
    subject = Child(ProcessSpec("test", ("/does/not/exist",), tmp_path / "log"), os.environ)
    subject.start()
    await until(lambda: subject.state == "back-off")
    assert "exist" in subject.last_exit
    await subject.stop()
    assert subject.state == "stopped"


async def test_stopping_waits_and_then_kills(tmp_path: Path) -> None:
    subject = child(
        tmp_path, "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('on', flush=True)\n" + FOREVER
    )
    subject.start()
    await until(lambda: "on" in (tmp_path / "log").read_text())
    await subject.stop(grace=0.2)
    assert subject.last_exit == "SIGKILL"
    starts = subject.starts
    await asyncio.sleep(0.1)
    assert subject.starts == starts


async def test_a_stopped_process_can_be_started_again(tmp_path: Path) -> None:
    subject = child(tmp_path, FOREVER)
    subject.start()
    await subject.stop()
    subject.start()
    assert subject.state == "running"
    await subject.stop()
