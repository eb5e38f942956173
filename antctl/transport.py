"""One HTTP request over the standard library."""

from __future__ import annotations

import errno
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult, urlencode, urlsplit

from antctl.errors import CommandError

if TYPE_CHECKING:
    from client.endpoint import Endpoint

USER_AGENT = "antctl"
_PIECE = 1 << 18


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = ""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class TransportError(CommandError):
    """No answer came from the server."""


class _Connection(http.client.HTTPSConnection):
    """HTTPS to an address under another name: the controller's certificate names its Service."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext, server_name: str, timeout: float | None
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=tls)
        self._tls = tls
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def exchange(
    endpoint: Endpoint,
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    body: object,
    accept: str,
    timeout: float,
    verbose: bool = False,
    sink: BinaryIO | None = None,
) -> Answer:
    """Send one request and read the answer; what a successful one holds goes to ``sink``, if there is one.
    Raises TransportError, and OSError of the sink as CommandError."""
    parts = urlsplit(endpoint.url)
    target = parts.path.rstrip("/") + path + ("?" + urlencode(query) if query else "")
    url = f"{parts.scheme}://{parts.netloc}{target}"
    headers = {"Accept": accept, "User-Agent": USER_AGENT, **finish(endpoint.headers())}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    connection = _connection(endpoint, parts, timeout or None)
    started = time.monotonic()
    try:
        connection.request(method, target, body=data, headers=headers)
        response = connection.getresponse()
        if sink is not None and response.status < 400:
            payload = b""
            while piece := response.read(_PIECE):
                _write(sink, piece)
        else:
            payload = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(f'{method.title()} "{url}": {_explain(error, parts)}') from error
    finally:
        connection.close()
    if verbose:
        spent = (time.monotonic() - started) * 1000
        print(f"{method} {url} {response.status} in {spent:.0f} ms, {len(payload)} bytes", file=sys.stderr)
    return Answer(response.status, payload, response.headers.get("Content-Type", ""))


def _connection(endpoint: Endpoint, parts: SplitResult, limit: float | None) -> http.client.HTTPConnection:
    """To the server, or through the kubeconfig's proxy to it. Raises CommandError."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    first = (host, port)
    if endpoint.proxy:
        proxy = urlsplit(endpoint.proxy)
        if proxy.scheme != "http" or not proxy.hostname:
            raise CommandError(f"the proxy-url {endpoint.proxy} cannot be used: only http:// ones can")
        first = (proxy.hostname, proxy.port or 80)
    connection: http.client.HTTPConnection
    if secure:
        tls = endpoint.tls or ssl.create_default_context()
        connection = _Connection(*first, tls, endpoint.server_name or host, limit)
    else:
        connection = http.client.HTTPConnection(*first, timeout=limit)
    if endpoint.proxy:
        connection.set_tunnel(host, port)
    return connection


def _write(sink: BinaryIO, piece: bytes) -> None:
    try:
        sink.write(piece)
    except OSError as error:
        raise CommandError(f"{sink.name} cannot be written: {error.strerror or error}") from error


def _explain(error: Exception, parts: SplitResult) -> str:
    place = f"{parts.hostname}:{parts.port or 443}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time (context deadline exceeded)"
    if isinstance(error, OSError) and error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
        return f"dial tcp {place}: connect: {os.strerror(error.errno).lower()}"
    return str(error) or type(error).__name__


def finish(coroutine: Awaitable[Any]) -> Any:
    """The result of a coroutine that never waits, without an event loop: credentials at hand are such."""
    assert isinstance(coroutine, Coroutine)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise CommandError("the credentials of this kubeconfig cannot be read")
