"""What the agent says of itself: live under ``/agentinfo``, and as AntreaAgentInfo in the Kubernetes API."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.interfaces import InterfaceStore
from agent.model import NodeConfig
from agent.policies.controller import PolicyController
from client.errors import ApiError, ConnectionFailed
from client.resources import AGENT_INFOS
from client.rest import RestClient
from runtime import log, version

logger = log.get(__name__)

PERIOD = 60.0  # seconds between heartbeats
SOON = 2.0  # changes are written so soon, at most so often
RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the parts of the information come from."""

    node: NodeConfig
    pod_name: str
    namespace: str
    bridge: str
    api_port: int
    transport: Mapping[str, Any]  # facts.transport_info
    interfaces: InterfaceStore
    policies: PolicyController
    ovs_version: Callable[[], str]  # empty while OVSDB is away
    flow_counts: Callable[[], dict[str, int]]
    openflow_connected: Callable[[], bool]


class AgentInfo:
    """The present state of the process as the fields of an AntreaAgentInfo."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def document(self) -> dict[str, Any]:
        """As ``/agentinfo`` answers, fields in upstream's order."""
        s = self._sources
        document: dict[str, Any] = {"version": version.FULL, "podRef": {}}
        if s.pod_name:
            document["podRef"] = {"kind": "Pod", "namespace": s.namespace, "name": s.pod_name}
        document["nodeRef"] = {"kind": "Node", "name": s.node.name}
        document["nodeSubnets"] = [str(cidr) for cidr in s.node.pod_cidrs]
        ovs = {"version": s.ovs_version(), "bridgeName": s.bridge, "flowTable": s.flow_counts()}
        document["ovsInfo"] = {key: value for key, value in ovs.items() if value}
        cache = s.policies.cache
        numbers = {
            "networkPolicyNum": len(cache.policies),
            "addressGroupNum": len(cache.address_groups),
            "appliedToGroupNum": len(cache.applied_to_groups),
        }
        document["networkPolicyControllerInfo"] = {key: value for key, value in numbers.items() if value}
        if len(s.interfaces):
            document["localPodNum"] = len(s.interfaces)
        document["agentConditions"] = self.conditions()
        document["apiPort"] = s.api_port
        device = dict(s.transport)
        document["networkInfo"] = {
            **{
                key: device.pop(key)
                for key in ("transportInterface", "transportInterfaceMTU")
                if key in device
            },
            "podMTU": s.node.mtu,
            **device,
        }
        return document

    def conditions(self) -> list[dict[str, str]]:
        s = self._sources
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        states = {
            "AgentHealthy": True,
            "ControllerConnectionUp": s.policies.connected,
            "OVSDBConnectionUp": bool(s.ovs_version()),
            "OpenflowConnectionUp": s.openflow_connected(),
        }
        return [
            {"type": name, "status": "True" if up else "False", "lastHeartbeatTime": now}
            for name, up in states.items()
        ]

    def fingerprint(self) -> str:
        """What changes only when something besides the heartbeat and flow counts does."""
        document = self.document()
        document["agentConditions"] = [(c["type"], c["status"]) for c in document["agentConditions"]]
        document["ovsInfo"].pop("flowTable", None)
        return repr(document)


class InfoWriter:
    """Keeps this node's AntreaAgentInfo up to date.

    Without that kind (404 on the collection) it goes on trying, rarely: it may be installed later.
    """

    def __init__(self, client: RestClient, info: AgentInfo, node: str, ca: Callable[[], bytes]) -> None:
        self._client = client
        self._info = info
        self._node = node
        self._ca = ca  # PEM of the local API's certificate

    async def run(self) -> None:
        """Never returns; cancel it."""
        complaint = ""
        while True:
            written = self._info.fingerprint()
            try:
                await self._write()
                complaint = ""
                await self._wait_for_change(written)
            except (ApiError, ConnectionFailed) as error:
                if str(error) != complaint:
                    logger.warning("AntreaAgentInfo %s cannot be written: %s", self._node, error)
                complaint = str(error)
                await asyncio.sleep(PERIOD if getattr(error, "status", 0) == 404 else RETRY)

    async def _wait_for_change(self, written: str) -> None:
        for _ in range(int(PERIOD / SOON)):
            await asyncio.sleep(SOON)
            if self._info.fingerprint() != written:
                return

    async def _write(self) -> None:
        document = {
            "apiVersion": AGENT_INFOS.api_version,
            "kind": "AntreaAgentInfo",
            "metadata": {"name": self._node},
            **self._info.document(),
            "apiCABundle": base64.b64encode(self._ca()).decode(),
        }
        try:
            # A patch needs no version to be read first, and nobody else writes these fields.
            await self._client.patch(AGENT_INFOS.path(self._node), document)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._client.create(AGENT_INFOS.path(), document)
