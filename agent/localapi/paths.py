"""What the local API answers (Antrea v2.7): JSON sent as text/plain, errors as a line of plain text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from agent.info import AgentInfo
from agent.interfaces import InterfaceStore
from agent.model import PodInterface
from agent.policies.controller import PolicyController
from agent.policies.objects import Kind, Policy
from agent.policies.wire import group_message
from apis.controlplane.v1beta2 import decode_message
from apiserver.errors import method_not_allowed
from apiserver.request import Context
from apiserver.server import ApiServer
from runtime import log, metrics
from runtime.features import FeatureGates

logger = log.get(__name__)

# The filter's words, as antctl sends them (in any case), and the type in a policy's sourceRef.
POLICY_TYPES = {
    "K8SNP": "K8sNetworkPolicy",
    "ACNP": "AntreaClusterNetworkPolicy",
    "ANNP": "AntreaNetworkPolicy",
    "ANP": "AdminNetworkPolicy",
    "BANP": "BaselineAdminNetworkPolicy",
    "K8SCNP": "K8sClusterNetworkPolicy",
}


# What upstream answers (503) where the feature behind a path is not enabled; here none of these is yet.
NOT_ENABLED = {
    "/memberlist": "memberlist is not enabled",
    "/serviceexternalip": "ServiceExternalIP is not enabled",
    "/podmulticaststats": "Multicast is not enabled",
    "/bgppolicy": "bgp is not enabled",
    "/bgppeers": "bgp is not enabled",
    "/bgproutes": "bgp is not enabled",
}


class Refused(Exception):
    """A request that is answered with a status and a line of text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


Query = Mapping[str, str]
Answer = Callable[[Query], Awaitable[Any]]


def register(server: ApiServer, path: str, answer: Answer) -> None:
    """Serve what ``answer`` returns as JSON; Refused becomes its line of text."""

    async def serve(ctx: Context) -> web.StreamResponse:
        if ctx.http.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        try:
            body = msgspec.json.encode(await answer(ctx.query)).decode()
        except Refused as refused:
            return web.Response(status=refused.status, text=f"{refused}\n")
        return web.Response(text=f"{body}\n")

    server.path(path, serve)


def _not_enabled(reason: str) -> Answer:
    async def answer(query: Query) -> Any:
        raise Refused(503, reason)

    return answer


