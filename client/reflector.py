"""List and watch one resource for ever, as raw bytes, and tell a handler what happened.

The loop of every Kubernetes informer: list, watch from the list's version, go on from the last version seen
when the watch ends, list again when the server no longer knows that version (410). Between failures it waits,
with jitter. Decoding is the handler's: it knows which fields matter.

As client-go does, a list asks for any state that is not older than what was seen before: kube-apiserver has
it in memory, while a list of the newest state, or one in pages, is read from etcd and costs it four times as
much. Where that fails, the next attempt is a list in pages of the newest state.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from client.errors import ApiError, ConnectionFailed, Silent
from client.listing import ListSplitter, RawList, decode_list
from client.rest import RestClient
from client.watch import WatchFrame, error_of, watch
from runtime import log
from runtime.backoff import Backoff

logger = log.get("client.reflector")

# Servers send a BOOKMARK about every minute: a watch that is silent for longer is a connection to nobody.
IDLE_SECONDS = 150.0
LIST_IDLE_SECONDS = 30.0
PAGE_SIZE = 500  # objects per list request; a page of 3 kB Pods is 1.5 MB and decodes in a few ms


# To inflate a list takes longer than to receive it, inside of a cluster.
_UNCOMPRESSED = {"Accept-Encoding": "identity"}


class Handler(Protocol):
    """What a reflector tells. All calls come one after the other; each may await (and so slice its work).

    A list is ``list_started``, ``list_page`` for each part of it, ``list_finished``: what was there before
    and is on no page has been deleted meanwhile. A list that fails half-way is simply started again. An
    exception from the handler ends the reflector: it must deal with malformed objects itself.
    """

    async def list_started(self) -> None: ...

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None: ...

    async def list_finished(self) -> None: ...

    async def events(self, events: Sequence[WatchFrame]) -> None:
        """A batch of ADDED, MODIFIED and DELETED, in order; never empty."""


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_decode_object = msgspec.json.Decoder(_Object).decode


class Reflector:
    """Follows the objects under one collection path."""

    def __init__(
        self,
        client: RestClient,
        path: str,
        handler: Handler,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE_SIZE,
        backoff: Backoff | None = None,
    ) -> None:
        self.client = client
        self.path = path
        self.handler = handler
        self.synced = False  # the first list has been handed over; it never becomes False again
        self.missing = False  # the server does not serve the resource (404), so none of its objects exist
        self.version = ""  # the last resourceVersion seen
        self.lists = 0  # how many lists were begun
        self._selectors = {
            key: value
            for key, value in (("labelSelector", label_selector), ("fieldSelector", field_selector))
            if value
        }
        self._page_size = page_size
        self._backoff = backoff or Backoff(initial=0.1, maximum=10, reset_after=20)
        self._in_pages = False  # the last attempt at a whole list has failed
        self._complaint = ""  # the last failure logged: the same one is not repeated

    async def run(self) -> None:
        """Never returns; cancel it."""
        fresh = True
        while True:
            try:
                if fresh:
                    await self._list()
                    fresh = False
                await self._watch()
                self._recovered()
            except ApiError as error:
                self.missing = error.status == 404
                fresh = fresh or self.missing  # should it come back, its objects are others
                if error.gone or (error.status == 504 and error.reason == "Timeout"):
                    logger.info("%s: version %s is gone, listing again", self.path, self.version)
                    fresh = True
                    if error.gone and self._complaint != "gone":
                        self._complaint = "gone"
                        continue
                self._complain(str(error))
            except Silent:
                logger.log(log.V(1), "The watch of %s was silent and is opened anew", self.path)
            except ConnectionFailed as error:
                self._complain(str(error))
            await self._backoff.wait()

    def _complain(self, sentence: str) -> None:
        level = log.V(2) if sentence == self._complaint else logging.WARNING
        logger.log(level, "Cannot follow %s: %s", self.path, sentence)
        self._complaint = sentence

    def _recovered(self) -> None:
        self._complaint = ""
        self._backoff.reset()

    async def _list(self) -> None:
        self.lists += 1
        await self.handler.list_started()
        if self._in_pages:
            version = await self._list_pages()
        else:
            try:
                version = await self._list_whole()
            except ApiError as error:
                self._in_pages = error.status in (400, 410, 504)  # it does not have what it was asked for
                raise
        await self.handler.list_finished()
        self.version = version
        self.synced = True
        self.missing = False
        self._in_pages = False
        logger.log(log.V(1), "Listed %s at version %s", self.path, version)

    async def _list_whole(self) -> str:
        """The list in one answer, handed over while it comes. Returns its version."""
        splitter = ListSplitter()
        query = {"resourceVersion": self.version or "0", **self._selectors}
        async with self.client.stream(
            self.path, query=query, idle_timeout=LIST_IDLE_SECONDS, headers=_UNCOMPRESSED
        ) as chunks:
            async for chunk in chunks:
                self._in_pages = True  # unless it comes to its end
                items = splitter.feed(chunk)
                if items:
                    await self.handler.list_page(items)
        try:
            rest = splitter.finish()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConnectionFailed(f"{self.path}: the answer is no list: {error}") from error
        if rest.items:
            await self.handler.list_page(rest.items)
        if rest.metadata.continue_:  # a server may send less than it was asked for
            await self._list_pages(rest.metadata.continue_)
        return rest.metadata.resource_version

    async def _list_pages(self, token: str = "") -> str:
        """The newest state, page by page. Returns its version."""
        version = ""
        async with aclosing(self._pages(token)) as pages:
            async for page in pages:
                version = version or page.metadata.resource_version
                if page.items:
                    await self.handler.list_page(page.items)
        return version

    async def _pages(self, token: str) -> AsyncGenerator[RawList, None]:
        while True:
            query: dict[str, str | int] = {"limit": self._page_size, **self._selectors}
            if token:
                query["continue"] = token
            body = await self.client.get(self.path, query)
            try:
                page = decode_list(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConnectionFailed(f"{self.path}: the answer is no list: {error}") from error
            yield page
            token = page.metadata.continue_
            if not token:
                return

    async def _watch(self) -> None:
        query: dict[str, str | int] = {
            "watch": "1",
            "resourceVersion": self.version,
            "allowWatchBookmarks": "true",
            # The server ends the watch after this long; spread, so that not all clients return at once.
            "timeoutSeconds": random.randint(300, 600),
            **self._selectors,
        }
        async with aclosing(watch(self.client, self.path, query, idle_timeout=IDLE_SECONDS)) as batches:
            async for batch in batches:
                await self._hand_over(batch)
                self._recovered()

    async def _hand_over(self, batch: list[WatchFrame]) -> None:
        """Pass a batch on; an ERROR in it is raised after what came before it."""
        error: ApiError | None = None
        changes: list[WatchFrame] = []
        version = ""
        for event in batch:
            if event.type == "ERROR":
                error = error_of(event, self.path)
                break
            version = self._version_of(event) or version
            if event.type != "BOOKMARK":
                changes.append(event)
        if changes:
            await self.handler.events(changes)
        if version:
            self.version = version
        if error is not None:
            raise error

    def _version_of(self, event: WatchFrame) -> str:
        try:
            return _decode_object(event.object).metadata.resource_version
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""  # malformed: the handler reports it by name
