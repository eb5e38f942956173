"""Follows the controller: keeps a stream open, whatever happens to it.

The multiplexed watch ``/agentwatch`` is asked for first. A controller that does not know it (404, or 403
where nobody may: upstream's) gets upstream's three watches instead, which have no order among them and cannot
resume.

Every way in which a stream ends leads back to opening it: at once where it had lived, with growing, jittered
pauses where it had not. A version that the controller no longer has (410), a lost event and bytes that make
no sense all lead to the full state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from agent.policies.cache import UnknownGroup
from agent.policies.objects import Kind
from agent.policies.stream import Item, Snapshot, StreamError, WatchStream
from client.errors import ApiError, ConnectionFailed
from runtime import log
from runtime.backoff import Backoff

logger = log.get(__name__)

MULTIPLEXED = "/agentwatch"
GROUP_PATH = "/apis/controlplane.antrea.io/v1beta2"
ACCEPT = "application/vnd.kubernetes.protobuf;stream=watch, application/vnd.kubernetes.protobuf"

IDLE = 180.0  # seconds without a byte: our controller sends a bookmark about once a minute
LARGE = 1 << 18  # bytes that are decoded in a thread: on the loop they would take more than some 10 ms
STABLE = 5.0  # seconds: a stream that has lived so long is opened again without a growing pause


class Source(Protocol):
    """What is needed of a client to the controller (client.rest.RestClient has it)."""

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = ACCEPT,
        idle_timeout: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


Connect = Callable[[], Awaitable[Source]]  # asked before each connection: the controller moves
Apply = Callable[[list[Item]], Awaitable[None]]


class Watcher:
    """Runs until cancelled. ``apply`` gets what one read completed; it may raise UnknownGroup. ``avoid`` is
    called when a source turned out to be of no use."""

    def __init__(
        self,
        node: str,
        connect: Connect,
        apply: Apply,
        *,
        on_change: Callable[[bool], None] | None = None,
        avoid: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._connect = connect
        self._apply = apply
        self._on_change = on_change
        self._avoid = avoid
        self._version: str | None = None
        self._open: set[Kind] = set()
        self._trouble = ""
        self.multiplexed: bool | None = None  # None: no controller has answered yet
        self.snapshots = 0

    @property
    def connected(self) -> bool:
        """All streams are open."""
        return len(self._open) == len(Kind)

    async def run(self) -> None:
        backoff = Backoff(initial=0.1, maximum=5.0)
        while True:
            started = time.monotonic()
            source = None
            try:
                source = await self._connect()
                await self._follow(source)
            except (ApiError, ConnectionFailed, StreamError, UnknownGroup) as error:
                if source is not None and _is_of_no_use(error):
                    self._avoid()
                if not isinstance(error, ConnectionFailed) and not _is_temporary(error):
                    self._version = None
                self._report(str(error))
            if time.monotonic() - started > STABLE:
                backoff.reset()
            await backoff.wait()

    async def _follow(self, source: Source) -> None:
        try:
            await self._multiplexed(source)
        except ApiError as error:
            # Upstream's controller asks whether we may before it says that there is no such path.
            if error.status not in (403, 404):
                raise
            if self.multiplexed is not False:
                logger.info("The controller has no %s: using its three separate watches", MULTIPLEXED)
            self.multiplexed = False
            await self._separate()

    async def _multiplexed(self, source: Source) -> None:
        stream = WatchStream(Kind, self._version)
        query = {"nodeName": self._node}
        if stream.version is not None:
            query["resourceVersion"] = stream.version
        try:
            await self._read(source, MULTIPLEXED, query, stream)
        finally:
            self._version = stream.version if stream.synced else None

    async def _separate(self) -> None:
        """The three watches, each opened again when it ends, until one of them cannot be opened."""
        tasks = [asyncio.create_task(self._one(kind)) for kind in Kind]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, kind: Kind) -> None:
        backoff = Backoff(initial=0.1, maximum=5.0)
        while True:
            source = await self._connect()
            started = time.monotonic()
            stream = WatchStream((kind,))
            query = {"watch": "true", "fieldSelector": f"nodeName={self._node}"}
            try:
                await self._read(source, f"{GROUP_PATH}/{kind.value}", query, stream)
            except (StreamError, UnknownGroup) as error:
                self._report(str(error))
            if time.monotonic() - started > STABLE:
                backoff.reset()
            await backoff.wait()

    async def _read(self, source: Source, path: str, query: Mapping[str, str], stream: WatchStream) -> None:
        multiplexed = path == MULTIPLEXED
        async with source.stream(
            path, query=query, accept=ACCEPT, idle_timeout=IDLE if multiplexed else None
        ) as chunks:
            if multiplexed:
                self.multiplexed = True
            try:
                self._mark_open(stream.kinds, True)
                async for chunk in chunks:
                    if stream.pending + len(chunk) > LARGE:
                        # A group of very many members: elsewhere, so that the rest of the agent goes on.
                        items = await asyncio.to_thread(stream.feed, chunk)
                    else:
                        items = stream.feed(chunk)
                    if items:
                        await self._apply(items)
                        self.snapshots += sum(isinstance(item, Snapshot) for item in items)
            finally:
                self._mark_open(stream.kinds, False)

    def _mark_open(self, kinds: Iterable[Kind], is_open: bool) -> None:
        before = self.connected
        if is_open:
            self._open |= set(kinds)
        else:
            self._open -= set(kinds)
        if self.connected != before:
            if self.connected:
                logger.info(
                    "Connected to the controller (%s)", "one stream" if self.multiplexed else "three streams"
                )
                self._trouble = ""
            if self._on_change is not None:
                self._on_change(self.connected)

    def _report(self, trouble: str) -> None:
        """One line for each new kind of trouble, the repetitions only for who asked for more."""
        level = log.V(2) if trouble == self._trouble else log.V(0)
        logger.log(level, "The controller cannot be followed, going on with what is known: %s", trouble)
        self._trouble = trouble


def _is_of_no_use(error: Exception) -> bool:
    """Failures of this very controller, of which another one may be free."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status == 429
    return isinstance(error, ConnectionFailed)


def _is_temporary(error: Exception) -> bool:
    """Answers that say nothing about the version that was asked for."""
    return isinstance(error, ApiError) and error.status != 410 and error.status != 400
