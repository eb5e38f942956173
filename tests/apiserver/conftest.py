"""A real server on loopback, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from apiserver.listener import Limits, Listener
from apiserver.request import Context
from apiserver.server import ApiServer

Serve = Callable[..., Awaitable[aiohttp.ClientSession]]


def bare_server(**arguments: object) -> ApiServer:
    """Without resources; /whoami says for whom it holds the client."""
    server = ApiServer(title="t", version={"major": "1", "minor": "0"}, **arguments)  # type: ignore[arg-type]

    async def whoami(ctx: Context) -> aiohttp.web.Response:
        extra = {key: list(values) for key, values in ctx.user.extra.items()}
        return aiohttp.web.json_response([ctx.user.name, list(ctx.user.groups), extra])

    server.path("/whoami", whoami)
    return server


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(server)`` puts it on a free port and gives a session whose paths go there."""
    listeners: list[Listener] = []
    sessions: list[aiohttp.ClientSession] = []

    async def start(server: ApiServer, limits: Limits | None = None) -> aiohttp.ClientSession:
        listener = Listener(server, limits)
        host, port = await listener.listen("127.0.0.1", 0)
        session = aiohttp.ClientSession(f"http://{host}:{port}", timeout=aiohttp.ClientTimeout(total=20))
        listeners.append(listener)
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        await session.close()
    for listener in listeners:
        await listener.close(grace=1.0)
