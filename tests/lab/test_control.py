"""The supervisor's control socket: answers, sentences, progress; and bytes that are no request."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.supervisor.control import ControlServer, Progress, SupervisorGone, call, number, text


async def echo(request: dict[str, Any], progress: Progress) -> Any:
    progress("half-way")
    return request.get("value")


async def refuse(request: dict[str, Any], progress: Progress) -> None:
    raise LabError("no, because")


async def crash(request: dict[str, Any], progress: Progress) -> None:
    raise ZeroDivisionError("oops")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    control = ControlServer(path, {"echo": echo, "refuse": refuse, "crash": crash})
    await control.start()
    yield path
    await control.stop()


async def ask(path: Path, **request: Any) -> Any:
    return await asyncio.to_thread(call, path, request)


async def test_answers_come_back_after_progress(server: Path) -> None:
    steps: list[str] = []
    answer = await asyncio.to_thread(call, server, {"op": "echo", "value": [1, "ä"]}, steps.append)
    assert (answer, steps) == ([1, "ä"], ["half-way"])


async def test_only_the_owner_may_connect(server: Path) -> None:
    assert stat.S_IMODE(os.stat(server).st_mode) == 0o600


async def test_refusals_and_crashes_are_sentences_and_the_server_lives(server: Path) -> None:
    with pytest.raises(LabError, match="no, because"):
        await ask(server, op="refuse")
    with pytest.raises(LabError, match="oops"):
        await ask(server, op="crash")
    with pytest.raises(LabError, match="known operations: echo"):
        await ask(server, op="unknown")
    assert await ask(server, op="echo", value=1) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"7\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 200_000 + b"\n",
        b"x" * 2_000_000,
    ],
)
async def test_bytes_that_are_no_request_end_nothing(server: Path, data: bytes) -> None:
    def throw() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server))
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5)
                connection.recv(1000)
            except OSError:
                pass

    await asyncio.to_thread(throw)
    assert await ask(server, op="echo", value="alive") == "alive"


async def test_a_socket_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(SupervisorGone, match="antrea-lab down"):
        await ask(tmp_path / "none.sock", op="echo")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "signal", "process": 7}, "signal needs 'process', a text; it got 7"),
        ({"op": "signal"}, "signal needs 'process', a text; it got nothing"),
        ({"op": "signal", "process": {"a": []}}, "signal needs 'process', a text; it got {\"a\": []}"),
    ],
)
def test_fields_of_a_request_that_are_no_text(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError) as caught:
        text(request_, "process")
    assert str(caught.value) == words


@pytest.mark.parametrize("value", ["5", None, True, -1, 1e12, [1]])
def test_fields_of_a_request_that_are_no_number(value: Any) -> None:
    with pytest.raises(LabError, match="stop-process needs 'grace', a number from 0 on; it got "):
        number({"op": "stop-process", "grace": value}, "grace", 5.0)
    assert number({"op": "stop-process"}, "grace", 5.0) == 5.0
