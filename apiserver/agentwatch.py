"""The multiplexed watch of one node: several resources in one stream, in causal order.

``GET PATH?nodeName=N&resourceVersion=R``, framed as any watch (protobuf or JSON lines). Objects are told
apart by their kind. Without a version: the node's full state, resource by resource in the order in which
they were given (groups before the policies that need them), then one BOOKMARK. With a version of this
process that is still in the history: every change after it. With any other: 410, and the client starts over.

Later BOOKMARKs (about one a minute) tell a version to resume from. ``MARKER`` events carry a Pod as
PartialObjectMetadata (namespace, name, uid): everything that follows from this Pod has been sent. Those of
Pods that are known already come before the first BOOKMARK, or at once on a resumed stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from aiohttp import web

from apis.record import Media
from apiserver import errors
from apiserver.endpoints import aborter
from apiserver.events import BodyEncoder
from apiserver.negotiation import JSON, PROTOBUF, negotiate
from apiserver.options import watch_seconds
from apiserver.request import Context
from apiserver.resources import ResourceInfo
from apiserver.selection import Selection
from apiserver.stores import Stores
from apiserver.stream import WatchStream
from apiserver.versions import parse_version
from apiserver.watcher import Marker, Watcher

KnownPods = Callable[[str], Iterable[tuple[str, str, str]]]
"""For a node: (namespace, name, uid) of its Pods whose consequences have all been published."""


class AgentWatch:
    """Serves the stream. ``infos`` in the order of the initial state."""

    def __init__(
        self,
        stores: Stores,
        infos: Sequence[ResourceInfo],
        known_pods: KnownPods | None = None,
        watch_limit: int = 262_144,
    ) -> None:
        self._stores = stores
        self._infos = {info.store: info for info in infos}
        self._known_pods = known_pods or (lambda _node: ())
        self._watch_limit = watch_limit
        for info in infos:
            stores.add(info.store)

    async def serve(self, ctx: Context) -> web.StreamResponse:
        if ctx.http.method != "GET":
            raise errors.method_not_allowed()
        node = ctx.query.get("nodeName", "")
        if not node:
            raise errors.bad_request(
                "the parameter nodeName is missing: it names the node whose state is wanted"
            )
        version = parse_version(ctx.query.get("resourceVersion", ""))
        if version is None:
            raise errors.expired("The resourceVersion for the provided watch is not of this server.")
        form = negotiate(ctx.http.headers.get("Accept", ""), served=(JSON, PROTOBUF), watch=True, table=False)
        media = Media.PROTOBUF if form.media == PROTOBUF else Media.JSON
        encoder = BodyEncoder(media, self._infos, node, self._stores.frames)
        watcher = Watcher(
            Selection(node=node),
            limit=self._watch_limit,
            bookmarks=True,
            markers=True,
            on_close=aborter(ctx.http),
        )
        await self._stores.turn()
        snapshot = self._stores.watch(self._infos, watcher.selection, version or None, watcher)
        first: list[bytes] = []
        pods = [Marker(*pod) for pod in self._known_pods(node)]
        if version:
            # What has been missed is queued already; the markers go behind it.
            for pod in pods:
                watcher.offer_marker(pod.namespace, pod.name, pod.uid)
        else:
            first = [encoder.marker(pod) for pod in pods]
            first.append(encoder.bookmark(self._stores.version, True))
        stream = WatchStream(ctx, self._stores, watcher, encoder)
        return await stream.run(snapshot, first, watch_seconds(ctx.query))
