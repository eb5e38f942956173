"""The plain paths: metrics, log level, feature gates."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from apiserver.errors import method_not_allowed
from apiserver.request import Context
from apiserver.server import ApiServer
from client.errors import ApiError, ConnectionFailed
from client.resources import CONFIG_MAPS
from client.rest import RestClient
from runtime import log, metrics
from runtime.features import GATES, FeatureGates, Gate

logger = log.get("controller.api.paths")

CONFIG_MAP = "antrea-config"
# Gates of the agent that have no meaning on Windows nodes (Antrea v2.7, "get featuregates").
NOT_ON_WINDOWS = frozenset(
    {
        "Egress", "AntreaIPAM", "BGPPolicy", "Multicast", "AntreaNodeConfig", "SecondaryNetwork",
        "ServiceExternalIP", "IPsecCertAuth", "Multicluster", "L7NetworkPolicy", "LoadBalancerModeDSR",
        "CleanupStaleUDPSvcConntrack", "EgressTrafficShaping", "EgressSeparateSubnet", "NodeNetworkPolicy",
        "FlowExporter", "NodeLatencyMonitor", "PacketCapture", "NFTablesHostNetworkMode",
    }
)  # fmt: skip


def register_common(server: ApiServer, with_metrics: bool) -> None:
    """The paths that controller and agent have alike."""
    server.path("/loglevel", _log_level)
    if with_metrics:
        server.path("/metrics", _metrics)


async def _metrics(ctx: Context) -> web.StreamResponse:
    if ctx.http.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    content_type, body = metrics.exposition(ctx.http.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _log_level(ctx: Context) -> web.StreamResponse:
    level = ctx.query.get("level")
    if level is None:
        return web.Response(text=f"{log.verbosity()}\n")
    if not level.isdecimal():
        return web.Response(status=400, text="log level must be a positive integer\n")
    log.set_verbosity(int(level))
    logger.info("The log level is now %s", level)
    return web.Response()


class FeatureGatesPath:
    """``/featuregates``: what the cluster's configuration says, for agents and controller.

    It is read from the ConfigMap, as upstream does, so that pending edits show; a gate that the ConfigMap
    does not mention, or all of them without a ConfigMap, are those of this process and the defaults.
    """

    def __init__(self, client: RestClient, namespace: str, gates: FeatureGates) -> None:
        self._client = client
        self._namespace = namespace
        self._gates = gates

    async def serve(self, ctx: Context) -> web.StreamResponse:
        return web.Response(text=json.dumps(await self.list()), content_type="application/json")

    async def list(self) -> list[dict[str, str]]:
        agent, controller = await self._from_config_map()
        found = [_entry("agent", gate, agent, self._gates) for gate in _of("A")]
        found += [_entry("controller", gate, controller, self._gates) for gate in _of("C")]
        windows = await self._windows()
        if windows is not None:
            found += [
                _entry("agent-windows", gate, windows, self._gates)
                for gate in _of("A")
                if gate.name not in NOT_ON_WINDOWS
            ]
        order = {"agent": 0, "controller": 1, "agent-windows": 2}
        return sorted(found, key=lambda entry: (order[entry["component"]], entry["name"]))

    async def _from_config_map(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        name = os.environ.get("ANTREA_CONFIG_MAP_NAME") or CONFIG_MAP
        try:
            body = await self._client.get(CONFIG_MAPS.path(name, self._namespace))
        except (ApiError, ConnectionFailed) as error:
            logger.log(log.V(1), "No ConfigMap %s/%s: %s", self._namespace, name, error)
            return {}, {}
        data = json.loads(body).get("data") or {}
        return _gates_in(data, "antrea-agent.conf"), _gates_in(data, "antrea-controller.conf")

    async def _windows(self) -> Mapping[str, Any] | None:
        try:
            body = await self._client.get(
                CONFIG_MAPS.path(namespace=self._namespace), {"labelSelector": "app=antrea"}
            )
        except (ApiError, ConnectionFailed):
            return None
        candidates = [
            item
            for item in json.loads(body).get("items") or ()
            if item["metadata"]["name"].startswith("antrea-windows-config")
        ]
        if not candidates:
            return None
        newest = max(candidates, key=lambda item: item["metadata"].get("creationTimestamp") or "")
        return _gates_in(newest.get("data") or {}, "antrea-agent.conf")


def _of(component: str) -> list[Gate]:
    return [gate for gate in GATES.values() if component in gate.components]


def _gates_in(data: Mapping[str, str], key: str) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(data.get(key) or "") or {}
    except yaml.YAMLError as error:
        logger.warning("The key %s of the ConfigMap is not YAML: %s", key, error)
        return {}
    gates = document.get("featureGates") if isinstance(document, dict) else None
    return gates if isinstance(gates, dict) else {}


def _entry(component: str, gate: Gate, written: Mapping[str, Any], running: FeatureGates) -> dict[str, str]:
    value = written.get(gate.name)
    enabled = value if isinstance(value, bool) else running.enabled(gate.name)
    return {
        "component": component,
        "name": gate.name,
        "status": "Enabled" if enabled else "Disabled",
        "version": gate.stage.value,
    }
