"""Passes requests on to aggregated servers, streaming both ways.

The user goes along in X-Remote-User, X-Remote-Group and X-Remote-Extra-*, which the server believes because
our client certificate is of the front-proxy CA; the user's own credentials stay here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from apiserver.auth import User
from apiserver.errors import StatusError, unavailable
from apiserver.request import Context
from lab.api.aggregation.availability import Availability
from lab.api.aggregation.backends import Backend, BackendError, Backends, complaint

_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
        "content-length",
    )
)
_PATIENCE = 60.0  # seconds until an answer begins, as kube-apiserver's for requests that are no watches
_LITTLE_PATIENCE = 2.0  # with a server that did not answer when it was last asked


class AggregatingProxy:
    """The API server's fallback: answers for group versions that an APIService gives to another server."""

    def __init__(self, backends: Backends, availability: Availability) -> None:
        self._backends = backends
        self._availability = availability

    async def serve(self, ctx: Context) -> web.StreamResponse | None:
        group, version = _group_version(ctx.info.path)
        found = self._availability.remote(group, version) if version else None
        if found is None:
            return None
        name, api_service = found
        if ctx.http.headers.get("Upgrade"):
            raise StatusError(400, "BadRequest", "connections of aggregated servers cannot be upgraded here")
        try:
            backend = self._backends.resolve(api_service)
        except BackendError as error:
            self._availability.check(name)
            raise unavailable(f"the server for APIService {name} cannot be reached: {error}") from None
        return await self._forward(ctx, name, backend)

    async def _forward(self, ctx: Context, name: str, backend: Backend) -> web.StreamResponse:
        request = ctx.http
        url = URL(backend.url(request.rel_url.raw_path_qs), encoded=True)
        body = _body(request) if request.can_read_body else None
        headers = _request_headers(request, ctx.user)
        if request.content_length is not None and body is not None:
            headers["Content-Length"] = str(request.content_length)
        patience = _PATIENCE if self._availability.is_available(name) else _LITTLE_PATIENCE
        try:
            async with asyncio.timeout(patience):
                upstream = await self._backends.session.request(
                    request.method,
                    url,
                    ssl=backend.tls,
                    server_hostname=backend.server_name,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._availability.check(name)
            text = complaint(error)
            raise unavailable(f"error trying to reach service of APIService {name}: {text}") from None
        try:
            return await _answer(request, upstream)
        finally:
            upstream.close() if not upstream.content.at_eof() else upstream.release()


def _group_version(path: str) -> tuple[str, str]:
    parts = path.strip("/").split("/")
    if parts[:2] == ["openapi", "v3"]:
        parts = parts[2:]
    if len(parts) >= 3 and parts[0] == "apis":
        return parts[1], parts[2]
    return "", ""


def _request_headers(request: web.BaseRequest, user: User) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for key, value in request.headers.items():
        lower = key.lower()
        if lower not in _HOP and not lower.startswith(("x-remote-", "impersonate-")):
            headers.add(key, value)
    headers["X-Remote-User"] = user.name
    for group in user.groups:
        headers.add("X-Remote-Group", group)
    if user.uid:
        headers["X-Remote-Uid"] = user.uid
    for key, values in user.extra.items():
        for value in values:
            headers.add("X-Remote-Extra-" + quote(key, safe=""), value)
    headers.setdefault("Accept-Encoding", "identity")
    if request.remote:
        headers["X-Forwarded-For"] = request.remote
    return headers


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


async def _answer(request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
    for key, value in upstream.headers.items():
        if key.lower() not in _HOP:
            response.headers.add(key, value)
    length = upstream.headers.get("Content-Length")
    if length is not None:
        response.content_length = int(length)
    elif upstream.status not in (204, 304):
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
        # One side has gone in the middle of a stream: the other learns it by the connection's end.
        if request.transport is not None:
            request.transport.abort()
    return response
