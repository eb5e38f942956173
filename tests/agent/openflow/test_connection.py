"""A connection outlives anything that its peer may send: it ends with ConnectionLost, never with the
process."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.openflow.bundle import Bundle
from agent.openflow.codec import messages as m
from agent.openflow.codec.events import ErrorMessage, Event, Unknown
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.messages import Multipart
from agent.openflow.connection import Connection, ConnectionLost, OpenFlowError, SwitchError

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_message(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(8)
    _, kind, length, xid = struct.unpack("!BBHI", head)
    return kind, xid, await reader.readexactly(length - 8)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What every switch does: hello, and an answer to the first barrier."""
    writer.write(m.hello(1))
    while True:
        kind, xid, _ = await read_message(reader)
        if kind == m.BARRIER_REQUEST:
            writer.write(m.message(m.BARRIER_REPLY, xid))
            return


class Server:
    def __init__(self, path: Path, peer: Peer) -> None:
        self.path = path / "s"
        self._peer = peer

    async def __aenter__(self) -> Path:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._peer(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        self._server = await asyncio.start_unix_server(serve, str(self.path))
        return self.path

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


async def test_questions_get_their_own_answers(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        asked = [await read_message(reader) for _ in range(3)]
        for kind, xid, _ in reversed(asked):
            if kind == m.ECHO_REQUEST:
                writer.write(m.message(m.ERROR, xid, struct.pack("!HH", 1, 5)))
            elif kind == m.MULTIPART_REQUEST:
                for part, more in ((b"one", 1), (b"two", 0)):
                    writer.write(m.message(m.MULTIPART_REPLY, xid, struct.pack("!HH4x", 13, more) + part))
            else:
                writer.write(m.message(m.BARRIER_REPLY, xid))
        await reader.read()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        xid = connection.next_xid()
        barrier, parts, refused = await asyncio.gather(
            connection.barrier(),
            connection.multipart(Multipart.PORT_DESC),
            connection.ask(xid, m.echo_request(xid)),
            return_exceptions=True,
        )
        assert barrier is None
        assert parts == [b"one", b"two"]
        assert isinstance(refused, SwitchError)
        assert str(refused) == "bad request: not permitted (1,5)"
        await connection.close()


GARBAGE: dict[str, bytes] = {
    "zeros": bytes(64),
    "another version": bytes((4, 0, 0, 8, 0, 0, 0, 1)),
    "a length that cannot be": bytes((6, 2, 0, 3, 0, 0, 0, 1)),
    "a cut description": m.message(m.MULTIPART_REPLY, 9, b"\0"),
    "noise": random.Random(1).randbytes(5000),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_ends_the_connection_and_its_questions(tmp_path: Path, garbage: bytes) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await read_message(reader)
        writer.write(garbage)
        await reader.read()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        with pytest.raises(ConnectionLost, match="not OpenFlow"):
            await connection.barrier()
        assert "not OpenFlow" in await connection.lost()
        with pytest.raises(ConnectionLost):
            connection.send(b"")
        await connection.close()


async def test_a_peer_that_hangs_up_in_the_middle(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await read_message(reader)
        writer.write(m.message(m.BARRIER_REPLY, 1)[:5])

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        with pytest.raises(ConnectionLost, match="lost within a bundle"):
            async with Bundle(connection) as bundle:
                bundle.add_flow(0, 0, Flow.of(0, 1, b"").key, b"")
        await connection.close()


async def test_a_peer_that_says_nothing(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Server(tmp_path, peer) as path:
        with pytest.raises(ConnectionLost, match="no hello"):
            await Connection.open(path, timeout=0.1)


async def test_an_answer_that_does_not_come(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        with pytest.raises(ConnectionLost, match="no answer within"):
            await connection.barrier(timeout=0.05)
        await connection.close()


async def test_an_answer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.openflow.connection.MAX_ANSWER", 100_000)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        _, xid, _ = await read_message(reader)
        while True:
            writer.write(m.message(m.MULTIPART_REPLY, xid, struct.pack("!HH4x", 13, 1) + bytes(1000)))
            await writer.drain()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        with pytest.raises(OpenFlowError, match="grew over"):
            await connection.multipart(Multipart.PORT_DESC)
        await connection.close()


async def test_what_nobody_asked_for_goes_to_handlers_even_if_one_fails(tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        _, xid, _ = await read_message(reader)
        writer.write(m.message(99, 1) + m.message(99, 2) + m.message(m.ERROR, 77, struct.pack("!HH", 5, 1)))
        writer.write(m.message(m.BARRIER_REPLY, xid))
        await reader.read()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        seen: list[int] = []

        def handler(event: Event) -> None:
            seen.append(event.xid)
            raise RuntimeError("a handler's own fault")

        connection.on(Unknown, handler)
        connection.on(ErrorMessage, lambda event: seen.append(event.xid))
        await connection.barrier()
        assert seen == [1, 2, 77]
        await connection.close()


async def test_echo_requests_are_answered(tmp_path: Path) -> None:
    answered = asyncio.get_running_loop().create_future()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        writer.write(m.echo_request(5, b"payload"))
        answered.set_result(await read_message(reader))
        await reader.read()

    async with Server(tmp_path, peer) as path:
        connection = await Connection.open(path)
        assert await answered == (m.ECHO_REPLY, 5, b"payload")
        await connection.close()


async def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Connection.open(tmp_path / "none")
