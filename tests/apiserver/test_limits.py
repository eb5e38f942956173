"""Clients that misbehave: noise, cut-off requests, oversized or slow ones. The server goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from dataclasses import asdict

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apiserver import body, inflight, stream
from apiserver.auth import User
from apiserver.authentication import StaticTokens
from apiserver.certificates import ServingTLS, self_signed
from apiserver.listener import Limits, Listener
from apiserver.request import Context
from apiserver.server import ApiServer
from runtime.errors import ConfigurationError
from tests.apiserver.cluster import CONFIGMAPS, make_cluster
from tests.apiserver.conftest import Serve

QUICK = Limits(handshake_seconds=1.0, head_seconds=0.3, idle_seconds=0.6)


def address(session: aiohttp.ClientSession) -> tuple[str, int]:
    url = session._base_url
    assert url is not None
    return str(url.host), int(url.port or 0)


async def exchange(
    session: aiohttp.ClientSession, data: bytes, *, finish: bool = True, seconds: float = 3.0
) -> bytes:
    """Sends bytes on a connection of their own; whatever comes back until the server closes."""
    reader, writer = await asyncio.open_connection(*address(session))
    try:
        writer.write(data)
        if finish:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def alive(session: aiohttp.ClientSession) -> bool:
    async with session.get("/livez") as response:
        return response.status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff" * 100,
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /%zz%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //apis//// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/namespaces/%2e%2e/pods?watch=%00&limit=99999999999999 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nUser-Agent: \xff\r\n\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nContent-Length: 4804\r\n\r\n"
        + b'{"a":' * 800
        + b"{"
        + b"}" * 803,
        b"PATCH /api/v1/namespaces/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAccept: " + b",;=q=;q=x," * 100 + b"\r\n\r\n",
    ],
)
async def test_malformed_requests(serve: Serve, data: bytes) -> None:
    server, _ = make_cluster()
    server.authenticators.append(StaticTokens({"secret": User("root")}))
    session = await serve(server, QUICK)
    answer = await exchange(session, data)
    assert not answer or answer.startswith(b"HTTP/1.")
    assert b" 500 " not in answer.split(b"\r\n")[0]
    assert await alive(session)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
async def test_random_bytes(serve: Serve, seed: int) -> None:
    session = await serve(make_cluster()[0], QUICK)
    generator = random.Random(seed)
    request = bytearray(
        b"POST /api/v1/namespaces/ns/pods?limit=3 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
        + b"{" * 20
    )
    for _ in range(generator.randrange(1, 12)):
        request[generator.randrange(len(request))] = generator.randrange(256)
    await exchange(session, bytes(request[: generator.randrange(len(request) + 1)]))
    assert await alive(session)


async def test_a_head_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    session = await serve(make_cluster()[0], QUICK)
    loop = asyncio.get_running_loop()
    for data in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        started = loop.time()
        await exchange(session, data, finish=False)
        assert loop.time() - started < 2.5
    assert await alive(session)


async def test_bodies_beyond_the_limit_are_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await serve(make_cluster()[0])
    too_much = b'{"data":{"a":"' + b"x" * body.MAX_BODY + b'"}}'
    headers = {"Content-Type": "application/json"}
    async with session.post(CONFIGMAPS, data=too_much, headers=headers) as response:
        assert (response.status, (await response.json())["reason"]) == (413, "RequestEntityTooLarge")

    async def pieces() -> object:
        for _ in range(4):
            yield b"x" * (1024 * 1024)

    async with session.post(CONFIGMAPS, data=pieces(), headers=headers) as response:
        assert response.status == 413
    monkeypatch.setattr(body, "BODY_SECONDS", 0.2)
    request = f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()
    answer = await exchange(session, request, finish=False, seconds=5)
    assert answer.startswith(b"HTTP/1.1 408")
    assert await alive(session)


async def test_a_compressed_body_is_refused_and_never_inflated(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    server = make_cluster()[0]
    seen: list[int] = []
    answer = server.handle

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if "Content-Encoding" in request.headers:
            seen.append(sum([len(chunk) async for chunk in request.content.iter_any()]))
        return await answer(request)

    monkeypatch.setattr(server, "handle", handle)
    session = await serve(server)
    bomb = zlib.compress(b" " * (64 * 1024 * 1024), 9)
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    async with session.post(CONFIGMAPS, data=bomb, headers=headers) as response:
        assert response.status == 400
        assert "Content-Encoding deflate" in (await response.json())["message"]
    assert seen == [len(bomb)]
    assert await alive(session)


async def test_tls_noise_and_stalled_handshakes_delay_nobody() -> None:
    server, _ = make_cluster()
    tls = ServingTLS(self_signed("test", ["127.0.0.1"]))
    listener = Listener(server, QUICK)
    host, port = await listener.listen("127.0.0.1", 0, tls=tls.context)
    client = ssl.create_default_context(cadata=tls.pair.certificate.decode())
    try:
        stalled = [await asyncio.open_connection(host, port) for _ in range(20)]
        for _, writer in stalled[:10]:
            writer.write(random.randbytes(50))
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://{host}:{port}/livez", ssl=client) as answer,
        ):
            assert answer.status == 200
        for reader, writer in stalled:
            # The deadline of the handshake ends them.
            assert await asyncio.wait_for(_drained(reader), 5) is True
            writer.close()
    finally:
        await listener.close(grace=0.5)


async def _drained(reader: asyncio.StreamReader) -> bool:
    try:
        while await reader.read(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("number", ["9" * 20, "9" * 400, "9" * 5000, "-" + "9" * 400, "--1", "1e5"])
@pytest.mark.parametrize("option", ["timeoutSeconds", "limit"])
async def test_numbers_of_any_length_are_refused(serve: Serve, option: str, number: str) -> None:
    session = await serve(make_cluster()[0])
    async with session.get(CONFIGMAPS, params={"watch": "1", option: number}) as answer:
        assert answer.status == 400
        assert "strconv.ParseInt" in (await answer.json())["message"]


async def test_a_handler_that_fails_answers_500_and_the_server_goes_on(serve: Serve) -> None:
    server, _ = make_cluster()

    async def broken(_ctx: object) -> object:
        raise RuntimeError("as the test wants it")

    server.path("/broken", broken)  # type: ignore[arg-type]
    session = await serve(server)
    async with session.get("/broken") as response:
        assert (response.status, (await response.json())["reason"]) == (500, "InternalError")
    assert await alive(session)


async def test_an_address_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = Listener(ApiServer(title="test", version={"major": "1", "minor": "0"}))
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 .* in use.* another copy"):
            await listener.listen("127.0.0.1", port)
        await listener.close()


def test_the_limits_are_those_that_are_promised() -> None:
    """docs/compatibility.md, "Limits"."""
    assert asdict(Limits()) == {
        "handshake_seconds": 10,
        "head_seconds": 10,
        "idle_seconds": 120,
        "stuck_seconds": 60,
        "head_bytes": 64 * 1024,
        "bookmark_seconds": 60,
        "connections": 20_000,
        "connections_per_peer": 5_000,
        "handshakes": 2_048,
        "handshakes_per_peer": 256,
    }
    assert (body.MAX_BODY, body.BODY_SECONDS, stream.STUCK_SECONDS) == (3 * 1024 * 1024, 60, 30)
    assert (inflight.READ_ONLY, inflight.MUTATING) == (400, 200)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X-%d: " % 1 + b"a" * 60_000 + b"\r\n", 200),
        (b"".join(b"X-Remote-Group: group-%d\r\n" % number for number in range(1500)), 200),
        (b"".join(b"X-%d: " % number + b"a" * 1000 + b"\r\n" for number in range(70)), 431),
    ],
    ids=["one long field", "many groups", "too much in all"],
)
async def test_the_size_of_a_head_is_that_of_all_its_fields(serve: Serve, fields: bytes, status: int) -> None:
    session = await serve(make_cluster()[0])
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields + b"\r\n"
    assert (await exchange(session, request, finish=False)).startswith(b"HTTP/1.1 %d " % status)
    # As well when it comes in pieces, and after a request that was fine.
    reader, writer = await asyncio.open_connection(*address(session))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    for start in range(0, len(request), 8192):
        writer.write(request[start : start + 8192])
        await asyncio.sleep(0)
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 %d " % status)
    writer.close()


async def test_what_is_sent_ahead_of_an_answer_is_bounded(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    reader, writer = await asyncio.open_connection(*address(session))
    writer.write(b"GET /api/v1/namespaces?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n")
    ended = asyncio.create_task(_drained(reader))
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000)
            await writer.drain()
            await asyncio.sleep(0)
    assert await asyncio.wait_for(ended, 5)
    assert await alive(session)


async def test_too_many_requests_at_once_are_asked_to_come_again(serve: Serve) -> None:
    server, _ = make_cluster()
    server.authenticators.append(StaticTokens({"root": User("root", ("system:masters",))}))
    server.in_flight.limits.update({True: 3, False: 2})
    go_on = asyncio.Event()

    async def slow(_ctx: Context) -> web.StreamResponse:
        await go_on.wait()
        return web.Response(text="done")

    server.path("/slow", slow)
    server.path("/stream", slow, long_running=True)
    session = await serve(server)

    async def ask(method: str, path: str, **headers: str) -> tuple[int, str | None]:
        async with session.request(method, path, headers=headers) as response:
            if response.status == 429:
                assert (await response.json())["reason"] == "TooManyRequests"
            return response.status, response.headers.get("Retry-After")

    under_way = [asyncio.create_task(ask("GET", "/slow")) for _ in range(3)]
    under_way += [asyncio.create_task(ask("POST", "/slow")) for _ in range(2)]
    under_way += [asyncio.create_task(ask("GET", "/stream")) for _ in range(5)]
    while server.in_flight.counts != {True: 3, False: 2}:
        await asyncio.sleep(0.01)
    assert await ask("GET", "/slow") == (429, "1")
    assert await ask("GET", CONFIGMAPS) == (429, "1")
    assert await ask("DELETE", f"{CONFIGMAPS}/x") == (429, "1")
    async with session.get(CONFIGMAPS, params={"watch": "1", "timeoutSeconds": "1"}) as watched:
        assert watched.status == 200  # streams are not counted
    assert (await ask("GET", CONFIGMAPS, Authorization="Bearer root"))[0] == 200
    go_on.set()
    assert await asyncio.gather(*under_way) == [(200, None)] * 10
    assert server.in_flight.counts == {True: 0, False: 0}
    assert (await ask("GET", CONFIGMAPS))[0] == 200
    assert server.in_flight.rejected == 3


async def test_a_client_that_leaves_gives_its_slot_back(serve: Serve) -> None:
    server, _ = make_cluster()

    async def slow(_ctx: Context) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    server.path("/slow", slow)
    session = await serve(server)
    _, writer = await asyncio.open_connection(*address(session))
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    while not server.in_flight.counts[True]:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    async with asyncio.timeout(5):
        while server.in_flight.counts[True]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("media", ["text/plain", "application/cbor", "image/png", "application/xml"])
async def test_a_wrong_content_type_is_unsupported(serve: Serve, media: str) -> None:
    session = await serve(make_cluster()[0])
    async with session.post(CONFIGMAPS, data=b"{}", headers={"Content-Type": media}) as response:
        assert (response.status, (await response.json())["reason"]) == (415, "UnsupportedMediaType")
