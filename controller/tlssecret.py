"""The stock of serving certificates in a Secret, which restarts and replicas share.

``tls.crt`` (leaf and CA) and ``tls.key`` are upstream's; ``next.crt``, ``next.key``, ``previous.crt`` and
``step-time`` are there during a rotation. Every write carries the version that was read: of two replicas that
take the same step at once, one does, and the other sees it. The CA's own key is not kept, see
docs/architecture.md, "The serving certificate".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from apiserver.certificates import KeyPair
from client.errors import ApiError
from client.resources import SECRETS
from client.rest import RestClient
from controller.rotation import Identity, Stock
from runtime import log

logger = log.get("controller.tlssecret")

SECRET = "antrea-controller-tls"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The stock, None where none can be read, and the Secret that it was in, if there is one."""

    stock: Stock | None = None
    document: dict[str, Any] | None = None


class Conflict(Exception):
    """Somebody else was faster: load again."""


class SecretKeeper:
    """Loads and saves the stock."""

    def __init__(self, client: RestClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.place = f"Secret {namespace}/{SECRET}"

    async def load(self) -> Loaded:
        """Raises ApiError, ConnectionFailed."""
        document: dict[str, Any] | None = None
        try:
            body = await self._client.get(SECRETS.path(SECRET, self._namespace))
            document = msgspec.json.decode(body, type=dict[str, Any])
            return Loaded(_stock(document.get("data") or {}), document)
        except ApiError as error:
            if error.status != 404:
                raise
        except (KeyError, ValueError, TypeError, binascii.Error) as error:
            logger.warning("The %s holds no certificate: %s", self.place, error)
        return Loaded(None, document)

    async def save(self, stock: Stock, instead: Loaded) -> None:
        """In the place of what was loaded. Raises Conflict, ApiError, ConnectionFailed."""
        data = {key: base64.b64encode(value).decode() for key, value in _data(stock).items()}
        try:
            if instead.document is None:
                await self._client.create(SECRETS.path(namespace=self._namespace), self._new(data))
            else:
                held = instead.document.get("data") or {}
                kept = {key: value for key, value in held.items() if key not in _KEYS}
                document = {**instead.document, "data": {**kept, **data}}
                await self._client.update(SECRETS.path(SECRET, self._namespace), document)
        except ApiError as error:
            if error.status == 409 or (error.status == 404 and instead.document is not None):
                raise Conflict from error
            raise

    def _new(self, data: dict[str, str]) -> dict[str, Any]:
        metadata = {"name": SECRET, "namespace": self._namespace, "labels": {"app": "antrea"}}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": data,
        }


_KEYS = ("tls.crt", "tls.key", "next.crt", "next.key", "previous.crt", "step-time")


def _stock(data: dict[str, str]) -> Stock:
    plain = {key: base64.b64decode(data[key], validate=True) for key in _KEYS if data.get(key)}
    next_one = None
    if "next.crt" in plain and "next.key" in plain:
        next_one = _identity(plain["next.crt"], plain["next.key"])
    current = _identity(plain["tls.crt"], plain["tls.key"])
    return Stock(current, next_one, plain.get("previous.crt", b""), float(plain.get("step-time", b"0")))


def _identity(certificate: bytes, key: bytes) -> Identity:
    return Identity(KeyPair(certificate, key), certificate)  # leaf and CA are published, as upstream does it


def _data(stock: Stock) -> dict[str, bytes]:
    data = {"tls.crt": stock.current.pair.certificate, "tls.key": stock.current.pair.key}
    if stock.next is not None:
        data |= {"next.crt": stock.next.pair.certificate, "next.key": stock.next.pair.key}
    if stock.previous:
        data["previous.crt"] = stock.previous
    if stock.since:
        data["step-time"] = f"{stock.since:.0f}".encode()
    return data
