"""``/ovsflows``: what is in the switch, as ovs-ofctl prints it, whole or by pod, policy or table.

The lines come from ovs-ofctl itself, with its counters and durations: that is what operators read. Which of
them belong to a pod or a policy is known from what the programmer wants for it; flows are told by table,
priority and match, which is what identifies a flow in OVS.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agent.interfaces import InterfaceStore
from agent.localapi.paths import Query, Refused, policy_type, register
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.flow import Flow
from agent.pipeline.programmer import FlowProgrammer
from agent.policies.controller import PolicyController
from agent.policies.objects import Policy
from apiserver.server import ApiServer
from runtime import log

logger = log.get(__name__)

TIMEOUT = 10.0  # seconds for ovs-ofctl
CLUSTER_SCOPED = (
    "AntreaClusterNetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "K8sClusterNetworkPolicy",
)

_TABLE = re.compile(r"\btable=(\"[^\"]*\"|[^, ]+)")
_MATCH = re.compile(r"\b(priority=\d+[^ ]*)")
_PORT_NAME = re.compile(r"\bin_port=(\"[^\"]*\"|[^, ]+)")

Key = tuple[str, str]  # (table, priority and match)


class OVSFlows:
    def __init__(
        self,
        bridge: str,
        socket: Path,
        programmer: FlowProgrammer,
        interfaces: InterfaceStore,
        policies: PolicyController,
        port_names: Callable[[], dict[str, int]],
    ) -> None:
        self._bridge = bridge
        self._socket = socket  # the bridge's management socket
        self._programmer = programmer
        self._interfaces = interfaces
        self._policies = policies
        self._port_names = port_names  # all ports of the bridge and their numbers

    def register(self, server: ApiServer) -> None:
        register(server, "/ovsflows", self.answer)

    async def answer(self, query: Query) -> Any:
        """Upstream's order of precedence. Raises Refused."""
        namespace = query.get("namespace", "")
        if "table-names-only" in query:
            return [{"flow": name} for name in sorted(self._programmer.layout.names.values())]
        if pod := query.get("pod", ""):
            return self._chosen(await self._dump(), self._pod_flows(pod, namespace))
        if query.get("service", ""):
            if not namespace:
                raise Refused(400, "namespace must be provided")
            raise Refused(503, "AntreaProxy is not enabled")
        if policy := query.get("networkpolicy", ""):
            flows = self._policy_flows(policy, namespace, policy_type(query.get("type", "")))
            return self._chosen(await self._dump(), flows)
        if tables := query.get("table", ""):
            names = self._tables(tables)
            return [_entry(line) for line in await self._dump() if _table_of(line) in names]
        if groups := query.get("groups", ""):
            return await self._groups(groups)
        if namespace:
            raise Refused(400, "unsupported parameter combination")
        return [_entry(line) for line in await self._dump()]

    def _pod_flows(self, pod: str, namespace: str) -> list[Flow]:
        if not namespace:
            raise Refused(400, "namespace must be provided")
        interfaces = self._interfaces.for_pod(namespace, pod)
        if not interfaces:
            raise Refused(404, f"Pod {namespace}/{pod} not found")
        return [flow for interface in interfaces for flow in self._programmer.flows(f"pod/{interface.name}")]

    def _policy_flows(self, name: str, namespace: str, kind: str) -> list[Flow]:
        if kind in CLUSTER_SCOPED and namespace:
            raise Refused(400, "policy Namespace should not be provided for cluster-scoped policy types")
        if kind and kind not in CLUSTER_SCOPED and not namespace:
            raise Refused(400, "policy Namespace must be provided for namespaced policy types")
        found = [
            policy
            for policy in self._policies.cache.policies.values()
            if policy.reference.name == name
            and policy.reference.namespace == namespace
            and (not kind or policy.reference.type == kind)
        ]
        if not found:
            raise Refused(404, f"NetworkPolicy {namespace + '/' if namespace else ''}{name} not found")
        if len(found) > 1:
            raise Refused(400, f"{len(found)} policies are named {name}: name the type as well")
        return self._rule_flows(found[0])

    def _rule_flows(self, policy: Policy) -> list[Flow]:
        return [
            flow
            for rule in self._policies.reconciler.installed
            if rule.policy == policy.reference
            for flow in self._programmer.flows(f"rule/{rule.id}")
        ]

    def _tables(self, words: str) -> set[str]:
        names = self._programmer.layout.names
        chosen = set()
        for word in words.split(","):
            if word.isdecimal() and int(word) in names:
                chosen.add(names[int(word)])
            elif word in names.values():
                chosen.add(word)
            else:
                raise Refused(400, "invalid table name or number")
        return chosen

    def _chosen(self, lines: Iterable[str], flows: Iterable[Flow]) -> list[dict[str, str]]:
        """The lines of these flows."""
        wanted = {key for flow in flows if (key := self._key_of(flow)) is not None}
        numbers = self._port_names()
        return [_entry(line) for line in lines if _key(line, numbers) in wanted]

    def _key_of(self, flow: Flow) -> Key | None:
        try:
            return _key(flow.format(self._programmer.layout.names), {})
        except CodecError as error:
            logger.warning("A flow cannot be printed: %s", error)
            return None

    async def _dump(self) -> list[str]:
        return await self._ofctl("dump-flows")

    async def _groups(self, words: str) -> list[dict[str, str]]:
        if words != "all" and not all(word.isdecimal() for word in words.split(",")):
            raise Refused(400, "invalid group ID")
        lines = await self._ofctl("dump-groups")
        if words == "all":
            return [_entry(line) for line in lines]
        wanted = set(words.split(","))
        chosen = [line for line in lines if line.partition("group_id=")[2].partition(",")[0] in wanted]
        if not chosen:
            raise Refused(404, f"group {words} not found")
        return [_entry(line) for line in chosen]

    async def _ofctl(self, command: str) -> list[str]:
        """The lines of an answer without its headings. Raises Refused."""
        try:
            process = await asyncio.create_subprocess_exec(
                "ovs-ofctl", "-O", "OpenFlow15", "--names", command, f"unix:{self._socket}",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            logger.error("ovs-ofctl cannot be started: %s", error)
            raise Refused(500, "OVS flow dumping failed") from error
        try:
            output, complaint = await asyncio.wait_for(process.communicate(), TIMEOUT)
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                logger.error("ovs-ofctl %s %s did not end within %.0f s", command, self._bridge, TIMEOUT)
                raise Refused(500, "OVS flow dumping failed") from error
            raise
        if process.returncode:
            logger.error(
                "ovs-ofctl %s %s: %s", command, self._bridge, complaint.decode(errors="replace").strip()
            )
            raise Refused(500, "OVS flow dumping failed")
        lines = map(str.strip, output.decode(errors="replace").splitlines())
        return [line for line in lines if line and "OFPST_" not in line]


def _entry(line: str) -> dict[str, str]:
    return {"flow": line}


def _table_of(line: str) -> str:
    found = _TABLE.search(line)
    return found[1].strip('"') if found else ""


def _key(line: str, numbers: dict[str, int]) -> Key:
    """What identifies the flow in a line; names of ports become their numbers."""

    def numbered(found: re.Match[str]) -> str:
        name = found[1].strip('"')
        return f"in_port={numbers.get(name, name)}"

    match = _MATCH.search(line.partition(" actions=")[0])
    return _table_of(line), _PORT_NAME.sub(numbered, match[1]) if match else ""
