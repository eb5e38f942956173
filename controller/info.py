"""What the controller says of itself: AntreaControllerInfo, live under system.antrea.io and as an object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from apiserver.stores import Stores
from client.errors import ApiError, ConnectionFailed
from client.resources import CONTROLLER_INFOS
from client.rest import RestClient
from controller.api.stats import now_text
from controller.config import Environment
from runtime import log
from runtime.version import FULL

logger = log.get("controller.info")

NAME = "antrea-controller"
PERIOD = 60.0  # seconds between heartbeats
SOON = 1.0  # changed numbers are written this soon, at most this often
RETRY = 5.0


class ControllerInfo:
    """The present state of the process as the fields of an AntreaControllerInfo."""

    def __init__(
        self,
        stores: Stores,
        environment: Environment,
        port: int,
        agents: Callable[[], int],
        missing: Callable[[], str] = lambda: "",
    ) -> None:
        self._stores = stores
        self._environment = environment
        self._port = port
        self._agents = agents  # how many agents are connected
        self._missing = missing  # a sentence on APIServices that are not there

    def document(self) -> dict[str, Any]:
        """The object without kind and apiVersion, fields in upstream's order."""
        environment = self._environment
        document: dict[str, Any] = {
            "metadata": {"name": NAME},
            "version": FULL,
            "podRef": {},
            "nodeRef": {},
            "serviceRef": {"kind": "Service", "name": "antrea"},
        }
        if environment.pod:
            document["podRef"] = {
                "kind": "Pod",
                "namespace": environment.namespace,
                "name": environment.pod,
            }
        if environment.node:
            document["nodeRef"] = {"kind": "Node", "name": environment.node}
        numbers = {
            "networkPolicyNum": self._stores.count("networkpolicies"),
            "addressGroupNum": self._stores.count("addressgroups"),
            "appliedToGroupNum": self._stores.count("appliedtogroups"),
        }
        document["networkPolicyControllerInfo"] = {key: value for key, value in numbers.items() if value}
        if agents := self._agents():
            document["connectedAgentNum"] = agents
        condition = {"type": "ControllerHealthy", "status": "True", "lastHeartbeatTime": now_text()}
        if missing := self._missing():
            condition |= {"status": "False", "reason": "APIServiceMissing", "message": missing}
        document["controllerConditions"] = [condition]
        document["apiPort"] = self._port
        return document

    def fingerprint(self) -> str:
        """What changes only when something besides the heartbeat does."""
        document = self.document()
        for condition in document["controllerConditions"]:
            del condition["lastHeartbeatTime"]
        return repr(document)


class InfoWriter:
    """Keeps the object ``antrea-controller`` of crd.antrea.io up to date. Without that API it goes on trying,
    rarely: the kind may be installed later."""

    def __init__(self, client: RestClient, info: ControllerInfo) -> None:
        self._client = client
        self._info = info

    async def run(self) -> None:
        """Never returns; cancel it."""
        complained = False
        while True:
            written = self._info.fingerprint()
            try:
                await self._write()
                complained = False
                await self._wait_for_change(written)
            except (ApiError, ConnectionFailed) as error:
                if not complained:
                    logger.warning("Cannot write AntreaControllerInfo %s: %s", NAME, error)
                complained = True
                await asyncio.sleep(PERIOD if getattr(error, "status", 0) == 404 else RETRY)

    async def _wait_for_change(self, written: str) -> None:
        waited = 0.0
        while waited < PERIOD:
            await asyncio.sleep(SOON)
            waited += SOON
            if self._info.fingerprint() != written:
                return

    async def _write(self) -> None:
        document = {
            "apiVersion": CONTROLLER_INFOS.api_version,
            "kind": "AntreaControllerInfo",
            **self._info.document(),
        }
        path = CONTROLLER_INFOS.path(NAME)
        try:
            # A patch needs no version to be read first, and nobody else writes these fields.
            await self._client.patch(path, document)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._client.create(CONTROLLER_INFOS.path(), document)
