"""The lab's stand-in for kube-scheduler: binds pods without a node to the ready node that has fewest.

    python -m lab.nodes.scheduler KUBECONFIG

Honoured are nodeSelector, unschedulable nodes and NoSchedule taints with their tolerations; a pod that
fits nowhere stays Pending with the reason in its PodScheduled condition, and is tried again when a node
or the pod changes.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from client import kubeconfig
from client.errors import ApiError, ConnectionFailed
from client.reflector import Reflector
from client.resources import NODES, PODS
from client.rest import RestClient
from client.watch import WatchFrame
from runtime import log, process
from runtime.tasks import Supervisor

logger = log.get("lab.scheduler")
RETRY = 1.0  # seconds between two rounds for pods that could not be bound

Document = dict[str, Any]


class Cache:
    """Objects of one resource by (namespace, name); ``changed`` is set by every event."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.objects: dict[tuple[str, str], Document] = {}
        self._changed = changed
        self._fresh: dict[tuple[str, str], Document] | None = None

    async def list_started(self) -> None:
        self._fresh = {}

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        for item in items:
            if self._fresh is not None and (document := self._decode(item)):
                self._fresh[self._key(document)] = document

    async def list_finished(self) -> None:
        self.objects, self._fresh = self._fresh or {}, None
        self._changed.set()

    async def events(self, events: Sequence[WatchFrame]) -> None:
        for event in events:
            document = self._decode(event.object)
            if document is None:
                continue
            if event.type == "DELETED":
                self.objects.pop(self._key(document), None)
            else:
                self.objects[self._key(document)] = document
        self._changed.set()

    @staticmethod
    def _key(document: Document) -> tuple[str, str]:
        return (document["metadata"].get("namespace", ""), document["metadata"]["name"])

    @staticmethod
    def _decode(raw: bytes | msgspec.Raw) -> Document | None:
        try:
            document = msgspec.json.decode(raw)
            document["metadata"]["name"]
            return dict(document)
        except (msgspec.DecodeError, KeyError, TypeError):
            logger.warning("A malformed object is skipped: %.200r", bytes(raw))
            return None


def tolerates(pod: Document, taint: Document) -> bool:
    for toleration in (pod.get("spec") or {}).get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint.get("effect")):
            continue
        if toleration.get("operator") == "Exists" and toleration.get("key") in (None, "", taint.get("key")):
            return True
        if toleration.get("key") == taint.get("key") and toleration.get("value", "") == taint.get(
            "value", ""
        ):
            return True
    return False


def fits(pod: Document, node: Document) -> bool:
    """Whether the pod may run on the node."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return False
    conditions = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or []}
    if conditions.get("Ready") != "True":
        return False
    labels = node["metadata"].get("labels") or {}
    wanted = (pod.get("spec") or {}).get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(
        taint.get("effect") == "PreferNoSchedule" or tolerates(pod, taint)
        for taint in spec.get("taints") or []
    )


def waits_for_a_node(pod: Document) -> bool:
    spec = pod.get("spec") or {}
    return (
        not spec.get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and not spec.get("schedulingGates")
        and (spec.get("schedulerName") or "default-scheduler") == "default-scheduler"
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    )


class Scheduler:
    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._changed = asyncio.Event()
        self.pods = Cache(self._changed)
        self.nodes = Cache(self._changed)
        self._bound: dict[str, str] = {}  # uid → node: bound by us, the watch has not told yet
        self.reflectors = [
            Reflector(client, PODS.path(), self.pods),
            Reflector(client, NODES.path(), self.nodes),
        ]

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._round():
                asyncio.get_running_loop().call_later(RETRY, self._changed.set)

    async def _round(self) -> bool:
        """Bind what can be bound; True if something failed that may work a moment later."""
        pods = list(self.pods.objects.values())
        load = Counter(p["spec"]["nodeName"] for p in pods if (p.get("spec") or {}).get("nodeName"))
        waiting = [pod for pod in pods if waits_for_a_node(pod)]
        alive = {pod["metadata"].get("uid") for pod in waiting}
        self._bound = {uid: node for uid, node in self._bound.items() if uid in alive}
        load.update(self._bound.values())
        again = False
        for pod in sorted(
            waiting, key=lambda p: (p["metadata"].get("creationTimestamp") or "", Cache._key(p))
        ):
            if pod["metadata"].get("uid") in self._bound:
                continue
            names = [name for (_, name), node in self.nodes.objects.items() if fits(pod, node)]
            if not names:
                again |= await self._cannot(pod)
                continue
            name = min(names, key=lambda n: (load[n], n))
            again |= not await self._bind(pod, name)
            load[name] += 1
        return again

    async def _bind(self, pod: Document, node: str) -> bool:
        metadata = pod["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(PODS.path(metadata["name"], metadata["namespace"], "binding"), body)
        except (ApiError, ConnectionFailed) as error:
            logger.warning(
                "%s/%s is not bound to %s: %s", metadata["namespace"], metadata["name"], node, error
            )
            return isinstance(error, ApiError) and error.status in (404, 409)
        self._bound[metadata["uid"]] = node
        return True

    async def _cannot(self, pod: Document) -> bool:
        nodes = len(self.nodes.objects)
        message = f"0/{nodes} nodes are available: none is ready and fits nodeSelector and taints"
        conditions = (pod.get("status") or {}).get("conditions") or []
        if any(c.get("type") == "PodScheduled" and c.get("message") == message for c in conditions):
            return False
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        metadata = pod["metadata"]
        try:
            await self._client.patch(
                PODS.path(metadata["name"], metadata["namespace"], "status"),
                {
                    "status": {
                        "conditions": [*(c for c in conditions if c.get("type") != "PodScheduled"), condition]
                    }
                },
            )
        except (ApiError, ConnectionFailed):
            return True
        return False


async def serve(supervisor: Supervisor) -> None:
    client = RestClient(await kubeconfig.load(sys.argv[1]), user_agent="antrea-lab-scheduler")
    supervisor.on_close("client", client.close)
    scheduler = Scheduler(client)
    for reflector in scheduler.reflectors:
        supervisor.start(reflector.path, reflector.run)
    supervisor.start("scheduler", scheduler.run)


if __name__ == "__main__":
    log.setup()
    sys.exit(process.run("scheduler", serve))
