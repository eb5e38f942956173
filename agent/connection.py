"""The agent's connection to antrea-controller.

Where the controller is, is asked of the Kubernetes API before each new connection (client.controller); as
long as the answer is the same, the same client with its pool of connections serves. Once something is known,
it stands while the Kubernetes API is away. An endpoint that was of no use is reported, so that the next
connection goes to another one, if there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from client.endpoint import Endpoint
from client.errors import ConnectionFailed
from client.rest import RestClient
from runtime import version

ASK_AGAIN_SECONDS = 30.0


class Locator(Protocol):
    """client.controller.ControllerLocator, or a FixedController."""

    async def locate(self) -> Endpoint:
        """Where the controller is now. Raises ConnectionFailed."""

    def failed(self, endpoint: Endpoint) -> None:
        """There was no use in this answer."""


class FixedController:
    """A controller whose address and CA a kubeconfig names (antreaClientConnection.kubeconfig)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def locate(self) -> Endpoint:
        return self._endpoint

    def failed(self, endpoint: Endpoint) -> None:
        """There is no other."""


class ControllerConnection:
    """Gives out clients; owns them."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self._client: RestClient | None = None
        self._lock = asyncio.Lock()
        self._asked = float("-inf")  # when the locator was, on the monotonic clock

    async def connect(self) -> RestClient:
        """A client to a controller as it is to be found now. Raises ConnectionFailed."""
        async with self._lock:
            endpoint = await self._locator.locate()
            self._asked = time.monotonic()
            client = self._client
            if client is not None:
                known = client.endpoint
                if (known.url, known.tls, known.server_name) == (
                    endpoint.url,
                    endpoint.tls,
                    endpoint.server_name,
                ):
                    return client
                # The controller has moved or has another CA: what still runs there comes after us.
                await client.close()
            self._client = RestClient(endpoint, user_agent=f"antrea-agent/{version.FULL}")
            return self._client

    async def current(self) -> RestClient:
        """The client in use, wherever the controller is now. Raises ConnectionFailed.

        Now and then the locator is asked all the same: a watch lasts for hours, and the client has to learn
        of a new CA before it opens another connection for a report."""
        if self._client is None:
            raise ConnectionFailed("No connection to antrea-controller has been made yet.")
        if time.monotonic() - self._asked > ASK_AGAIN_SECONDS:
            self._asked = time.monotonic()
            with contextlib.suppress(ConnectionFailed):
                await self._locator.locate()
        return self._client

    def failed(self) -> None:
        """The client in use reached no controller that could serve: the next one shall go elsewhere."""
        if self._client is not None:
            self._locator.failed(self._client.endpoint)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
