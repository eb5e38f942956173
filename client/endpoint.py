"""Where a server is and how to prove who one is: what a kubeconfig, a service account or a lookup yields."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

TOKEN_RELOAD_SECONDS = 60.0  # kubelet renews projected tokens long before they expire


class TokenFile:
    """A bearer token in a file that somebody else renews: read again once a minute."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._token = ""
        self._read_at = float("-inf")

    async def __call__(self) -> dict[str, str]:
        now = time.monotonic()
        if now - self._read_at > TOKEN_RELOAD_SECONDS:
            try:
                self._token = self.path.read_text(encoding="ascii").strip()  # a few hundred bytes, on tmpfs
            except OSError:
                if not self._token:
                    raise  # a token that vanishes for a moment is no reason to drop the one in hand
            self._read_at = now
        return {"Authorization": f"Bearer {self._token}"}


Headers = Callable[[], Awaitable[dict[str, str]]]


async def no_headers() -> dict[str, str]:
    return {}


def bearer(token: str) -> Headers:
    async def headers() -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    return headers


def basic(username: str, password: str) -> Headers:
    encoded = base64.b64encode(f"{username}:{password}".encode()).decode()

    async def headers() -> dict[str, str]:
        return {"Authorization": f"Basic {encoded}"}

    return headers


@dataclass(slots=True)
class Endpoint:
    """A server's base URL, how its certificate is checked, and the headers that authenticate a request."""

    url: str  # https://host:port, perhaps with a path; no trailing slash
    tls: ssl.SSLContext | None = None  # None for http://
    server_name: str | None = None  # the name in the server's certificate, if it is not the host of the URL
    headers: Headers = field(default=no_headers)
    proxy: str | None = None
    session: Callable[[], aiohttp.ClientSession] | None = None  # a pool made by another library

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")


def tls_context(
    ca_data: str | bytes | None = None,
    ca_file: str | None = None,
    insecure: bool = False,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """A client context that trusts the given CA only (the system's where none is given).

    ``insecure`` checks nothing: only where the user asked for it, or on loopback with a token from a file.
    """
    if isinstance(ca_data, bytes):
        ca_data = ca_data.decode("ascii")
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_data)
    context.check_hostname = check_hostname
    # A published bundle may hold the leaf beside its CA, or an intermediate without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
