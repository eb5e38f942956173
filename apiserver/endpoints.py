"""What answers the requests for a resource.

- ``StoreEndpoint``: reads what somebody publishes into a store (get, list, watch);
- ``FunctionEndpoint``: functions of the program compute each answer (create-only kinds, live information);
- ``DocumentEndpoint`` (apiserver.documents.endpoint): clients write JSON objects, by the rules of a Kind.

Any endpoint can have subresources: functions of (context, namespace, name, body).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from apis.record import Media
from apiserver import errors, render
from apiserver.body import read_delete_options, read_object
from apiserver.events import encoder_for
from apiserver.negotiation import JSON, PROTOBUF, YAML, negotiate
from apiserver.options import ListOptions, Position, check_write_options, read_options
from apiserver.pace import Pace
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo
from apiserver.selection import Selection
from apiserver.stores import Key, Stored, Stores
from apiserver.stream import WatchStream
from apiserver.watcher import Watcher

Items = list[tuple[Key, Stored]]
Answer = Object | web.StreamResponse
SubresourceHandler = Callable[[Context, str, str, Object | None], Awaitable[Answer]]
"""(context, namespace, name, body): ``body`` is the decoded object of a create or update, else None."""


_KEPT_LISTS = 4


class Endpoint:
    """The base: dispatches verbs to methods, and subresources to their handlers."""

    def __init__(self, info: ResourceInfo) -> None:
        self.info = info
        self.subresources: dict[str, SubresourceHandler] = {}

    def served_media(self) -> tuple[str, ...]:
        if Media.PROTOBUF in self.info.media or self.info.codec is not None:
            return (JSON, YAML, PROTOBUF)
        return (JSON, YAML)

    async def serve(self, ctx: Context) -> web.StreamResponse:
        """Answers a request for the resource itself (no subresource)."""
        request = ctx.info
        verb = request.verb
        if verb == "get" and not request.name:
            verb = "list"
        watch = verb == "watch"
        if watch and ctx.http.method != "GET":
            raise errors.method_not_allowed()
        pretty = bool(ctx.form.pretty)
        ctx.form = negotiate(
            ctx.http.headers.get("Accept", ""),
            served=self.served_media(),
            watch=watch,
            table=self.info.has_table,
            pretty=pretty,
        )
        if verb not in self.info.verbs:
            if watch and "list" in self.info.verbs:
                kind = self.info.qualified
                details = {"group": self.info.group, "kind": self.info.plural} if self.info.group else {}
                raise errors.StatusError(
                    405,
                    "MethodNotAllowed",
                    f'watch is not supported on resources of kind "{kind}"',
                    details,
                )
            raise errors.method_not_allowed()
        method: Callable[[Context], Awaitable[web.StreamResponse]] | None = getattr(self, verb, None)
        if method is None:
            raise errors.method_not_allowed()
        return await method(ctx)

    async def serve_subresource(self, ctx: Context) -> web.StreamResponse:
        """Answers a request for a registered subresource with a handler."""
        sub = self.info.subresource(ctx.info.subresource)
        handler = self.subresources.get(ctx.info.subresource)
        if sub is None or handler is None:
            raise errors.no_such_resource()
        if ctx.info.verb not in sub.verbs:
            raise errors.method_not_allowed()
        body: Object | None = None
        if ctx.http.method in ("POST", "PUT"):
            check_write_options(ctx.info.verb, ctx.query)
            body = await read_object(
                ctx, self.info, sub.kind, sub.group or self.info.group, sub.version or self.info.version
            )
        ctx.form = negotiate(
            ctx.http.headers.get("Accept", ""),
            served=self.served_media(),
            table=False,
            pretty=ctx.form.pretty,
        )
        answer = await handler(ctx, ctx.info.namespace, ctx.info.name, body)
        return _finish(ctx, self.info, answer, 201 if ctx.http.method == "POST" else 200)


def _finish(ctx: Context, info: ResourceInfo, answer: Answer, code: int) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if answer.get("kind") == "Status" and answer.get("apiVersion") == "v1":
        return render.status(ctx.form, answer, answer.get("code") or code, ctx)
    return render.plain_object(ctx, info, answer, code)


class StoreEndpoint(Endpoint):
    """Reads from a store."""

    def __init__(self, info: ResourceInfo, stores: Stores, watch_limit: int = 65536) -> None:
        super().__init__(info)
        self.stores = stores
        self._watch_limit = watch_limit
        self._lists: dict[tuple[int, Selection], Items] = {}
        self._bodies = render.Bodies(stores.makers, stores.frames)
        stores.add(info.store)

    def _key(self, ctx: Context) -> Key:
        return (ctx.info.namespace if self.info.namespaced else "", ctx.info.name)

    def find(self, ctx: Context) -> Stored:
        stored = self.stores.get(self.info.store, self._key(ctx))
        if stored is None:
            raise errors.not_found(self.info, ctx.info.name)
        return stored

    async def get(self, ctx: Context) -> web.StreamResponse:
        answer = await render.sliced_object(ctx, self.info, self.find(ctx), self._bodies)
        return await render.compressed(ctx, answer)

    async def list(self, ctx: Context) -> web.StreamResponse:
        options = read_options(self.info, ctx.query, ctx.info.namespace, watch=False)
        version, items = await self._state(options)
        token, remaining = "", None
        if options.limit or options.position is not None:
            whole = items
            items, token, remaining = _page(items, version, options)
            self._remember(version, options.selection, whole if token else None)
        chosen = [stored for _, stored in items]
        answer = await render.sliced_list(
            ctx, self.info, chosen, version, self._bodies, token, remaining, options.selection.node
        )
        return await render.compressed(ctx, answer)

    async def _state(self, options: ListOptions) -> tuple[int, Items]:
        """The version and the selected objects of that moment, in order."""
        stores, name = self.stores, self.info.store
        await stores.whole()
        current = stores.version
        if options.position is not None:
            version = options.position.version
            known = self._lists.get((version, options.selection))
            if known is not None:
                return version, known
            try:
                return version, stores.items_at(name, version, options.selection)
            except errors.StatusError as error:
                raise errors.expired(
                    "The provided continue parameter is too old to display a consistent list result. You can "
                    "start a new list without the continue parameter."
                ) from error
        if options.version and options.match == "Exact":
            return options.version, stores.items_at(name, options.version, options.selection)
        if options.version and options.version > current:
            raise errors.timeout(f"Too large resource version: {options.version}, current: {current}")
        selection = options.selection
        if selection.node or selection.name:
            return current, sorted(stores.items(name, selection), key=_by_key)
        items = stores.sorted_items(name)
        if selection.everything:
            return current, items
        pace, chosen = Pace(), []
        for item in items:
            if selection.wants(item[1].record):
                chosen.append(item)
            if pace.due():
                await pace.rest()
        return current, chosen

    def _remember(self, version: int, selection: Selection, items: Items | None) -> None:
        """Keeps a list that is being read in pages, so that each page does not make it anew."""
        self._lists.pop((version, selection), None)
        if items is not None:
            self._lists[(version, selection)] = items
            while len(self._lists) > _KEPT_LISTS:
                del self._lists[next(iter(self._lists))]

    async def watch(self, ctx: Context) -> web.StreamResponse:
        options = read_options(self.info, ctx.query, ctx.info.namespace, ctx.info.name, watch=True)
        selection = options.selection
        encoder = encoder_for(ctx.form, self.info, selection.node, ctx.query, self.stores.frames)
        since = options.version or None
        if options.send_initial_events:
            since = None
        watcher = Watcher(
            selection,
            limit=self._watch_limit,
            bookmarks=options.bookmarks,
            on_close=aborter(ctx.http),
        )
        await self.stores.turn()
        snapshot = self.stores.watch([self.info.store], selection, since, watcher)
        first: list[bytes] = []
        asked = bool(options.send_initial_events) and options.bookmarks
        if since is None and (asked or (self.info.bookmark_always and self._wants_bookmark(ctx, options))):
            first.append(encoder.bookmark(self.stores.version, asked))
        stream = WatchStream(ctx, self.stores, watcher, encoder)
        return await stream.run(snapshot, first, options.timeout)

    @staticmethod
    def _wants_bookmark(ctx: Context, options: ListOptions) -> bool:
        # A bookmark on a Table watch is a row without a name in what kubectl prints.
        return ctx.form.transform != "Table" or options.bookmarks


def aborter(request: web.BaseRequest) -> Callable[[], None]:
    """Ends the connection of a client that does not read; one that keeps up gets an orderly end instead."""

    def abort() -> None:
        transport = request.transport
        if transport is not None and transport.get_write_buffer_size() > 0:
            transport.abort()

    return abort


def _by_key(item: tuple[Key, Stored]) -> Key:
    return item[0]


def _page(items: Items, version: int, options: ListOptions) -> tuple[Items, str, int | None]:
    """The part of a sorted list that is due, the token for the rest, and how much that is."""
    if options.position is not None:
        start = (options.position.namespace, options.position.name)
        items = items[bisect_right(items, start, key=_by_key) :]
    if not options.limit or len(items) <= options.limit:
        return items, "", None
    page = items[: options.limit]
    namespace, name = page[-1][0]
    selective = options.selection.labels is not None or bool(options.selection.fields)
    remaining = None if selective else len(items) - options.limit
    return page, Position(version, namespace, name).token(), remaining


Getter = Callable[[Context, str, str], Awaitable[Answer]]
"""(context, namespace, name)"""
Lister = Callable[[Context, str], Awaitable[list[Object]]]
"""(context, namespace): objects with kind and apiVersion"""
Creator = Callable[[Context, str, Object], Awaitable[Answer]]
"""(context, namespace, object)"""


@dataclass
class Functions:
    """What a FunctionEndpoint calls; a verb without a function is not allowed."""

    get: Getter | None = None
    list: Lister | None = None
    create: Creator | None = None
    update: Creator | None = None
    delete: Getter | None = None
    create_code: int = 201
    extra: dict[str, Any] = field(default_factory=dict)


class FunctionEndpoint(Endpoint):
    """Answers are computed: TokenReview and its like, statistics, live information."""

    def __init__(self, info: ResourceInfo, functions: Functions) -> None:
        super().__init__(info)
        self._functions = functions

    async def get(self, ctx: Context) -> web.StreamResponse:
        if self._functions.get is None:
            raise errors.method_not_allowed()
        answer = await self._functions.get(ctx, ctx.info.namespace, ctx.info.name)
        return _finish(ctx, self.info, answer, 200)

    async def list(self, ctx: Context) -> web.StreamResponse:
        if self._functions.list is None:
            raise errors.method_not_allowed()
        options = read_options(self.info, ctx.query, ctx.info.namespace, watch=False)
        documents = [
            document
            for document in await self._functions.list(ctx, ctx.info.namespace)
            if options.selection.chooses(document)
        ]
        return await render.compressed(ctx, render.plain_list(ctx, self.info, documents))

    async def create(self, ctx: Context) -> web.StreamResponse:
        if self._functions.create is None:
            raise errors.method_not_allowed()
        check_write_options(ctx.info.verb, ctx.query)
        body = await read_object(ctx, self.info, self.info.kind, self.info.group, self.info.version)
        answer = await self._functions.create(ctx, ctx.info.namespace, body)
        return _finish(ctx, self.info, answer, self._functions.create_code)

    async def update(self, ctx: Context) -> web.StreamResponse:
        if self._functions.update is None:
            raise errors.method_not_allowed()
        check_write_options(ctx.info.verb, ctx.query)
        body = await read_object(ctx, self.info, self.info.kind, self.info.group, self.info.version)
        return _finish(ctx, self.info, await self._functions.update(ctx, ctx.info.namespace, body), 200)

    async def delete(self, ctx: Context) -> web.StreamResponse:
        if self._functions.delete is None:
            raise errors.method_not_allowed()
        check_write_options(ctx.info.verb, ctx.query)
        await read_delete_options(ctx)
        answer = await self._functions.delete(ctx, ctx.info.namespace, ctx.info.name)
        return _finish(ctx, self.info, answer, 200)
