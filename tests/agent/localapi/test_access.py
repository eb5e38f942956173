"""Whoever can reach the node's address can reach the local API: what strangers get, and what they cost."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from agent.localapi.server import LIMITS, LocalServer
from apiserver.request import Context
from client.endpoint import Endpoint
from client.rest import RestClient


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[LocalServer, int]]:
    """A local API whose Kubernetes API is out of reach: whatever asked it would be answered 503."""
    async with RestClient(Endpoint("http://127.0.0.1:1")) as kube:
        server = LocalServer(kube, tmp_path / "token")

        async def secret(ctx: Context) -> aiohttp.web.StreamResponse:
            return aiohttp.web.Response(text="secret")

        server.api.path("/agentinfo", secret)
        _, port = await server.listen(None, 0)
        yield server, port
        await server.close()


async def get(port: int, path: str, host: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{host}:{port}{path}", ssl=unverified, headers=headers) as response,
    ):
        return response.status, await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]"])
async def test_it_listens_on_every_address(server: tuple[LocalServer, int], host: str) -> None:
    if host == "[::1]":
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6")
    assert (await get(server[1], "/healthz", host))[0] == 200


@pytest.mark.parametrize("path", ["/agentinfo", "/version", "/metrics", "/openapi/v2", "/apis", "/", "/nope"])
async def test_strangers_get_nothing_but_health_and_cost_no_review(
    server: tuple[LocalServer, int], path: str
) -> None:
    status, text = await get(server[1], path)
    assert status == 403
    assert f'User \\"system:anonymous\\" cannot get path \\"{path}\\"' in text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"},
        {"Impersonate-User": "admin", "Impersonate-Group": "system:masters"},
    ],
)
async def test_names_in_headers_are_worth_nothing(
    server: tuple[LocalServer, int], headers: dict[str, str]
) -> None:
    assert (await get(server[1], "/agentinfo", **headers))[0] == 403


async def test_a_token_that_nobody_can_review_lets_nobody_in(server: tuple[LocalServer, int]) -> None:
    status, text = await get(server[1], "/agentinfo", Authorization="Bearer x")
    assert status == 503
    assert "cannot review tokens at the moment" in text


async def test_connections_of_one_peer_are_bounded(server: tuple[LocalServer, int]) -> None:
    """More than one peer may have: the surplus is closed, and a client from elsewhere is served."""
    peers = [
        socket.create_connection(("127.0.0.1", server[1])) for _ in range(LIMITS.connections_per_peer + 40)
    ]
    try:
        async with aiohttp.ClientSession() as session:
            connector = aiohttp.TCPConnector(local_addr=("127.0.0.3", 0))
            async with aiohttp.ClientSession(connector=connector) as elsewhere:
                unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
                async with elsewhere.get(
                    f"https://127.0.0.1:{server[1]}/healthz", ssl=unverified
                ) as response:
                    assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://127.0.0.1:{server[1]}/healthz", ssl=unverified)
    finally:
        for peer in peers:
            peer.close()
