"""Telling clients whom to trust: the CA goes to a ConfigMap, to the APIServices and to the webhooks.

Whatever carries the labels ``app=antrea,served-by=antrea-controller`` gets the CA as its caBundle (Antrea
v2.7, "CA publisher"). Each object is written only where it differs; one that cannot be written does not keep
the others from being written. Everything is looked at again every two minutes, and soon after a failure.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec

from client.controller import CA_CONFIG_MAP, CA_KEY
from client.errors import ApiError, ConnectionFailed
from client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    Resource,
)
from client.rest import RestClient
from runtime import log
from runtime.backoff import Backoff

logger = log.get("controller.publication")

LABELS = "app=antrea,served-by=antrea-controller"
PERIOD = 120.0  # seconds

Document = dict[str, Any]
Amend = Callable[[Document, str], bool]  # puts the bundle in; whether that changed anything


def _api_service(document: Document, bundle: str) -> bool:
    return _put(document.get("spec") or {}, bundle)


def _webhooks(document: Document, bundle: str) -> bool:
    changes = [_put(hook.setdefault("clientConfig", {}), bundle) for hook in document.get("webhooks") or ()]
    return any(changes)


def _conversion(document: Document, bundle: str) -> bool:
    conversion = (document.get("spec") or {}).get("conversion") or {}
    if conversion.get("strategy") != "Webhook":
        return False
    return _put(conversion.setdefault("webhook", {}).setdefault("clientConfig", {}), bundle)


def _put(place: Document, bundle: str) -> bool:
    if place.get("caBundle") == bundle:
        return False
    place["caBundle"] = bundle
    return True


TARGETS: tuple[tuple[Resource, str, Amend], ...] = (
    (API_SERVICES, "APIService", _api_service),
    (MUTATING_WEBHOOKS, "MutatingWebhookConfiguration", _webhooks),
    (VALIDATING_WEBHOOKS, "ValidatingWebhookConfiguration", _webhooks),
    (CUSTOM_RESOURCE_DEFINITIONS, "CustomResourceDefinition", _conversion),
)


class Publisher:
    """Keeps the published CA equal to the one given last."""

    def __init__(self, client: RestClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._ca = b""
        self._wake = asyncio.Event()
        self._complaints: dict[str, str] = {}

    def publish(self, ca: bytes) -> None:
        self._ca = ca
        self._wake.set()

    async def run(self) -> None:
        """Never returns; cancel it."""
        backoff = Backoff(initial=0.5, maximum=30)
        while True:
            self._wake.clear()
            complete = await self.round()
            if complete:
                backoff.reset()
            try:
                await asyncio.wait_for(self._wake.wait(), PERIOD if complete else backoff.next())
            except TimeoutError:
                pass

    async def round(self) -> bool:
        """Bring everything up to date once; whether all of it succeeded."""
        complete = await self._attempt(f"ConfigMap {self._namespace}/{CA_CONFIG_MAP}", self._config_map())
        for resource, kind, amend in TARGETS:
            complete &= await self._attempt(resource.plural, self._labelled(resource, kind, amend))
        return complete

    async def _attempt(self, what: str, work: Any) -> bool:
        try:
            await work
        except (ApiError, ConnectionFailed, msgspec.MsgspecError) as error:
            if isinstance(error, ApiError) and error.status == 404:
                return True  # a server without this kind of object: nothing to be told
            if self._complaints.get(what) != str(error):
                logger.warning("Cannot publish the CA to %s: %s", what, error)
            self._complaints[what] = str(error)
            return False
        if self._complaints.pop(what, None):
            logger.info("The CA is published to %s", what)
        return True

    async def _config_map(self) -> None:
        path = CONFIG_MAPS.path(CA_CONFIG_MAP, self._namespace)
        data = {CA_KEY: self._ca.decode()}
        try:
            document = msgspec.json.decode(await self._client.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            metadata = {"name": CA_CONFIG_MAP, "namespace": self._namespace, "labels": {"app": "antrea"}}
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self._client.create(CONFIG_MAPS.path(namespace=self._namespace), document)
            return
        if document.get("data") != data:
            document["data"] = data
            await self._client.update(path, document)

    async def _labelled(self, resource: Resource, kind: str, amend: Amend) -> None:
        bundle = base64.b64encode(self._ca).decode()
        listed = msgspec.json.decode(await self._client.get(resource.path(), {"labelSelector": LABELS}))
        for document in listed.get("items") or ():
            if amend(document, bundle):
                # The items of a list do not say what they are; an update must.
                typed = {**document, "apiVersion": resource.api_version, "kind": kind}
                await self._client.update(resource.path(document["metadata"]["name"]), typed)
