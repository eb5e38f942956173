"""One HTTP/1.1 connection: aiohttp's protocol with limits for the head of every request.

aiohttp bounds a line and a field, not their sum, and waits for the rest of a head as long as for the next
request. Here a head has its own time and size from its first byte on; beyond them the connection ends (with
408 or 431, as Go's server says it).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from apiserver.complaints import Complaints

_log = logging.getLogger(__name__)
_HEAD_END = b"\r\n\r\n"
_HAS_MAX_HEADERS = "max_headers" in inspect.signature(RequestHandler).parameters
_MAX_HEADERS = 4096  # a user of many groups comes with as many headers; the sum is what is bounded


class HttpConnection(RequestHandler):
    """``head_seconds`` and ``head_bytes`` for each request's head."""

    __slots__ = ("_head_bytes", "_head_limit", "_head_seconds", "_head_timer", "_lost", "_on_lost")

    def __init__(self, manager: web.Server, *, head_seconds: float, head_bytes: int, **options: Any) -> None:
        if _HAS_MAX_HEADERS:
            options["max_headers"] = _MAX_HEADERS
        super().__init__(manager, max_line_size=head_bytes, max_field_size=head_bytes, **options)
        self._head_seconds = head_seconds
        self._head_limit = head_bytes
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._on_lost: Callable[[], None] | None = None
        self._lost = False

    def on_lost(self, then: Callable[[], None]) -> None:
        """Calls ``then`` once the connection is gone, at once if it already is."""
        if self._lost:
            then()
        else:
            self._on_lost = then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        self._lost = True
        if self._on_lost is not None:
            self._on_lost()

    def data_received(self, data: bytes) -> None:
        waiter, request = self._waiter, self._current_request
        idle = self._request_count == 0 or (waiter is not None and not waiter.done())
        if not idle and (request is None or not request.content.is_eof()):
            super().data_received(data)  # a body
            return
        end = data.find(_HEAD_END)
        self._head_bytes += len(data) if end < 0 else end
        if self._head_bytes > self._head_limit:
            if idle:
                self._refuse(431, "Request Header Fields Too Large")
            elif self.transport is not None:
                self.transport.abort()  # what is sent ahead of an answer is bounded as well
            return
        if idle and self._head_timer is None:
            self._expect_head()
        seen = self._request_count
        super().data_received(data)
        if self._request_count != seen:
            self._stop_timer()
            self._head_bytes = 0

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(self._head_seconds, self._too_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(408, "Request Timeout")
        elif self.transport is not None:
            self.transport.abort()

    def _refuse(self, code: int, phrase: str) -> None:
        transport = self.transport
        self._stop_timer()
        if transport is not None and not transport.is_closing():
            text = f"{code} {phrase}"
            transport.write(
                f"HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
            )
        self.force_close()


class HttpConnections(web.Server):
    """The factory of the connections of one server."""

    def __init__(self, handler: Any, *, head_seconds: float, head_bytes: int, idle_seconds: float) -> None:
        super().__init__(handler, handler_cancellation=True)  # a watch whose client has left ends at once
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": Complaints(_log),
            "keepalive_timeout": idle_seconds,
            # As kube-apiserver. A body would be inflated while it arrives, even that of a stranger.
            "auto_decompress": False,
            "lingering_time": 1.0,
            "head_seconds": head_seconds,
            "head_bytes": head_bytes,
        }

    def __call__(self) -> HttpConnection:
        return HttpConnection(self, loop=self._loop, **self._options)
