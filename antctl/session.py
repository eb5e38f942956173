"""Requests to the server of the current mode, with the standard library only: antctl must start fast."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from antctl.errors import CommandError
from antctl.mode import Mode

if TYPE_CHECKING:
    import ssl

    from antctl.transport import Answer
    from client.endpoint import Endpoint

RELOAD_SECONDS = 240.0  # what plugins give lives an hour: ask well before that


@dataclass(slots=True)
class Session:
    """One invocation's way to a server. ``timeout`` in seconds, 0 for none."""

    mode: Mode
    kubeconfig: str = ""
    server: str = ""
    timeout: float = 0.0
    timeout_text: str = ""  # as given: it is passed on as a query parameter
    verbose: bool = False
    _endpoint: Endpoint | None = field(default=None, repr=False)

    def endpoint(self) -> Endpoint:
        """The server of this mode. Raises CommandError."""
        if self._endpoint is None:
            self._endpoint = self._in_pod() if self.mode.in_pod else resolve_kubeconfig(self)
        return self._endpoint

    @property
    def kubeconfig_path(self) -> str:
        """The file of ``-k``, of $KUBECONFIG (one file), or the usual one; it need not exist."""
        named = self.kubeconfig or os.environ.get("KUBECONFIG", "").strip()
        return named or os.path.expanduser("~/.kube/config")

    def present_certificate(self, tls: ssl.SSLContext) -> None:
        """Show the kubeconfig's client certificate, if there is one, to another server than its own."""
        if self.mode.in_pod or not os.path.exists(self.kubeconfig_path):
            return
        from client import kubeconfig
        from runtime.errors import ConfigurationError

        try:
            kubeconfig.present_certificate(self.kubeconfig_path, tls)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def _in_pod(self) -> Endpoint:
        from client.endpoint import Endpoint, bearer, no_headers, tls_context

        url = with_scheme(self.server or self.mode.server)
        try:
            headers = bearer(Path(self.mode.token_file).read_text().strip())
        except OSError:
            headers = no_headers  # the server answers 401 or 403 and says so
        # The certificate is self-signed; what proves the server here is that it wrote the token file.
        return Endpoint(url, tls_context(insecure=True), headers=headers)

    def request(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: object = None,
        endpoint: Endpoint | None = None,
        accept: str = "application/json",
        sink: BinaryIO | None = None,
    ) -> Answer:
        """One request. Raises TransportError when no answer comes."""
        from antctl.transport import exchange  # 20 ms that `antctl --help` need not pay

        target = endpoint or self.endpoint()
        return exchange(target, method, path, query, body, accept, self.timeout, self.verbose, sink)

    def get(self, path: str, flags: Mapping[str, str] | None = None) -> bytes:
        """A path that is no resource: flags become the query; errors carry the server's text."""
        query = dict(flags or {})
        if self.timeout:
            query["timeout"] = self.timeout_text
        answer = self.request(path, query, accept="*/*")
        if answer.status >= 400:
            phrase = _phrase(answer.status)
            text = status_message(answer) or "the server could not find the requested resource"
            raise CommandError(f"request to server failed: {phrase}: {text}")
        return answer.body

    def resource(self, path: str, flags: Mapping[str, str] | None = None) -> bytes:
        """A resource of an API group: errors carry the message of the Status."""
        query = dict(flags or {})
        if self.timeout:
            query["timeout"] = self.timeout_text
        from antctl.transport import TransportError

        try:
            answer = self.request(path, query)
        except TransportError as error:
            raise CommandError(f"unknown error: {error}") from error
        if answer.status >= 400:
            raise CommandError(f"request to server failed: {status_message(answer)}")
        return answer.body


def resource_name(name: str) -> str:
    """A name as a path segment. Raises CommandError for what cannot be one."""
    if "/" in name:
        raise CommandError(f"unknown error: invalid resource name {json.dumps(name)}: [may not contain '/']")
    return quote(name, safe="")


def with_scheme(server: str) -> str:
    return server if "://" in server else f"https://{server}"


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)


def status_message(answer: Answer) -> str:
    """The message of a Status, or the text that came instead of one."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return answer.text.strip()
    if isinstance(document, dict) and isinstance(document.get("message"), str):
        return str(document["message"])
    if isinstance(document, dict) and "paths" in document:
        return "404 page not found"
    return answer.text.strip()


def resolve_kubeconfig(session: Session) -> Endpoint:
    """The kube-apiserver of ``-k``, of $KUBECONFIG, of ~/.kube/config, or of the Pod. Raises CommandError."""
    from client import kubeconfig
    from runtime.errors import ConfigurationError

    server = with_scheme(session.server) if session.server else None
    path = session.kubeconfig_path
    if os.path.exists(path):
        try:
            found = kubeconfig.load_simple(path, None, server)
            if found is not None:
                return found
            return _with_plugins(path, server)
        except ConfigurationError as error:
            raise CommandError(f"failed to build kubeconfig from file at path '{path}': {error}") from error
    if session.kubeconfig:
        raise CommandError(f"failed to resolve kubeconfig: kubeconfig file does not exist at path '{path}'")
    try:
        return kubeconfig.in_cluster(server)
    except ConfigurationError as error:
        raise CommandError(
            f"failed to resolve kubeconfig: neither a valid kubeconfig file was found at '{path}', "
            f"nor could InClusterConfig be used: {error}"
        ) from error


def _with_plugins(path: str, server: str | None, reload_seconds: float = RELOAD_SECONDS) -> Endpoint:
    """A kubeconfig whose user needs a program or another server to authenticate: asked again after
    ``reload_seconds``. Raises ConfigurationError."""
    import asyncio

    from client.endpoint import Endpoint, tls_context
    from client.kubeconfig import cluster_tls
    from client.kubernetes_asyncio_light import load
    from runtime.errors import ConfigurationError

    async def resolve() -> tuple[Endpoint, dict[str, str]]:
        made = await load(path, None, server)
        return made, await made.headers()

    made, headers = asyncio.run(resolve())
    resolved_at = time.monotonic()

    async def renewed() -> dict[str, str]:
        """Waits for nothing while what the plugin gave is fresh; later it blocks (``antctl proxy`` runs for
        days, and asks from a thread)."""
        nonlocal headers, resolved_at
        if time.monotonic() - resolved_at > reload_seconds:
            try:
                headers = asyncio.run(resolve())[1]
            except ConfigurationError as error:
                raise CommandError(f"the credentials of {path} cannot be renewed: {error}") from error
            resolved_at = time.monotonic()
        return headers

    tls = cluster_tls(path) if made.url.startswith("https") else None
    return Endpoint(made.url, tls or tls_context(), made.server_name, renewed)
