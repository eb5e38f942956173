"""Which client the agent uses towards the controller, as the controller moves."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from agent import connection as connection_module
from agent.connection import ControllerConnection, FixedController
from agent.policies.stream import Item
from agent.policies.watch import Watcher
from client.controller import Rotation
from client.endpoint import Endpoint
from client.errors import ConnectionFailed


class Locator:
    """Answers what a test says."""

    def __init__(self, *answers: Endpoint | None) -> None:
        self.answers = list(answers)

    async def locate(self) -> Endpoint:
        answer = self.answers.pop(0)
        if answer is None:
            raise ConnectionFailed("nothing is known of the controller")
        return answer

    def failed(self, endpoint: Endpoint) -> None:
        pass


class Addresses:
    """Plain addresses, used in turn."""

    def __init__(self, *addresses: str) -> None:
        self.rotation = Rotation()
        self.rotation.replace(addresses)

    async def locate(self) -> Endpoint:
        return Endpoint(f"http://{self.rotation.choose()}")

    def failed(self, endpoint: Endpoint) -> None:
        self.rotation.failed(endpoint.url.removeprefix("http://"))


async def test_the_same_answer_keeps_the_client_and_another_replaces_it() -> None:
    first, second = Endpoint("https://10.0.0.1:10349"), Endpoint("https://10.0.0.2:10349")
    connection = ControllerConnection(Locator(first, Endpoint(first.url), second))
    client = await connection.connect()
    assert await connection.connect() is client
    assert await connection.current() is client
    moved = await connection.connect()
    assert moved is not client
    assert moved.endpoint is second
    assert await connection.current() is moved
    await connection.close()


async def test_a_client_in_use_learns_of_a_new_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "ASK_AGAIN_SECONDS", -1.0)
    locator = Locator(Endpoint("https://10.0.0.1:10349"), Endpoint("https://10.0.0.2:10349"), None)
    connection = ControllerConnection(locator)
    client = await connection.connect()
    for _ in range(2):  # also where the locator has moved on, or fails
        assert await connection.current() is client
    assert locator.answers == []
    await connection.close()


async def test_while_nothing_is_known_there_is_no_client() -> None:
    connection = ControllerConnection(Locator(None))
    with pytest.raises(ConnectionFailed, match="nothing is known"):
        await connection.connect()
    with pytest.raises(ConnectionFailed, match="No connection"):
        await connection.current()


async def test_a_kubeconfig_can_name_the_controller() -> None:
    endpoint = Endpoint("https://controller.example:10349")
    connection = ControllerConnection(FixedController(endpoint))
    assert (await connection.connect()).endpoint is endpoint
    await connection.close()


@pytest.mark.parametrize("status", [None, 429, 503], ids=["refused", "busy", "unable"])
async def test_a_controller_that_cannot_serve_is_left_for_another(status: int | None) -> None:
    """Given three addresses of which one serves, the watch finds that one, and stays there."""
    reached: list[str] = []

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers["Host"].startswith("localhost"):
            return web.Response(status=status or 500)
        response = web.StreamResponse()
        await response.prepare(request)
        reached.append(request.path)
        await asyncio.sleep(60)
        return response

    runner = web.ServerRunner(web.Server(serve, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    useless = "localhost:1" if status is None else f"localhost:{port}"
    connection = ControllerConnection(
        Addresses(useless, useless.replace("localhost", "LocalHost"), f"127.0.0.1:{port}")
    )

    async def apply(items: list[Item]) -> None:
        raise AssertionError("nothing was sent")

    watcher = Watcher("n1", connection.connect, apply, avoid=connection.failed)
    task = asyncio.create_task(watcher.run())
    async with asyncio.timeout(20):
        while not watcher.connected:
            await asyncio.sleep(0.01)
    assert reached == ["/agentwatch"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.close()
    await runner.cleanup()
