"""Bodies that strangers send are bounded together, not only each."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from apiserver import admission, holding
from apiserver.admission import ALLOWED, Admission
from apiserver.holding import Holding
from tests.apiserver.conftest import Serve, bare_server

KIB = 1024
HEAD = "POST /validate/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{}\r\n\r\n"


def endpoint(session: aiohttp.ClientSession) -> tuple[str, int]:
    base = session._base_url
    assert base is not None
    assert base.host is not None
    assert base.port is not None
    return base.host, base.port


@pytest.mark.parametrize("framing", [f"Content-Length: {100 * KIB}", "Transfer-Encoding: chunked"])
async def test_long_bodies_wait_for_room_and_short_ones_do_not(
    serve: Serve, framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_REVIEW", 100 * KIB)
    server = bare_server()
    server.holding = Holding(total=400 * KIB, share=250 * KIB, patience=0.2)
    Admission(server).path("/validate/x", lambda request: ALLOWED)
    session = await serve(server)
    writers = []
    for local in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.3"):
        _, writer = await asyncio.open_connection(*endpoint(session), local_addr=(local, 0))
        writer.write(HEAD.format(framing).encode())  # and never the body
        writers.append(writer)
    async with asyncio.timeout(10):
        while server.holding.held < 400 * KIB:
            await asyncio.sleep(0.01)
    async with session.post("/validate/x", data=b"x" * 90 * KIB) as answer:
        assert (answer.status, answer.headers.get("Retry-After")) == (429, "1")
    headers = {"Content-Type": "application/json"}
    async with session.post("/validate/x", data=b"{}", headers=headers) as answer:
        assert answer.status == 200
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    async with asyncio.timeout(10):
        while server.holding.held:
            await asyncio.sleep(0.01)
    async with session.post("/validate/x", data=b" " * 90 * KIB + b"{}", headers=headers) as answer:
        assert answer.status == 200


async def test_one_address_leaves_room_for_others(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "SHORT", 0)
    server = bare_server()
    server.holding = Holding(total=400 * KIB, share=200 * KIB, patience=5)
    Admission(server).path("/validate/x", lambda request: ALLOWED)
    session = await serve(server)
    writers = []
    for _ in range(3):
        _, writer = await asyncio.open_connection(*endpoint(session), local_addr=("127.0.0.2", 0))
        writer.write(HEAD.format(f"Content-Length: {100 * KIB}").encode())
        writers.append(writer)
    async with asyncio.timeout(10):
        while server.holding.held < 200 * KIB:
            await asyncio.sleep(0.01)
    headers = {"Content-Type": "application/json"}
    async with session.post("/validate/x", data=b" " * 150 * KIB + b"{}", headers=headers) as answer:
        assert answer.status == 200
    for writer in writers:
        writer.close()


async def test_a_body_that_is_counted_has_to_arrive(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ARRIVAL", 0.1)
    server = bare_server()
    Admission(server).path("/validate/x", lambda request: ALLOWED)
    session = await serve(server)
    reader, writer = await asyncio.open_connection(*endpoint(session))
    writer.write(HEAD.format(f"Content-Length: {100 * KIB}").encode())
    async with asyncio.timeout(10):
        assert b" 408 " in await reader.readline()
    writer.close()
    assert server.holding.held == 0
