"""A reflector's handler for those who look at everything anew when something has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from client.watch import WatchFrame


class Wake:
    """Sets an event after each list and with each change; what it was is not kept."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def list_started(self) -> None:
        pass

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        pass

    async def list_finished(self) -> None:
        self._event.set()

    async def events(self, events: Sequence[WatchFrame]) -> None:
        self._event.set()
