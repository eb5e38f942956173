"""Function endpoints that know which of their paths exist."""

from __future__ import annotations

from aiohttp import web

from apiserver.endpoints import FunctionEndpoint
from apiserver.errors import no_such_resource
from apiserver.request import Context

_OF_ONE = frozenset({"get", "update", "patch", "delete"})
_OF_ALL = frozenset({"list", "create", "watch", "deletecollection"})


class RoutedEndpoint(FunctionEndpoint):
    """A path that no verb uses is not there at all (404), which is not the same as a verb that is not allowed
    (405): kinds that are only read have no collection, kinds that are only posted have no objects."""

    async def serve(self, ctx: Context) -> web.StreamResponse:
        used = _OF_ONE if ctx.info.name else _OF_ALL
        if not used.intersection(self.info.verbs):
            raise no_such_resource()
        return await super().serve(ctx)
