"""Telling clients whom to trust: the CA goes to a ConfigMap, to the APIServices and to the webhooks.

Whatever exists and carries the labels ``app=antrea,served-by=antrea-controller`` gets the bundle as its
caBundle (Antrea v2.7, "CA publisher"), by a patch of that field alone. An APIService that is missing is
reported and not made: one without a server behind it keeps every namespace of the cluster from being deleted.
The ConfigMap is made.

The objects are watched, so that a bundle which somebody empties is back within a second or two; every two
minutes all of them are looked at again.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from client.controller import CA_CONFIG_MAP, CA_KEY
from client.errors import ApiError, ConnectionFailed
from client.reflector import Reflector
from client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    Resource,
)
from client.rest import JSON_PATCH, RestClient
from controller.wake import Wake
from runtime import log
from runtime.backoff import Backoff
from runtime.tasks import Supervisor

logger = log.get("controller.publication")

LABELS = "app=antrea,served-by=antrea-controller"
PERIOD = 120.0  # seconds
CALM = 0.1  # seconds between a change and the look at it: changes come in groups

Document = dict[str, Any]
Patch = list[Document]
Amend = Callable[[Document, str], Patch]  # the operations that put the bundle in; none where it is in


def _api_service(document: Document, bundle: str) -> Patch:
    spec = document.get("spec") or {}
    if not spec.get("service") or spec.get("insecureSkipTLSVerify") or spec.get("caBundle") == bundle:
        return []  # a bundle is not allowed where nothing is verified
    return [{"op": "add", "path": "/spec/caBundle", "value": bundle}]


def _webhooks(document: Document, bundle: str) -> Patch:
    patch: Patch = []
    for number, hook in enumerate(document.get("webhooks") or ()):
        if (hook.get("clientConfig") or {}).get("caBundle") != bundle:
            place = f"/webhooks/{number}"
            patch.append({"op": "test", "path": f"{place}/name", "value": hook.get("name")})
            patch.append({"op": "add", "path": f"{place}/clientConfig/caBundle", "value": bundle})
    return patch


def _conversion(document: Document, bundle: str) -> Patch:
    conversion = (document.get("spec") or {}).get("conversion") or {}
    hook = conversion.get("webhook") or {}
    if conversion.get("strategy") != "Webhook" or not hook.get("clientConfig"):
        return []
    if hook["clientConfig"].get("caBundle") == bundle:
        return []
    return [
        {"op": "test", "path": "/spec/conversion/strategy", "value": "Webhook"},
        {"op": "add", "path": "/spec/conversion/webhook/clientConfig/caBundle", "value": bundle},
    ]


TARGETS: tuple[tuple[Resource, Amend], ...] = (
    (API_SERVICES, _api_service),
    (MUTATING_WEBHOOKS, _webhooks),
    (VALIDATING_WEBHOOKS, _webhooks),
    (CUSTOM_RESOURCE_DEFINITIONS, _conversion),
)

_STILL_OURS = {"op": "test", "path": "/metadata/labels/served-by", "value": "antrea-controller"}


class Publisher:
    """Keeps what is published equal to the bundle given last.

    ``wanted`` names the APIServices of this server. ``current`` is asked for the bundle before anything is
    overwritten: another replica may know a newer one.
    """

    def __init__(self, client: RestClient, namespace: str, wanted: Sequence[str] = ()) -> None:
        self._client = client
        self._namespace = namespace
        self._wanted = frozenset(wanted)
        self._bundle = b""
        self._wake = asyncio.Event()
        self._round = asyncio.Lock()
        self._complaints: dict[str, str] = {}
        self._missing: frozenset[str] = frozenset()
        self._writes = 0
        self.current: Callable[[], Awaitable[bytes]] | None = None

    @property
    def missing(self) -> str:
        """A sentence on the APIServices that are not there, or nothing."""
        if not self._missing:
            return ""
        names = ", ".join(sorted(self._missing))
        return (
            f"missing or without the label served-by=antrea-controller: APIService {names}; kubectl and "
            "aggregated clients do not reach what they stand for"
        )

    async def publish(self, bundle: bytes) -> bool:
        """From now on this one; whether all that exists has it now."""
        self._bundle = bundle
        complete = await self.round()
        if not complete:
            self._wake.set()
        return complete

    def start(self, supervisor: Supervisor) -> None:
        """Look after it for as long as the supervisor lives."""
        config_maps = CONFIG_MAPS.path(namespace=self._namespace)
        watched = [(resource.plural, resource.path(), LABELS, "") for resource, _ in TARGETS]
        watched.append((CA_CONFIG_MAP, config_maps, "", f"metadata.name={CA_CONFIG_MAP}"))
        for name, path, labels, fields in watched:
            reflector = Reflector(
                self._client,
                path,
                Wake(self._wake),
                label_selector=labels,
                field_selector=fields,
                # A kind that is not served is no hurry.
                backoff=Backoff(initial=0.2, maximum=60, reset_after=20),
            )
            supervisor.start(f"watch-{name}", reflector.run)
        supervisor.start("publish-ca", self.run)

    async def run(self) -> None:
        """Never returns; cancel it."""
        backoff = Backoff(initial=0.5, maximum=30)
        # Somebody who overwrites the same objects again and again is answered ever more slowly.
        calm = Backoff(initial=CALM, maximum=10, reset_after=60)
        while True:
            self._wake.clear()
            before = self._writes
            complete = await self.round()
            if complete:
                backoff.reset()
            try:
                await asyncio.wait_for(self._wake.wait(), PERIOD if complete else backoff.next())
                await asyncio.sleep(calm.next() if self._writes != before else CALM)
            except TimeoutError:
                pass

    async def round(self) -> bool:
        """Bring everything up to date once; whether all of it succeeded. Without a bundle nothing is done."""
        async with self._round:
            if not self._bundle:
                return True
            complete = await self._attempt(f"ConfigMap {self._namespace}/{CA_CONFIG_MAP}", self._config_map())
            for resource, amend in TARGETS:
                complete &= await self._attempt(resource.plural, self._labelled(resource, amend))
            return complete

    async def _attempt(self, what: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except (ApiError, ConnectionFailed, msgspec.MsgspecError, _Stale) as error:
            if isinstance(error, ApiError) and error.status == 404:
                return True  # a server without this kind of object: nothing to be told
            if self._complaints.get(what) != str(error):
                logger.warning("Cannot publish the CA to %s: %.400s", what, error)
            self._complaints[what] = str(error)
            return False
        if self._complaints.pop(what, None):
            logger.info("The CA is published to %s", what)
        return True

    async def _confirm(self) -> None:
        """Before something is written."""
        self._writes += 1
        if self.current is not None and (known := await self.current()) != self._bundle:
            self._bundle = known
            self._wake.set()
            raise _Stale("another replica has rotated the certificate meanwhile")

    async def _config_map(self) -> None:
        path = CONFIG_MAPS.path(CA_CONFIG_MAP, self._namespace)
        text = self._bundle.decode()
        try:
            document = msgspec.json.decode(await self._client.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            await self._confirm()
            metadata = {"name": CA_CONFIG_MAP, "namespace": self._namespace, "labels": {"app": "antrea"}}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {CA_KEY: text}}
            await self._client.create(CONFIG_MAPS.path(namespace=self._namespace), made)
            logger.info("Made the ConfigMap %s/%s", self._namespace, CA_CONFIG_MAP)
            return
        if (document.get("data") or {}).get(CA_KEY) != text:
            await self._confirm()
            await self._client.patch(path, {"data": {CA_KEY: text}})

    async def _labelled(self, resource: Resource, amend: Amend) -> None:
        bundle = base64.b64encode(self._bundle).decode()
        listed = msgspec.json.decode(await self._client.get(resource.path(), {"labelSelector": LABELS}))
        items = listed.get("items") or ()
        if resource is API_SERVICES:
            self._report_missing({item["metadata"]["name"] for item in items})
        problems: list[ApiError | ConnectionFailed] = []
        for document in items:
            patch = amend(document, bundle)
            if not patch:
                continue
            await self._confirm()
            name = document["metadata"]["name"]
            try:
                await self._client.patch(resource.path(name), [_STILL_OURS, *patch], JSON_PATCH)
                logger.info("The CA is published to %s %s", resource.plural, name)
            except (ApiError, ConnectionFailed) as error:
                if not (isinstance(error, ApiError) and error.status == 404):
                    problems.append(error)
        if problems:
            raise problems[0]

    def _report_missing(self, found: set[str]) -> None:
        missing = self._wanted - found
        if missing != self._missing:
            self._missing = frozenset(missing)
            if missing:
                logger.warning("%s", self.missing)
            else:
                logger.info("All APIServices are there")


class _Stale(Exception):
    """What was about to be published is no longer the bundle."""
