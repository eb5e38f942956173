"""A scripted stretch of the Kubernetes API over real HTTP: paged lists, watches that end as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from client.endpoint import Endpoint
from client.rest import RestClient


def thing(name: str, version: int, namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}}


class ScriptedApi:
    """``objects`` is the present state. ``watch_script`` has one entry for each watch to come: lines to send
    (bytes as they are, or events), then the watch ends; a float is slept; an int refuses it."""

    def __init__(self) -> None:
        self.objects: list[dict[str, Any]] = []
        self.version = 1
        self.watch_scripts: asyncio.Queue[list[Any] | int] = asyncio.Queue()
        self.requests: list[dict[str, str]] = []
        self.list_failures: list[int | str] = []  # a code, or: the connection ends within the answer
        self.app = web.Application()
        self.app.router.add_get("/api/v1/things", self._things)
        self.app.router.add_route("*", "/echo", self._echo)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        document = {
            "method": request.method,
            "query": dict(request.query),
            "headers": dict(request.headers),
            "body": body.decode(),
        }
        return web.json_response(document, status=int(request.query.get("status", 200)))

    async def _things(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query))
        if "watch" in request.query:
            return await self._watch(request)
        if self.list_failures:
            code = self.list_failures.pop(0)
            if isinstance(code, str):
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b'{"metadata":{},"items":[{"metadata":')
                assert request.transport is not None
                request.transport.abort()
                return response
            return web.json_response({"kind": "Status", "message": "not now", "code": code}, status=code)
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 1000))
        page = self.objects[start : start + limit]
        more = str(start + limit) if start + limit < len(self.objects) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return web.json_response({"metadata": metadata, "items": page})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        script = await self.watch_scripts.get()
        if isinstance(script, int):
            document = {"kind": "Status", "message": "refused", "code": script, "reason": "Expired"}
            return web.json_response(document, status=script)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, bytes):
                await response.write(step)
            else:
                kind, body = step
                await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
        await response.write_eof()
        return response


@asynccontextmanager
async def serving(api: ScriptedApi) -> AsyncIterator[RestClient]:
    runner = web.AppRunner(api.app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with RestClient(Endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}")) as client:
        yield client
    await runner.cleanup()
