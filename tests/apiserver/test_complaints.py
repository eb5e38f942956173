"""Strangers who send anything at all: the server goes on, and its log stays short."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl

import aiohttp
import pytest

from apiserver.certificates import ServingTLS, self_signed
from apiserver.complaints import Complaints
from apiserver.listener import Listener
from apiserver.server import ApiServer

GENERATOR = random.Random(11)
HEAD = b"POST /api/v1/things HTTP/1.1\r\nHost: x\r\n"
CLIENTS = 300


def nonsense() -> bytes:
    """What a stranger may send: random bytes, nearly HTTP, and HTTP whose body is not what its head says."""
    rubbish = GENERATOR.randbytes(GENERATOR.randrange(1, 3000))
    return GENERATOR.choice(
        [
            rubbish,
            b"GET / HTTP/1.1\r\n" + rubbish + b"\r\n\r\n",
            b"GET " + rubbish + b" HTTP/1.1\r\n\r\n",
            HEAD + b"Content-Length: -1\r\n\r\n",
            HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + rubbish,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + rubbish,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + rubbish,
            HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(rubbish) + rubbish,
            b"\r\n" * 100,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
    )


async def send(port: int, data: bytes, tls: ssl.SSLContext | None) -> None:
    try:
        async with asyncio.timeout(0.3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(data)
            if GENERATOR.random() < 0.7:
                await reader.read(200)
            writer.close()
    except (OSError, TimeoutError):
        pass  # closed, or not answered, as it should


@pytest.mark.parametrize("case", ["plain", "inside TLS", "instead of TLS"])
async def test_random_bytes_leave_a_short_log_and_a_server(
    case: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    listener = Listener(ApiServer(title="t", version={"major": "1"}))
    tls = ServingTLS(self_signed("localhost", ("127.0.0.1",)))
    _, port = await listener.listen("127.0.0.1", 0, tls=tls.context if case != "plain" else None)
    trusting = ssl.create_default_context(cadata=tls.pair.certificate.decode())
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with caplog.at_level(logging.INFO):
        for _ in range(CLIENTS // 60):
            await asyncio.gather(
                *(send(port, nonsense(), trusting if case == "inside TLS" else None) for _ in range(60))
            )
        url = f"{'http' if case == 'plain' else 'https'}://127.0.0.1:{port}/livez"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as response:
            assert (response.status, await response.text()) == (200, "ok")
        await listener.close(grace=1.0)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert len(caplog.records) <= 5, caplog.text
    messages = [record.getMessage() for record in caplog.records]
    assert all(len(message) < 400 and message.isprintable() for message in messages)
    assert capfd.readouterr().err == ""
    if case != "instead of TLS":
        assert any("malformed request from 127.0.0.1" in record.getMessage() for record in caplog.records)


def test_one_line_now_and_then_counts_what_was_not_said(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("t"), every=1000)
    refused = aiohttp.http_exceptions.BadHttpMessage("Bad\x1b[31m line:\nmore")
    for _ in range(5):
        complaints.exception("Error handling request from %s", "192.0.2.1", exc_info=refused)
    complaints._last -= 2000
    complaints.exception("Error handling request from %s", "192.0.2.1", exc_info=refused)
    assert [record.getMessage() for record in caplog.records] == [
        "Refused a malformed request from 192.0.2.1: Bad\\x1b[31m line",
        "Refused a malformed request from 192.0.2.1: Bad\\x1b[31m line "
        "(4 more were refused since the last such line)",
    ]


def test_faults_of_our_own_keep_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("t"))
    for _ in range(2):
        complaints.exception("Unhandled exception", exc_info=ZeroDivisionError("ours"))
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