class LocalPaths:
    """The paths that read what the agent has in memory."""

    def __init__(
        self,
        info: AgentInfo,
        interfaces: InterfaceStore,
        port_uuid: Callable[[str], str],
        policies: PolicyController,
        gates: FeatureGates,
    ) -> None:
        self._info = info
        self._interfaces = interfaces
        self._port_uuid = port_uuid  # OVSDB's uuid of the port of that name
        self._policies = policies
        self._gates = gates

    def register(self, server: ApiServer, *, with_metrics: bool) -> None:
        register(server, "/agentinfo", self.agent_info)
        register(server, "/podinterfaces", self.pod_interfaces)
        register(server, "/networkpolicies", self.network_policies)
        register(server, "/addressgroups", self.address_groups)
        register(server, "/appliedtogroups", self.applied_to_groups)
        register(server, "/featuregates", self.feature_gates)
        for path, reason in NOT_ENABLED.items():
            register(server, path, _not_enabled(reason))
        server.path("/loglevel", log_level)
        if with_metrics:
            server.path("/metrics", serve_metrics)

    async def agent_info(self, query: Query) -> Any:
        return self._info.document()

    async def feature_gates(self, query: Query) -> Any:
        return [
            {
                "component": "agent",
                "name": gate.name,
                "status": "Enabled" if enabled else "Disabled",
                "version": gate.stage.value,
            }
            for gate, enabled in self._gates.status("A")
        ]

    async def pod_interfaces(self, query: Query) -> Any:
        name, namespace = query.get("name", ""), query.get("namespace", "")
        found = [
            self._pod_interface(interface)
            for interface in self._interfaces
            if (not name or interface.pod == name) and (not namespace or interface.namespace == namespace)
        ]
        if name and not found:
            raise Refused(404, f"the Pod {namespace + '/' if namespace else ''}{name} is not on this Node")
        return found or None  # upstream's empty list is a null

    def _pod_interface(self, interface: PodInterface) -> dict[str, Any]:
        return {
            "name": interface.pod,
            "podNamespace": interface.namespace,
            "interfaceName": interface.name,
            "ips": [str(ip) for ip in interface.ips],
            "mac": interface.mac,
            "portUUID": self._port_uuid(interface.name),
            "ofPort": interface.ofport,
            "containerID": interface.container_id,
        }

    async def network_policies(self, query: Query) -> Any:
        return {"metadata": {}, "items": [_policy_document(policy) for policy in self._selected(query)]}

    def _selected(self, query: Query) -> list[Policy]:
        name, namespace, pod = query.get("name", ""), query.get("namespace", ""), query.get("pod", "")
        source, kind = query.get("source", ""), policy_type(query.get("type", ""))
        policies = list(self._policies.cache.policies.values())
        if name:
            if namespace or pod or source or kind:
                raise Refused(400, "with a policy name, none of the other options should be set")
            return [policy for policy in policies if policy.name == name]
        if pod:
            pod_namespace, slash, pod_name = pod.partition("/")
            if not slash or not pod_namespace or not pod_name or "/" in pod_name:
                raise Refused(400, "invalid pod option format. Expected format is podNamespace/podName")
            if namespace:
                raise Refused(400, "namespace option should not be used with pod option")
            wanted = self._policies.cache.policies_of_pod(pod_namespace, pod_name)
            policies = [policy for policy in policies if policy.name in wanted]
        return [
            policy
            for policy in policies
            if (not namespace or policy.reference.namespace == namespace)
            and (not source or policy.reference.name == source)
            and (not kind or policy.reference.type == kind)
        ]

    async def address_groups(self, query: Query) -> Any:
        return self._groups(Kind.ADDRESS_GROUP, query)

    async def applied_to_groups(self, query: Query) -> Any:
        return self._groups(Kind.APPLIED_TO_GROUP, query)

    def _groups(self, kind: Kind, query: Query) -> Any:
        cache = self._policies.cache
        groups = cache.address_groups if kind is Kind.ADDRESS_GROUP else cache.applied_to_groups
        name = query.get("name", "")
        if name:
            if name not in groups:
                raise Refused(404, f"{kind.singular} {name} not found")
            return self._group(kind, name)
        return {"metadata": {}, "items": [self._group(kind, each) for each in groups]}

    def _group(self, kind: Kind, name: str) -> Any:
        cache = self._policies.cache
        groups = cache.address_groups if kind is Kind.ADDRESS_GROUP else cache.applied_to_groups
        document = decode_message(kind.singular, group_message(groups[name]))
        document["metadata"] = {"name": name}  # upstream's agent answers groups by name only
        return document


def _policy_document(policy: Policy) -> Any:
    document = decode_message("NetworkPolicy", policy.raw)
    priority = document.get("priority")
    if isinstance(priority, float) and priority.is_integer():
        document["priority"] = int(priority)  # Go writes 5, not 5.0
    return document


def policy_type(word: str) -> str:
    """The type in sourceRef for a filter's word; empty for none. Raises Refused."""
    if not word:
        return ""
    if word.upper() not in POLICY_TYPES:
        raise Refused(400, f"invalid policy type {word!r}: it must be one of {', '.join(POLICY_TYPES)}")
    return POLICY_TYPES[word.upper()]


async def log_level(ctx: Context) -> web.StreamResponse:
    level = ctx.query.get("level")
    if level is None:
        return web.Response(text=f"{log.verbosity()}\n")
    if not level.isdecimal():
        return web.Response(status=400, text="log level must be a positive integer\n")
    log.set_verbosity(int(level))
    logger.info("The log level is now %s", level)
    return web.Response()


async def serve_metrics(ctx: Context) -> web.StreamResponse:
    if ctx.http.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    content_type, body = metrics.exposition(ctx.http.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})
