"""Who is behind the proxy, and with whose credentials it is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from antctl.errors import CommandError
from antctl.transport import finish

if TYPE_CHECKING:
    from client.endpoint import Endpoint

LOOK_AGAIN_SECONDS = 5.0

# Names under which credentials, or claims about who asks, travel.
_CREDENTIALS = ("authorization", "cookie")
_CLAIMS = ("impersonate-", "x-remote-")


class Target:
    """The controller, or an agent; found again when it has moved or has another certificate."""

    def __init__(self, find: Callable[[], Endpoint], *, own_credentials: bool) -> None:
        """``find`` blocks, and raises CommandError. ``own_credentials``: the target is shown no others than
        those that come with it (an agent), whatever the request carries."""
        self._find = find
        self._own_credentials = own_credentials
        self._found = time.monotonic()
        self.endpoint = find()

    async def headers(self, given: Mapping[str, str]) -> dict[str, str]:
        """What is sent instead of the credentials in ``given``. Raises CommandError."""
        if self._own_credentials:
            kept = {name: value for name, value in given.items() if not _tells_who(name)}
            return {**kept, **await self.endpoint.headers()}
        if any(name.lower() == "authorization" for name in given):
            return dict(given)
        # Off the loop: a kubeconfig's plugin is a program that may have to be run again.
        return {**given, **await asyncio.to_thread(lambda: dict(finish(self.endpoint.headers())))}

    async def look_again(self) -> bool:
        """After a failure to connect: whether the target was found somewhere else. Not more often than every
        few seconds."""
        if time.monotonic() - self._found < LOOK_AGAIN_SECONDS:
            return False
        self._found = time.monotonic()
        try:
            self.endpoint = await asyncio.to_thread(self._find)
        except CommandError:
            return False
        return True


def _tells_who(name: str) -> bool:
    lower = name.lower()
    return lower in _CREDENTIALS or lower.startswith(_CLAIMS)
