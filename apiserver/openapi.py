"""OpenAPI v2 and v3."""

from __future__ import annotations

from aiohttp import web

from apiserver.registry import Registry
from apiserver.request import Context
from apiserver.resources import Object


class OpenAPI:
    def __init__(self, registry: Registry, title: str, version: Object) -> None:
        self._registry = registry

    async def serve(self, ctx: Context) -> web.StreamResponse | None:
        return None
