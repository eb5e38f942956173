"""Sockets for an ApiServer: plain or TLS, given addresses or inherited descriptors, with limits in time and
size.

A connection has 10 s for its TLS handshake and 10 s for the head of its first request, and is closed after
120 s without one. Heads may have 64 KiB. A slow handshake or a stuck client delays nobody: each is a
transport of its own, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from apiserver.complaints import Complaints
from apiserver.server import ApiServer
from runtime.errors import ConfigurationError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes that a connection may take."""

    handshake_seconds: float = 10.0
    head_seconds: float = 10.0
    idle_seconds: float = 120.0
    head_bytes: int = 64 * 1024
    bookmark_seconds: float = 60.0


class _Connections(web.Server):
    """aiohttp's protocol factory, with a deadline for the first request's head."""

    def __init__(self, server: ApiServer, limits: Limits) -> None:
        super().__init__(
            server.handle,
            handler_cancellation=True,  # a watch whose client has left ends at once
            access_log=None,
            logger=Complaints(_log),
            keepalive_timeout=limits.idle_seconds,
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
            # As kube-apiserver. A body would be inflated while it arrives, even that of a stranger.
            auto_decompress=False,
            lingering_time=1.0,
        )
        self._head_seconds = limits.head_seconds

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        asyncio.get_running_loop().call_later(self._head_seconds, self._expect_request, handler, transport)

    @staticmethod
    def _expect_request(handler: RequestHandler, transport: asyncio.Transport) -> None:
        if handler._request_count == 0 and not transport.is_closing():
            transport.abort()


class Listener:
    """Serves an ApiServer on any number of sockets."""

    def __init__(self, server: ApiServer, limits: Limits | None = None) -> None:
        self._server = server
        self._limits = limits or Limits()
        self._connections: _Connections | None = None
        self._servers: list[asyncio.AbstractServer] = []
        self._bookmarks: asyncio.Task[None] | None = None

    async def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[str, int]:
        """Opens a socket, or takes an open one; returns its address. Port 0 chooses a free one.

        Raises ConfigurationError where the address cannot be had."""
        if self._connections is None:
            self._connections = _Connections(self._server, self._limits)
            self._bookmarks = asyncio.create_task(self._send_bookmarks(), name="bookmarks")
        loop = asyncio.get_running_loop()
        timeout = self._limits.handshake_seconds if tls is not None else None
        if sock is not None:
            sock.setblocking(False)
            opened = await loop.create_server(
                self._connections, sock=sock, ssl=tls, ssl_handshake_timeout=timeout, backlog=1024
            )
        else:
            try:
                opened = await loop.create_server(
                    self._connections, host, port or 0, ssl=tls, ssl_handshake_timeout=timeout, backlog=1024
                )
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise ConfigurationError(
                    f"port {port} of {host or 'all addresses'} cannot be listened on: {reason}. Does another "
                    "copy run? End it, or configure another port"
                ) from error
        self._servers.append(opened)
        name = opened.sockets[0].getsockname()
        return (name[0], name[1]) if isinstance(name, tuple) else (str(name), 0)

    async def _send_bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self._limits.bookmark_seconds)
            self._server.stores.bookmark()

    async def close(self, grace: float = 3.0) -> None:
        """Stops listening, ends watches in order, and gives other requests ``grace`` seconds to finish."""
        if self._bookmarks is not None:
            self._bookmarks.cancel()
        for opened in self._servers:
            opened.close()
        self._server.stores.close()
        if self._connections is not None:
            self._connections.pre_shutdown()
            await self._connections.shutdown(grace)
        self._servers.clear()
