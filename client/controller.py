"""Finding antrea-controller: its address, the CA of its certificate, and the name in it.

Antrea's convention: the controller publishes its CA in the ConfigMap ``antrea-ca`` of its namespace (key
``ca.crt``) and is reached directly at an address of the Service ``antrea``, under the TLS server name
``antrea.<namespace>.svc``. The address must not be the Service's own: the agent that makes Services work is
the one that asks.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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

QUICK = 2.0  # seconds for the Kubernetes API to answer when something is known from before


def server_name(namespace: str) -> str:
    return f"{SERVICE}.{namespace}.svc"


_CERTIFICATE = "-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----"


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


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What is known of the controllers: their CA (PEM) and their addresses (host:port)."""

    ca: str = ""
    addresses: tuple[str, ...] = ()


class Memory(Protocol):
    """Keeps the last known whereabouts over a restart. Both methods block, and neither raises."""

    def load(self) -> Whereabouts | None: ...

    def save(self, known: Whereabouts) -> None: ...


class Rotation:
    """Which of several addresses to use: the one in use until it fails, then the one whose last failure is
    longest ago. Among those that have not failed chance decides, so that clients spread."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self._failed: dict[str, float] = {}  # when, on the monotonic clock
        self._current = ""

    def replace(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self._failed = {address: when for address, when in self._failed.items() if address in addresses}

    def choose(self) -> str:
        """There must be an address."""
        if self._current not in self.addresses:
            shuffled = random.sample(self.addresses, len(self.addresses))
            self._current = min(shuffled, key=lambda address: self._failed.get(address, float("-inf")))
        return self._current

    def failed(self, address: str) -> None:
        if address in self.addresses:
            self._failed[address] = time.monotonic()
        if address == self._current:
            self._current = ""


class ControllerLocator:
    """Answers where a controller is. Ask again before each connection: controllers come and go.

    ``override`` (host:port or a URL) replaces the look-up of the address; the CA still comes from the
    ConfigMap. When the Kubernetes API cannot be asked, the last answer stands, and before the first one what
    ``memory`` has kept of an earlier process. Whoever cannot use an answer says so with ``failed``.
    """

    def __init__(
        self,
        kube: RestClient,
        headers: Headers,
        *,
        namespace: str = NAMESPACE,
        override: str = "",
        memory: Memory | None = None,
    ) -> None:
        self._kube = kube
        self._headers = headers
        self._namespace = namespace
        self._override = override
        self._memory = memory
        self._remembered: Whereabouts | None = None  # what the memory holds
        self._known = Whereabouts()
        self._tls: ssl.SSLContext | None = None
        self._rotation = Rotation()
        self._lock = asyncio.Lock()

    async def locate(self) -> Endpoint:
        """Raises ConnectionFailed with a sentence if nothing is known yet."""
        async with self._lock:
            await self._recall()
            found = await asyncio.gather(
                self._refresh_ca(), *([] if self._override else [self._refresh_addresses()])
            )
            await self._remember()
        for trouble in found:
            if trouble is not None:
                raise trouble
        if self._override:
            url = self._override if "://" in self._override else f"https://{self._override}"
        else:
            url = f"https://{self._rotation.choose()}"
        return Endpoint(url, self._tls, server_name(self._namespace), self._headers)

    def failed(self, endpoint: Endpoint) -> None:
        """There was no use in this endpoint: where there are others, the next answer is another one."""
        self._rotation.failed(endpoint.url.removeprefix("https://"))

    # --- what an earlier process knew ---

    async def _recall(self) -> None:
        if self._memory is None or self._remembered is not None:
            return
        known = await asyncio.to_thread(self._memory.load)
        self._remembered = known or Whereabouts()
        if known is None:
            return
        try:
            self._adopt(known.ca)
        except ValueError as error:
            logger.warning("What was remembered of the controller is of no use: %s", error)
            return
        self._take_addresses(known.addresses)

    async def _remember(self) -> None:
        if self._memory is not None and self._tls is not None and self._known != self._remembered:
            self._remembered = self._known
            await asyncio.to_thread(self._memory.save, self._known)

    # --- what the Kubernetes API says; each gives the failure that leaves nothing to go on with ---

    @property
    def _patience(self) -> float | None:
        return QUICK if self._tls is not None else None

    async def _refresh_ca(self) -> ConnectionFailed | None:
        place = f"ConfigMap {self._namespace}/{CA_CONFIG_MAP}"
        try:
            response = await self._kube.request(
                "GET", CONFIG_MAPS.path(CA_CONFIG_MAP, self._namespace), timeout=self._patience
            )
            ca = msgspec.json.decode(response.body, type=_ConfigMap).data.get(CA_KEY, "")
        except (ApiError, ConnectionFailed, msgspec.DecodeError) as error:
            if self._tls is None:
                return ConnectionFailed(f"The controller's CA is not known: {place}: {error}")
            logger.log(log.V(2), "Cannot read the %s, the last one stands: %s", place, error)
            return None
        try:
            self._adopt(ca)
        except ValueError as error:
            if self._tls is None:
                return ConnectionFailed(f"The {place} holds no usable certificate: {error}")
        return None

    async def _refresh_addresses(self) -> ConnectionFailed | None:
        place = f"Service {self._namespace}/{SERVICE}"
        try:
            response = await self._kube.request(
                "GET",
                ENDPOINT_SLICES.path(namespace=self._namespace),
                query={"labelSelector": f"kubernetes.io/service-name={SERVICE}"},
                timeout=self._patience,
            )
            found = _addresses(msgspec.json.decode(response.body, type=_Slices))
        except (ApiError, ConnectionFailed, msgspec.DecodeError) as error:
            if not self._known.addresses:
                return ConnectionFailed(f"The controller's address is not known: {place}: {error}")
            logger.log(log.V(2), "Cannot read the endpoints of %s, the last ones stand: %s", place, error)
            return None
        if found:
            self._take_addresses(tuple(sorted(found)))
        elif not self._known.addresses:
            return ConnectionFailed(f"The {place} has no ready endpoint: antrea-controller is not ready.")
        return None

    def _adopt(self, ca: str) -> None:
        """Trust this CA from now on. Raises ValueError; then the last one stays trusted."""
        if ca == self._known.ca and self._tls is not None:
            return
        if not ca.strip():
            raise ValueError("there is no certificate")  # without one, the system's CAs would be trusted
        try:
            if self._tls is not None and _certificates(self._known.ca) <= _certificates(ca):
                # Nothing is distrusted: clients in use can go on, and trust what comes next.
                self._tls.load_verify_locations(cadata=ca)
            else:
                self._tls = tls_context(ca_data=ca)
        except (ssl.SSLError, TypeError) as error:
            raise ValueError(str(error)) from error
        self._known = replace(self._known, ca=ca)

    def _take_addresses(self, addresses: tuple[str, ...]) -> None:
        self._known = replace(self._known, addresses=addresses)
        self._rotation.replace(addresses)


def _certificates(ca: str) -> frozenset[str]:
    return frozenset("".join(text.split()) for text in re.findall(_CERTIFICATE, ca, re.DOTALL))


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
