"""Nodes: a pod CIDR for each, and a scheduler that deals pods out to them.

The scheduler takes the Ready nodes in turn, among those that the pod's nodeSelector, the nodes' taints and
spec.unschedulable leave; a pod that fits nowhere stays Pending with the condition PodScheduled False.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.refusals import info_for
from apiserver.documents.registry import Registry
from apiserver.errors import conflict
from apiserver.resources import Object
from lab.api.access.rbac import selects
from lab.api.controllers.recorder import Recorder
from lab.api.reactor import Reactor

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NODE_BITS = {4: 24, 6: 64}  # kube-controller-manager's default mask sizes


class NodeIpam:
    """Gives each node one CIDR of each family of the cluster."""

    def __init__(self, registry: Registry, reactor: Reactor, cluster_cidrs: Sequence[Network]) -> None:
        self._registry = registry
        self._reactor = reactor
        self._networks = list(cluster_cidrs)
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == "nodes" and new is not None and not new.get("spec", {}).get("podCIDRs"):
            name = new["metadata"]["name"]
            self._reactor.soon(("podcidr", name), lambda: self._assign(name))

    def _assign(self, name: str) -> None:
        node = self._registry.get("nodes", "", name)
        if node is None or node.get("spec", {}).get("podCIDRs"):
            return
        used = {
            cidr
            for other in self._registry.items("nodes")
            for cidr in other.get("spec", {}).get("podCIDRs", ())
        }
        cidrs = []
        for network in self._networks:
            free = next((cidr for cidr in _subnets(network) if cidr not in used), None)
            if free is None:
                raise RuntimeError(f"the cluster CIDR {network} has no subnet left for node {name}")
            cidrs.append(free)
        if not cidrs:
            return

        def change(obj: Object, _version: int) -> Object:
            obj.setdefault("spec", {}).update(podCIDR=cidrs[0], podCIDRs=cidrs)
            return obj

        self._registry.update(self._registry.kinds["nodes"], "", name, change, unconditional=True)


def _subnets(network: Network) -> Iterator[str]:
    length = max(NODE_BITS[network.version], network.prefixlen)
    for subnet in network.subnets(new_prefix=length):
        yield str(subnet)


class Scheduler:
    def __init__(self, registry: Registry, reactor: Reactor) -> None:
        self._registry = registry
        self._reactor = reactor
        self._turn = 0
        self._waiting: set[tuple[str, str]] = set()
        self._recorder = Recorder(registry, "default-scheduler")
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == "pods":
            obj = new if new is not None else old
            assert obj is not None
            key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
            if new is not None and old is None and _unbound(new):
                self._waiting.add(key)
                self._soon(key)
            elif new is None or not _unbound(new):
                self._waiting.discard(key)
        elif kind.resource == "nodes" and (old is None or new is None or _placement(old) != _placement(new)):
            for key in sorted(self._waiting):
                self._soon(key)

    def _soon(self, key: tuple[str, str]) -> None:
        self._reactor.soon(("schedule", *key), lambda: self._schedule(*key))

    def _schedule(self, namespace: str, name: str) -> None:
        pod = self._registry.get("pods", namespace, name)
        if pod is None or not _unbound(pod) or pod["metadata"].get("deletionTimestamp"):
            self._waiting.discard((namespace, name))
            return
        if pod["spec"].get("schedulingGates"):
            return
        nodes = sorted(self._registry.items("nodes"), key=lambda node: node["metadata"]["name"])
        fitting = [node["metadata"]["name"] for node in nodes if not _why_not(pod, node)]
        if not fitting:
            why = _summary(pod, nodes)
            self._refuse(namespace, name, why)
            self._tell(pod, "Warning", "FailedScheduling", why)
            return
        chosen = fitting[self._turn % len(fitting)]
        self._turn += 1
        bind(self._registry, namespace, name, chosen)
        self._tell(pod, "Normal", "Scheduled", f"Successfully assigned {namespace}/{name} to {chosen}")

    def _tell(self, pod: Object, type_: str, reason: str, message: str) -> None:
        action = "Binding" if reason == "Scheduled" else "Scheduling"
        self._recorder.tell(self._registry.kinds["pods"], pod, type_, reason, message, action)

    def _refuse(self, namespace: str, name: str, message: str) -> None:
        def change(obj: Object, _version: int) -> Object:
            _set_condition(
                obj,
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
            )
            return obj

        kind = self._registry.kinds["pods"]
        self._registry.update(kind, namespace, name, change, subresource="status", unconditional=True)


def bind(registry: Registry, namespace: str, name: str, node: str) -> None:
    """Binds a pod to a node, once. Raises Conflict when it is bound already."""
    kind = registry.kinds["pods"]

    def change(obj: Object, _version: int) -> Object:
        if obj["spec"].get("nodeName"):
            words = f'pod {name} is already assigned to node "{obj["spec"]["nodeName"]}"'
            raise conflict(info_for(kind), name, words)
        obj["spec"]["nodeName"] = node
        _set_condition(obj, {"type": "PodScheduled", "status": "True"})
        return obj

    registry.update(kind, namespace, name, change, subresource="binding", unconditional=True)


def _set_condition(pod: Object, condition: Object) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    kept = [c for c in conditions if c.get("type") != condition["type"]]
    previous: Object = next((c for c in conditions if c.get("type") == condition["type"]), {})
    moved = previous.get("status") != condition["status"]
    since = clock.stamp() if moved else previous.get("lastTransitionTime", clock.stamp())
    pod["status"]["conditions"] = [*kept, {"lastProbeTime": None, "lastTransitionTime": since, **condition}]


def _unbound(pod: Object) -> bool:
    spec = pod.get("spec", {})
    return not spec.get("nodeName") and spec.get("schedulerName", "default-scheduler") == "default-scheduler"


def _placement(node: Object) -> tuple[object, ...]:
    spec = node.get("spec", {})
    return (node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), _ready(node))


def _ready(node: Object) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in node.get("status", {}).get("conditions", ())
    )


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in pod["spec"].get("tolerations", ()):
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint.get("key"):
            continue
        if toleration.get("operator") == "Exists" or (
            toleration.get("key") and toleration.get("value", "") == taint.get("value", "")
        ):
            return True
    return False


def _affinity_fits(pod: Object, node: Object) -> bool:
    required = (
        pod["spec"]
        .get("affinity", {})
        .get("nodeAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    if not required:
        return True
    labels = node["metadata"].get("labels", {})
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        selects({"matchExpressions": term.get("matchExpressions", ())}, labels)
        and selects({"matchExpressions": term.get("matchFields", ())}, fields)
        for term in required.get("nodeSelectorTerms", ())
    )


def _why_not(pod: Object, node: Object) -> str:
    """Why the pod cannot go to the node; empty if it can."""
    if not _ready(node):
        return "node(s) were not ready"
    if node.get("spec", {}).get("unschedulable"):
        return "node(s) were unschedulable"
    labels = node["metadata"].get("labels", {})
    wanted = pod["spec"].get("nodeSelector", {})
    if any(labels.get(key) != value for key, value in wanted.items()) or not _affinity_fits(pod, node):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node.get("spec", {}).get("taints", ()):
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            return f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value', '')}}}"
    return ""


def _summary(pod: Object, nodes: Sequence[Object]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    counts: dict[str, int] = {}
    for node in nodes:
        why = _why_not(pod, node)
        counts[why] = counts.get(why, 0) + 1
    parts = ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))
    return f"0/{len(nodes)} nodes are available: {parts}."
