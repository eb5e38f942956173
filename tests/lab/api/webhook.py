"""A webhook server in a thread: answers each path as a test has set it, and keeps what was asked."""

from __future__ import annotations

import asyncio
import base64
import json
import pathlib
import ssl
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

from lab.api.pki import Authority
from tests.lab.api.process import LabApi

Review = dict[str, Any]
Handler = Callable[[Review], Review]
"""From the request of a review to its response, without uid."""


class WebhookServer:
    def __init__(self, folder: pathlib.Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name  # of the Service, NAME.NAMESPACE.svc
        self.handlers: dict[str, Handler] = {}
        self.asked: list[tuple[str, Review]] = []
        self.port = 0
        self.delay = 0.0
        self._authority = Authority.ensure(folder, "hook-ca", "hook-ca")
        certificate, key = self._authority.issue("hook", names=[name], server=True)
        pair = folder / "hook.pem"
        pair.write_bytes(certificate + key)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    @property
    def bundle(self) -> str:
        return base64.b64encode(self._authority.pem).decode()

    def publish(self, api: LabApi) -> None:
        """Makes the Service."""
        name, namespace = self.name.split(".")[:2]
        spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]}
        api.create(f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": name}, "spec": spec})

    def config(self, path: str) -> dict[str, Any]:
        name, namespace = self.name.split(".")[:2]
        service = {"name": name, "namespace": namespace, "path": path, "port": self.port}
        return {"service": service, "caBundle": self.bundle}

    def of(self, path: str) -> list[Review]:
        """The requests that came to a path."""
        return [review["request"] for asked, review in self.asked if asked == path]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        asyncio.run_coroutine_threadsafe(self._end_requests(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @staticmethod
    async def _end_requests() -> None:
        """Those that still wait because the server was told to be slow."""
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _run(self) -> None:
        async def serve() -> None:
            app = web.Application(client_max_size=8 << 20)
            app.router.add_route("POST", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(app, shutdown_timeout=0.1)
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self._started.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        review = json.loads(await request.read())
        self.asked.append((request.path_qs, review))
        handler = self.handlers.get(request.path)
        if handler is None:
            return web.Response(status=404)
        await asyncio.sleep(self.delay)
        response = handler(review["request"])
        head = {key: review[key] for key in ("kind", "apiVersion")}
        return web.json_response({**head, "response": {"uid": review["request"]["uid"], **response}})


def patched(*operations: dict[str, Any]) -> Review:
    """An answer of a mutating hook."""
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patch": patch, "patchType": "JSONPatch"}
