"""The reverse proxy: requests at a local address go to a target, answers come back piece by piece."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from antctl.errors import CommandError
from antctl.proxy.filters import Filter
from antctl.proxy.target import Target

CONNECT_SECONDS = 10.0
SHUTDOWN_SECONDS = 1.0
NOT_FOUND = "404 page not found\n"

# They concern one connection only (RFC 9110, 7.6.1), or are made anew for the next one.
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "host", "expect",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What is served where. ``unix_socket`` replaces address and port; ``files`` are shown at
    ``files_prefix``. Prefixes begin and end with a slash. ``keep_alive`` in seconds, 0 for the system's."""

    address: str = "127.0.0.1"
    port: int = 8001
    unix_socket: str = ""
    api_prefix: str = "/"
    files: Path | None = None
    files_prefix: str = "/static/"
    keep_alive: float = 0.0


class Proxy:
    """Answers requests out of a target's API. Without a filter every request is let through."""

    def __init__(self, target: Target, settings: Settings, filter: Filter | None) -> None:
        self._target = target
        self._settings = settings
        self._filter = filter
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            # No pool: a certificate is that of the endpoint of the moment, and watches hold connections.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            auto_decompress=False,  # what comes compressed goes on compressed
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, total=None),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, settings = request.path, self._settings
        if self._filter is not None and not self._filter.allows(request.method, path, request.host):
            return web.Response(status=403, text="Forbidden\n")
        if settings.files is not None and path.startswith(settings.files_prefix):
            return await asyncio.to_thread(_file, settings.files, path.removeprefix(settings.files_prefix))
        wanted = request.rel_url.raw_path_qs
        if not wanted.startswith(settings.api_prefix):
            return web.Response(status=404, text=NOT_FOUND)
        if "Upgrade" in request.headers:
            return web.Response(status=501, text="This proxy does not switch protocols.\n")
        rest = wanted[len(settings.api_prefix) - 1 :]
        try:
            return await self._pass_on(request, rest)
        except aiohttp.ClientConnectionError as error:
            # The target may have moved. Only requests without a body can be sent a second time.
            if not request.body_exists and await self._target.look_again():
                with suppress(aiohttp.ClientConnectionError):
                    return await self._pass_on(request, rest)
            return _bad_gateway(error)
        except (CommandError, aiohttp.ClientError, TimeoutError) as error:
            return _bad_gateway(error)

    async def _pass_on(self, request: web.BaseRequest, rest: str) -> web.StreamResponse:
        assert self._session is not None
        given = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers = await self._target.headers(given)
        endpoint = self._target.endpoint
        async with self._session.request(
            request.method,
            URL(endpoint.url + rest, encoded=True),
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            ssl=endpoint.tls if endpoint.tls is not None else False,
            server_hostname=endpoint.server_name,
            proxy=endpoint.proxy,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except aiohttp.ClientError:
                # Half of the answer is out: only closing the connection tells the client that it is not all.
                if request.transport is not None:
                    request.transport.abort()
                return response
            with suppress(ConnectionError):
                await response.write_eof()
            return response


def _bad_gateway(error: Exception) -> web.Response:
    return web.Response(status=502, text=f"{str(error) or type(error).__name__}\n")


def _file(root: Path, rest: str) -> web.StreamResponse:
    """A file below the directory; of a directory its index.html. Links do not lead out of it."""
    try:
        place = (root / rest).resolve()
        place = (place / "index.html").resolve() if place.is_dir() else place
        found = place.is_relative_to(root) and place.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        found = False
    return web.FileResponse(place) if found else web.Response(status=404, text=NOT_FOUND)


@asynccontextmanager
async def serving(proxy: Proxy, settings: Settings) -> AsyncIterator[str]:
    """Runs the server; yields its address. Raises CommandError where it cannot be had."""
    # A client that goes away ends its request: a watch would go on for nobody.
    server = web.Server(proxy.handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await proxy.open()
        listening, name = _bind(settings)
        await web.SockSite(runner, listening).start()
        yield name
    finally:
        await runner.cleanup()
        await proxy.close()
        if settings.unix_socket:
            with suppress(FileNotFoundError):
                os.unlink(settings.unix_socket)


def _bind(settings: Settings) -> tuple[socket.socket, str]:
    try:
        if settings.unix_socket:
            return _bind_unix(settings.unix_socket), settings.unix_socket
        family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
        listening = socket.create_server((settings.address, settings.port), family=family)
    except (OSError, OverflowError) as error:
        place = settings.unix_socket or f"{settings.address} port {settings.port}"
        raise CommandError(f"{place} cannot be listened on: {error}; name another with --port") from error
    if settings.keep_alive > 0:  # connections have it from the socket that accepts them
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(settings.keep_alive)))
    address, port = listening.getsockname()[:2]
    return listening, f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _bind_unix(path: str) -> socket.socket:
    """A socket for its owner only; one that nobody listens on any more gives way."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                raise OSError("somebody listens there")
        Path(path).unlink()
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o077)
    try:
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


async def run(proxy: Proxy, settings: Settings, started: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. ``started`` is told the address."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with serving(proxy, settings) as address:
        started(address)
        await over.wait()
