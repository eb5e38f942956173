"""Where an APIService's server is, and how it is called.

A Service is resolved as kube-apiserver does without a pod network of its own: ExternalName by its name and
the APIService's port, anything else through its Endpoints (ready addresses, the target of that port). The
server's certificate must be of the caBundle and for NAME.NAMESPACE.svc; ours is the front-proxy client's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import ssl
from dataclasses import dataclass

import aiohttp

from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.pki import ClusterKeys


class BackendError(Exception):
    """Why there is nobody to call: the condition's reason, and a sentence; and, if it differs, the one about
    the Service alone that a caller of webhooks gets."""

    def __init__(self, reason: str, message: str, service_text: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.service_text = service_text


def complaint(error: Exception) -> str:
    """Why a call failed, in words for the client of the API."""
    if type(error) is aiohttp.ClientConnectorError and error.errno:
        return f"dial tcp {error.host}:{error.port}: {os.strerror(error.errno)}"
    return str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Backend:
    """One address of an aggregated server."""

    host: str
    port: int
    server_name: str
    tls: ssl.SSLContext

    def url(self, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{path}"


class Backends:
    """Resolves APIServices and holds the connections to their servers."""

    def __init__(self, registry: Registry, keys: ClusterKeys) -> None:
        self._registry = registry
        self._keys = keys
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None
        self._turn = 0

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=10)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    def resolve(self, api_service: Object) -> Backend:
        """An address to call. Raises BackendError."""
        spec = api_service["spec"]
        reference = spec["service"]
        namespace, name = reference.get("namespace", ""), reference.get("name", "")
        host, port = self.address(namespace, name, reference.get("port", 443))
        return Backend(host, port, f"{name}.{namespace}.svc", self._context(spec))

    def address(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """Where a port of a Service is answered; ready addresses take turns. Raises BackendError."""
        service = self._registry.get("services", namespace, name)
        if service is None:
            words = f'service/{name} in "{namespace}" is not present'
            raise BackendError("ServiceNotFound", words, f'service "{name}" not found')
        if service["spec"].get("type") == "ExternalName":
            return service["spec"].get("externalName", ""), port
        chosen = next((p for p in service["spec"].get("ports", ()) if p.get("port") == port), None)
        if chosen is None:
            words = f'service/{name} in "{namespace}" is not listening on port {port}'
            text = f'no service port {port} found for service "{name}"'
            raise BackendError("ServicePortError", words, text)
        nobody = f'no endpoints available for service "{name}"'
        endpoints = self._registry.get("endpoints", namespace, name)
        if endpoints is None:
            words = f'cannot find endpoints for service/{name} in "{namespace}"'
            raise BackendError("EndpointsNotFound", words, nobody)
        port_name = chosen.get("name", "")
        found: list[tuple[str, int]] = []
        for subset in endpoints.get("subsets", ()):
            ports = subset.get("ports", ())
            # A Service with one port may call it differently from its hand-made Endpoints.
            fitting = [p for p in ports if p.get("name", "") == port_name] or (
                list(ports) if len(ports) == 1 else []
            )
            found += [(a["ip"], p["port"]) for p in fitting for a in subset.get("addresses", ())]
        if not found:
            words = f'endpoints for service/{name} in "{namespace}" have no address with port "{port_name}"'
            raise BackendError("MissingEndpoints", words, nobody)
        self._turn += 1
        return found[self._turn % len(found)]

    def _context(self, spec: Object) -> ssl.SSLContext:
        bundle = spec.get("caBundle", "")
        insecure = bool(spec.get("insecureSkipTLSVerify"))
        key = hashlib.sha256(f"{insecure}{bundle}".encode()).hexdigest()
        context = self._contexts.get(key)
        if context is None:
            context = ssl.create_default_context()
            if insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif bundle:
                context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
            # An own bundle may name the server's certificate itself instead of its issuer.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_cert_chain(
                self._keys.folder / "front-proxy-client.crt", self._keys.folder / "front-proxy-client.key"
            )
            if len(self._contexts) > 64:
                self._contexts.clear()
            self._contexts[key] = context
        return context
