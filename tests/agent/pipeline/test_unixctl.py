"""vswitchd's control socket: commands, refusals, and peers that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.pipeline.unixctl import UnixctlError, call, socket_of_vswitchd


@asynccontextmanager
async def answering(path: Path, *pieces: bytes) -> AsyncIterator[list[object]]:
    asked: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(json.loads(await reader.read(4096)))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if not pieces:
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    yield asked
    server.close()


async def test_a_command_and_its_answer(tmp_path: Path) -> None:
    text = json.dumps({"result": "a}b\n", "error": None, "id": 0}).encode()
    async with answering(tmp_path / "s", text[:9], text[9:]) as asked:
        assert await call(tmp_path / "s", "dpctl/dump-conntrack", "-m") == "a}b\n"
        assert asked == [{"method": "dpctl/dump-conntrack", "params": ["-m"], "id": 0}]


@pytest.mark.parametrize(
    "pieces,words",
    [
        ((b'{"result":null,"error":"no such command\\n","id":0}',), "refused what: no such command"),
        ((b"[1,2}",), "did not answer"),
        ((b"\xff\xfe}",), "did not answer"),
        ((), "was closed after 0 bytes"),
    ],
    ids=["refused", "not JSON", "not text", "closed"],
)
async def test_what_can_go_wrong(tmp_path: Path, pieces: tuple[bytes, ...], words: str) -> None:
    async with answering(tmp_path / "s", *pieces):
        with pytest.raises(UnixctlError, match=words):
            await call(tmp_path / "s", "what", timeout=0.3)


async def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(UnixctlError, match="cannot give version"):
        await call(tmp_path / "none", "version")


def test_where_vswitchd_listens(tmp_path: Path) -> None:
    assert socket_of_vswitchd(tmp_path) is None
    (tmp_path / "ovs-vswitchd.pid").write_text("77\n")
    assert socket_of_vswitchd(tmp_path) == tmp_path / "ovs-vswitchd.77.ctl"
    (tmp_path / "ovs-vswitchd.ctl").touch()
    assert socket_of_vswitchd(tmp_path) == tmp_path / "ovs-vswitchd.ctl"
