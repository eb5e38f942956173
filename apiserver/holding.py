"""How much of long bodies is held in memory at once, for paths that strangers may send to (webhooks).

Beyond the bounds a request waits for its turn before its body is read, and is asked to come again when that
takes too long. Short bodies never wait: most reviews are short, and a flood of long ones does not stop them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from apiserver.connections import source
from apiserver.errors import too_many_requests

TOTAL: Final = 128 * 1024 * 1024
SHARE: Final = TOTAL // 2  # of one source address
SHORT: Final = 64 * 1024
PATIENCE: Final = 5.0  # seconds: as long as kube-apiserver waits for our webhooks
ARRIVAL: Final = 15.0  # seconds in which a body that is counted has to be there


class Holding:
    """Counts the bytes that are held: ``async with holding.room(request, limit): …``."""

    def __init__(self, total: int = TOTAL, share: int = SHARE, patience: float = PATIENCE) -> None:
        self._total = total
        self._share = share
        self._patience = patience
        self._held: Counter[str] = Counter()  # by source address
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def held(self) -> int:
        return self._held.total()

    @asynccontextmanager
    async def room(self, request: web.BaseRequest, limit: int) -> AsyncIterator[None]:
        """Room for the body, of the length that its head says or of ``limit`` where it says none. To be
        entered before it is read, and left when it is needed no more. Raises 429."""
        size = limit if request.content_length is None else min(request.content_length, limit)
        if size <= SHORT:
            yield
            return
        transport = request.transport
        who = source(transport.get_extra_info("peername") if transport is not None else None)
        try:
            async with asyncio.timeout(self._patience):
                await self._turn(who, size)
        except TimeoutError:
            raise too_many_requests() from None
        self._held[who] += size
        try:
            yield
        finally:
            self._held[who] -= size
            if not self._held[who]:
                del self._held[who]
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def _turn(self, who: str, size: int) -> None:
        while self._held[who] + size > self._share or self.held + size > self._total:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)
