"""Finding antrea-controller: its address, the CA of its certificate, and the name in it.

Antrea's convention: the controller publishes its CA in the ConfigMap ``antrea-ca`` of its namespace (key
``ca.crt``) and is reached directly at an address of the Service ``antrea``, under the TLS server name
``antrea.<namespace>.svc``. The address must not be the Service's own: the agent that makes Services work is
the one that asks.
"""

from __future__ import annotations

import random
import ssl

import msgspec

from client.endpoint import Endpoint, Headers, tls_context
from client.errors import ApiError, ConnectionFailed
from client.resources import CONFIG_MAPS, ENDPOINT_SLICES
from client.rest import RestClient
from runtime import log

logger = log.get("client.controller")

NAMESPACE = "kube-system"
SERVICE = "antrea"
CA_CONFIG_MAP = "antrea-ca"
CA_KEY = "ca.crt"


def server_name(namespace: str) -> str:
    return f"{SERVICE}.{namespace}.svc"


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


class _Conditions(msgspec.Struct):
    ready: bool | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str] = []
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)


class _Port(msgspec.Struct):
    port: int | None = None
    name: str | None = None


class _Slice(msgspec.Struct):
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _Slices(msgspec.Struct):
    items: list[_Slice] = []


class ControllerLocator:
    """Answers where the controller is. Ask again before each connection: it moves.

    ``override`` (host:port or a URL) replaces the look-up of the address; the CA still comes from the
    ConfigMap. When the Kubernetes API cannot be asked, the last answer stands.
    """

    def __init__(
        self,
        kube: RestClient,
        headers: Headers,
        *,
        namespace: str = NAMESPACE,
        override: str = "",
    ) -> None:
        self._kube = kube
        self._headers = headers
        self._namespace = namespace
        self._override = override
        self._ca = ""
        self._tls: ssl.SSLContext | None = None
        self._addresses: list[str] = []

    async def locate(self) -> Endpoint:
        """Raises ConnectionFailed with a sentence if nothing is known yet."""
        await self._refresh_ca()
        if self._override:
            url = self._override if "://" in self._override else f"https://{self._override}"
        else:
            await self._refresh_addresses()
            url = f"https://{random.choice(self._addresses)}"
        return Endpoint(url, self._tls, server_name(self._namespace), self._headers)

    async def _refresh_ca(self) -> None:
        place = f"ConfigMap {self._namespace}/{CA_CONFIG_MAP}"
        try:
            body = await self._kube.get(CONFIG_MAPS.path(CA_CONFIG_MAP, self._namespace))
            ca = msgspec.json.decode(body, type=_ConfigMap).data.get(CA_KEY, "")
        except (ApiError, ConnectionFailed, msgspec.DecodeError) as error:
            if self._tls is None:
                raise ConnectionFailed(f"The controller's CA is not known: {place}: {error}") from error
            logger.log(log.V(2), "Cannot read the %s, the last one stands: %s", place, error)
            return
        if ca == self._ca and self._tls is not None:
            return
        try:
            self._tls = tls_context(ca_data=ca)
            self._ca = ca
        except (ssl.SSLError, ValueError) as error:
            if self._tls is None:
                raise ConnectionFailed(f"The {place} holds no usable certificate: {error}") from error

    async def _refresh_addresses(self) -> None:
        place = f"Service {self._namespace}/{SERVICE}"
        try:
            body = await self._kube.get(
                ENDPOINT_SLICES.path(namespace=self._namespace),
                {"labelSelector": f"kubernetes.io/service-name={SERVICE}"},
            )
            found = _addresses(msgspec.json.decode(body, type=_Slices))
        except (ApiError, ConnectionFailed, msgspec.DecodeError) as error:
            if not self._addresses:
                raise ConnectionFailed(f"The controller's address is not known: {place}: {error}") from error
            logger.log(log.V(2), "Cannot read the endpoints of %s, the last ones stand: %s", place, error)
            return
        if found:
            self._addresses = found
        elif not self._addresses:
            raise ConnectionFailed(f"The {place} has no ready endpoint: antrea-controller is not ready.")


def _addresses(slices: _Slices) -> list[str]:
    found = []
    for piece in slices.items:
        ports = [port.port for port in piece.ports or () if port.port]
        for endpoint in piece.endpoints or ():
            if endpoint.conditions.ready is False or not ports:
                continue
            for address in endpoint.addresses:
                found.append(f"[{address}]:{ports[0]}" if ":" in address else f"{address}:{ports[0]}")
    return found
