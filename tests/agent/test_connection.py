"""Which client the agent uses towards the controller, as the controller moves."""

from __future__ import annotations

import pytest

from agent.connection import ControllerConnection, FixedController
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
