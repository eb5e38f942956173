"""An OVSDB server that talks nonsense costs the agent its answers, never its life."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.ovs.commands import set_bridge_external_ids
from agent.ovs.database import Database, DatabaseError

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")

pytestmark = pytest.mark.lab

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aocn-") as directory:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        listening = await asyncio.start_unix_server(handle, str(Path(directory) / "db.sock"))
        async with listening:
            yield Path(directory)


async def requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    buffer, decoder = "", json.JSONDecoder()
    while data := await reader.read(65536):
        buffer += data.decode()
        while buffer:
            try:
                message, end = decoder.raw_decode(buffer)
            except ValueError:
                break
            buffer = buffer[end:]
            yield message


def noise(number: int) -> bytes:
    generator = random.Random(number)
    return [
        generator.randbytes(2000),
        b"{" * 500,
        b'{"id":1,"result":{"tables":5},"error":null}',
        b'{"method":"update3","params":[1,2],"id":null}',
        b'{"method":"echo","params":"x","id":"echo"}' * 3,
        b"[]null",
    ][number % 6]


@pytest.mark.parametrize("number", range(6))
async def test_nonsense_from_the_first_byte(number: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(noise(number))
        await writer.drain()
        await asyncio.sleep(0.05)

    async with server(script) as directory:
        with pytest.raises(DatabaseError, match="did not answer within"):
            await Database(directory, timeout=0.5).connect(patience=0.3)


def answers(schema: dict[str, Any], then: Callable[[], bytes]) -> Script:
    """A server that loads properly and answers the first transaction, and whatever follows, with noise."""
    root = {"Open_vSwitch": {"11111111-1111-4111-8111-111111111111": {"new": {"ovs_version": "3"}}}}

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for message in requests(reader):
            method, params = message["method"], message["params"]
            if method == "get_schema" and params[0] == "Open_vSwitch":
                reply: Any = {"id": message["id"], "result": schema, "error": None}
            elif method == "get_schema":
                reply = {"id": message["id"], "result": None, "error": "unknown database"}
            elif method == "monitor":
                reply = {"id": message["id"], "result": root, "error": None}
            elif method == "echo":
                reply = {"id": message["id"], "result": params, "error": None}
            else:
                writer.write(then())
                await writer.drain()
                continue
            writer.write(json.dumps(reply).encode())
            await writer.drain()

    return script


@pytest.fixture
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA.read_text())
    return loaded


@pytest.mark.parametrize("number", range(6))
async def test_nonsense_in_place_of_a_reply(number: int, schema: dict[str, Any]) -> None:
    async with server(answers(schema, lambda: noise(number))) as directory:
        database = Database(directory, timeout=1)
        await database.connect(patience=5)
        assert len(list(database.rows("Open_vSwitch"))) == 1
        for _ in range(2):
            with pytest.raises(DatabaseError):
                await database.transact(set_bridge_external_ids("br-int", {"a": "b"}), timeout=0.5)
        assert len(list(database.rows("Open_vSwitch"))) == 1  # what was known stays known
        assert database._conn.thread.is_alive()
        await database.close()
