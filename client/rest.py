"""REST requests to a Kubernetes-style server: bytes in and out, errors as exceptions, watches as streams."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from client.endpoint import Endpoint
from client.errors import ApiError, ConnectionFailed, Silent

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

CONNECT_TIMEOUT = 10.0  # seconds
REQUEST_TIMEOUT = 30.0
READ_BUFFER = 1 << 18

Query = Mapping[str, str | int] | Mapping[str, str]


@dataclass(slots=True)
class Response:
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class RestClient:
    """Requests to one endpoint over a pool of connections. Close it, or use it as a context manager.

    Paths start with ``/`` and are joined to the endpoint's URL. Answers of 400 and more raise ApiError;
    no answer raises ConnectionFailed. Bodies are bytes, or anything that msgspec encodes as JSON.
    """

    def __init__(self, endpoint: Endpoint, user_agent: str = "antrea-py") -> None:
        self.endpoint = endpoint
        self.user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            if self.endpoint.session is not None:
                self._session = self.endpoint.session()
                self._session.headers.setdefault("User-Agent", self.user_agent)
                return self._session
            connector = aiohttp.TCPConnector(
                ssl=self.endpoint.tls if self.endpoint.tls is not None else False,
                limit=0,  # a watch holds a connection for hours: a limit would starve the rest
                keepalive_timeout=60,
                ttl_dns_cache=10,
                socket_factory=_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                read_bufsize=READ_BUFFER,
                timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
                headers={"User-Agent": self.user_agent},
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request and its whole answer. ``timeout`` in seconds for all of it; 0 means none."""
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            async with self._open(
                method, path, query, data, content_type, accept, timeout, headers
            ) as response:
                payload = await response.read()
                if response.status >= 400:
                    raise ApiError.from_body(
                        response.status, response.reason or "", payload, str(response.url)
                    )
                return Response(response.status, response.content_type, response.headers, payload)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failure(path, error) from error

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        accept: str = JSON,
        method: str = "GET",
        idle_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer read piece by piece, for as long as it lasts: ``async with … as chunks``.

        ``idle_timeout``: seconds without a byte after which the connection counts as broken. Without it only
        TCP's own keep-alive (about half a minute) finds a peer that has vanished.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout)
        try:
            async with self._open(method, path, query, None, JSON, accept, timeout, headers) as response:
                if response.status >= 400:
                    payload = await response.content.read(1 << 16)
                    raise ApiError.from_body(
                        response.status, response.reason or "", payload, str(response.url)
                    )
                yield response.content.iter_any()
        except aiohttp.SocketTimeoutError as error:
            raise Silent(f"{self.endpoint.url}{path}: nothing came for {idle_timeout:g} s") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failure(path, error) from error

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        query: Query | None,
        data: bytes | None,
        content_type: str,
        accept: str,
        timeout: float | aiohttp.ClientTimeout | None,
        headers: Mapping[str, str] | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        all_headers = {"Accept": accept, **await self.endpoint.headers(), **(headers or {})}
        if data is not None:
            all_headers["Content-Type"] = content_type
        options: dict[str, Any] = {}
        if timeout is None:
            timeout = REQUEST_TIMEOUT
        if isinstance(timeout, aiohttp.ClientTimeout):
            options["timeout"] = timeout
        elif timeout is not None:
            options["timeout"] = aiohttp.ClientTimeout(total=timeout or None, sock_connect=CONNECT_TIMEOUT)
        if self.endpoint.server_name:
            options["server_hostname"] = self.endpoint.server_name
        if self.endpoint.proxy:
            options["proxy"] = self.endpoint.proxy
        if query:
            options["params"] = {key: _text(value) for key, value in query.items()}
        async with self.session().request(
            method,
            self.endpoint.url + path,
            data=data,
            headers=all_headers,
            allow_redirects=False,
            **options,
        ) as response:
            yield response

    def _failure(self, path: str, error: BaseException) -> ConnectionFailed:
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = "no answer in time"
        return ConnectionFailed(f"{self.endpoint.url}{path.partition('?')[0]}: {reason}")

    # The verbs of the Kubernetes API; each returns the answer's body.

    async def get(self, path: str, query: Query | None = None, accept: str = JSON) -> bytes:
        return (await self.request("GET", path, query=query, accept=accept)).body

    async def create(self, path: str, body: object, query: Query | None = None) -> bytes:
        return (await self.request("POST", path, body=body, query=query)).body

    async def update(self, path: str, body: object, query: Query | None = None) -> bytes:
        return (await self.request("PUT", path, body=body, query=query)).body

    async def patch(self, path: str, body: object, content_type: str = MERGE_PATCH) -> bytes:
        return (await self.request("PATCH", path, body=body, content_type=content_type)).body

    async def delete(self, path: str, body: object = None) -> bytes:
        return (await self.request("DELETE", path, body=body)).body


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within half a minute that the other end is gone without a word."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return made
