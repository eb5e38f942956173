"""Sockets for an ApiServer: plain or TLS, given addresses or inherited descriptors, with limits in time, size
and number.

A connection has 10 s for its TLS handshake and 10 s for the head of each request, and is closed after 120 s
without one. Heads may have 64 KiB. A client that reads nothing for a minute while something is due to it, or
whose machine has vanished, is cut off by TCP itself. A slow handshake or a stuck client delays nobody: each
is a transport of its own, nothing waits for it, and apiserver.connections says who gives way to whom.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass

from apiserver.connections import Connection, Connections, source
from apiserver.httpconnection import HttpConnections
from apiserver.server import ApiServer
from runtime.errors import ConfigurationError

_log = logging.getLogger(__name__)

_ACCEPT_AT_ONCE = 32
_ACCEPT_AGAIN_SECONDS = 0.05
_SPARE_DESCRIPTORS = 256  # for everything that is no connection of a client
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take: seconds, bytes, and how many there may be.

    Everything that comes through aggregation has the address of a kube-apiserver, a watch each; agents have
    their nodes' addresses and about four connections.
    """

    handshake_seconds: float = 10.0
    head_seconds: float = 10.0
    idle_seconds: float = 120.0
    stuck_seconds: float = 60.0
    head_bytes: int = 64 * 1024
    bookmark_seconds: float = 60.0
    connections: int = 20_000
    connections_per_peer: int = 5_000
    handshakes: int = 2_048
    handshakes_per_peer: int = 256


class Listener:
    """Serves an ApiServer on any number of sockets."""

    def __init__(self, server: ApiServer, limits: Limits | None = None) -> None:
        self._server = server
        self._limits = limits or Limits()
        self.connections = Connections(
            _allowed(self._limits.connections),
            self._limits.connections_per_peer,
            self._limits.handshakes,
            self._limits.handshakes_per_peer,
        )
        self._http: HttpConnections | None = None
        self._sockets: list[socket.socket] = []
        self._paused: set[asyncio.TimerHandle] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._bookmarks: asyncio.Task[None] | None = None

    async def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[str, int]:
        """Opens sockets, or takes an open one; returns its address. Port 0 chooses a free one. Without a host
        every IPv4 and IPv6 address.

        Raises ConfigurationError where the address cannot be had."""
        if self._http is None:
            self._http = HttpConnections(
                self._server.handle,
                head_seconds=self._limits.head_seconds,
                head_bytes=self._limits.head_bytes,
                idle_seconds=self._limits.idle_seconds,
            )
            self._bookmarks = asyncio.create_task(self._send_bookmarks(), name="bookmarks")
        opened = [sock] if sock is not None else await self._bind(host, port or 0)
        loop = asyncio.get_running_loop()
        for one in opened:
            one.setblocking(False)
            one.listen(_BACKLOG)
            self._sockets.append(one)
            loop.add_reader(one.fileno(), self._accept, one, tls)
        name = opened[0].getsockname()
        return (name[0], name[1]) if isinstance(name, tuple) else (str(name), 0)

    async def _bind(self, host: str | None, port: int) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        opened: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in dict.fromkeys(found):
                if opened and not port:
                    address = (address[0], opened[0].getsockname()[1], *address[2:])
                try:
                    one = socket.socket(family, kind, protocol)
                except OSError:
                    continue  # a family that this machine does not have
                opened.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    one.bind(address)
                except OSError as error:
                    if host is None and family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
                        opened.remove(one)  # IPv6 is compiled in and switched off
                        one.close()
                        continue
                    raise
        except OSError as error:
            for one in opened:
                one.close()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise ConfigurationError(
                f"port {port} of {host or 'all addresses'} cannot be listened on: {reason}. Does another "
                "copy run? End it, or configure another port"
            ) from error
        return opened

    # --- connections ---

    def _accept(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors or no memory: others may give some back
                _log.error("cannot accept a connection: %s", error)
                self._pause(listening, tls)
                return
            connection = self.connections.opened(source(address))
            if connection is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = loop.create_task(self._open_connection(accepted, tls, connection))
            connection.drop = _cancel(task)
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _pause(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Leaves new connections in the kernel's queue for a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())

        def resume() -> None:
            self._paused.discard(timer)
            if listening.fileno() >= 0:
                loop.add_reader(listening.fileno(), self._accept, listening, tls)

        timer = loop.call_later(_ACCEPT_AGAIN_SECONDS, resume)
        self._paused.add(timer)

    async def _open_connection(
        self, accepted: socket.socket, tls: ssl.SSLContext | None, connection: Connection
    ) -> None:
        assert self._http is not None
        done = False
        try:
            _tune(accepted, self._limits.stuck_seconds)
            await connection.turn.wait()
            handler = self._http()
            timeout = self._limits.handshake_seconds if tls is not None else None
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: handler, accepted, ssl=tls, ssl_handshake_timeout=timeout
            )
            self.connections.established(connection)
            connection.drop = lambda: None
            handler.on_lost(lambda: self.connections.closed(connection))
            done = True
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            pass  # noise, a handshake that took too long, or one that gave way to others
        finally:
            if not done:
                self.connections.closed(connection)
                accepted.close()

    async def _send_bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self._limits.bookmark_seconds)
            self._server.stores.bookmark()

    async def close(self, grace: float = 3.0) -> None:
        """Stops listening, ends watches in order, and gives other requests ``grace`` seconds to finish."""
        if self._bookmarks is not None:
            self._bookmarks.cancel()
        loop = asyncio.get_running_loop()
        for timer in self._paused:
            timer.cancel()
        for listening in self._sockets:
            loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        for task in list(self._opening):
            task.cancel()
        self._server.stores.close()
        if self._http is not None:
            self._http.pre_shutdown()
            await self._http.shutdown(grace)


def _cancel(task: asyncio.Task[None]) -> Callable[[], None]:
    def cancel() -> None:
        task.cancel()

    return cancel


def _tune(accepted: socket.socket, stuck_seconds: float) -> None:
    """Makes TCP notice a peer that is gone, or reads nothing of what is due to it (TCP_USER_TIMEOUT counts
    for both, tcp(7))."""
    if accepted.family == socket.AF_UNIX:
        return
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stuck_seconds * 1000))


def _allowed(wanted: int) -> int:
    """As many connections as the process may have descriptors for; its soft limit is raised if need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if raised > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        if soft < needed:
            return max(soft - _SPARE_DESCRIPTORS, soft // 2)
    return wanted
