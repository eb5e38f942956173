"""A version of a custom resource that is not the stored one, where a webhook converts between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from apiserver import render, table
from apiserver.documents.endpoint import DocumentEndpoint
from apiserver.documents.kind import Kind
from apiserver.documents.record import Document, full_object
from apiserver.documents.registry import Registry, document_of
from apiserver.endpoints import aborter
from apiserver.errors import StatusError
from apiserver.history import Entry
from apiserver.options import ListOptions, read_options
from apiserver.request import Context
from apiserver.resources import Object
from apiserver.stores import Key, Stored
from apiserver.watcher import BOOKMARK, DELETED, Watcher
from lab.api.webhooks.conversion import ConvertedForms

_WATCH_LIMIT = 8192
_encode = msgspec.json.Encoder().encode


class ConvertedEndpoint(DocumentEndpoint):
    """Everything that is read is converted when it is read, everything written before it is stored."""

    def __init__(self, kind: Kind, registry: Registry, forms: ConvertedForms) -> None:
        super().__init__(kind, registry)
        self.forms = forms
        self._forms = forms

    async def _shown(self, items: Sequence[Stored]) -> list[Stored]:
        if not items:
            return []
        made = await self._forms.shown_all([document_of(stored) for stored in items])
        return [Stored(Document(obj), stored.version) for obj, stored in zip(made, items, strict=True)]

    async def get(self, ctx: Context) -> web.StreamResponse:
        (stored,) = await self._shown([self.find(ctx)])
        return await render.compressed(ctx, render.stored_object(ctx, self.info, stored))

    async def _state(self, options: ListOptions) -> tuple[int, list[tuple[Key, Stored]]]:
        version, items = await super()._state(options)
        if self._lists.get((version, options.selection)) is items:
            return version, items  # of an earlier page, converted then
        shown = await self._shown([stored for _, stored in items])
        return version, [(key, stored) for (key, _), stored in zip(items, shown, strict=True)]

    # --- watching: each change is converted before it is sent ---

    async def watch(self, ctx: Context) -> web.StreamResponse:
        options = read_options(self.info, ctx.query, ctx.info.namespace, ctx.info.name, watch=True)
        stores, store, selection = self.stores, self.info.store, options.selection
        since = None if options.send_initial_events else options.version or None
        watcher = Watcher(
            selection, limit=_WATCH_LIMIT, bookmarks=options.bookmarks, on_close=aborter(ctx.http)
        )
        present = sorted(stores.items(store, selection)) if since is None else []
        stores.watch([store], selection, stores.version if since is None else since, watcher)
        first = [("ADDED", stored) for _, stored in present]
        response = web.StreamResponse(headers={"Content-Type": "application/json", **render.HEADERS})
        response.enable_chunked_encoding()
        events = _Events(ctx, self, response)
        mark = stores.version if since is None and options.send_initial_events and options.bookmarks else 0
        try:
            await response.prepare(ctx.http)
            async with asyncio.timeout(options.timeout):
                await events.send(first)
                if mark:
                    await events.bookmark(mark, True)
                await self._follow(watcher, events)
        except TimeoutError:
            pass
        except ConnectionError:
            return response
        finally:
            stores.unwatch(watcher)
        try:
            await response.write_eof()
        except ConnectionError:
            pass
        return response

    @staticmethod
    async def _follow(watcher: Watcher, events: _Events) -> None:
        while not watcher.closed and not events.failed:
            await watcher.wait()
            due: list[tuple[str, Stored]] = []
            while (found := watcher.take()) is not None:
                event, what = found
                if isinstance(what, Entry):
                    record = what.old if event == DELETED else what.new
                    assert record is not None
                    due.append((event, Stored(record, what.version)))
                elif event == BOOKMARK and isinstance(what, int):
                    await events.send(due)
                    due = []
                    await events.bookmark(what, False)
            await events.send(due)


class _Events:
    """Writes the events of one watch."""

    def __init__(self, ctx: Context, endpoint: ConvertedEndpoint, response: web.StreamResponse) -> None:
        self._form = ctx.form
        self._include = table.include_object(ctx.query.get("includeObject", ""))
        self._endpoint = endpoint
        self._response = response
        self._with_columns = True
        self.failed = False

    async def send(self, due: list[tuple[str, Stored]]) -> None:
        """A conversion that fails ends the watch with an error, as a cluster's does."""
        if self.failed:
            return
        try:
            shown = await self._endpoint._shown([stored for _, stored in due])
        except StatusError as error:
            self.failed = True
            await self._write("ERROR", error.status())
            return
        for (event, _), stored in zip(due, shown, strict=True):
            await self._write(
                event, self._made(full_object(self._endpoint.info, document_of(stored), stored.version))
            )

    async def bookmark(self, version: int, annotated: bool) -> None:
        metadata: Object = {"resourceVersion": str(version)}
        if annotated:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        info = self._endpoint.info
        head = {"kind": info.kind, "apiVersion": info.api_version, "metadata": metadata}
        await self._write(BOOKMARK, self._made(head))

    def _made(self, document: Object) -> Object:
        form = self._form
        if form.transform == "Table":
            metadata = {"resourceVersion": document["metadata"]["resourceVersion"]}
            made: Object = table.table(
                self._endpoint.info,
                [document],
                self._include,
                metadata,
                form.transform_version,
                self._with_columns,
            )
            self._with_columns = False
            return made
        if form.transform:
            return {**table.partial(document), "apiVersion": f"meta.k8s.io/{form.transform_version}"}
        return document

    async def _write(self, event: str, obj: Any) -> None:
        await self._response.write(_encode({"type": event, "object": obj}) + b"\n")
