"""The node's pods as a whole: the watch, the workers, what a predecessor left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from client.errors import ApiError, ConnectionFailed
from client.reflector import Reflector
from client.resources import EVENTS, PODS
from client.rest import RestClient
from client.watch import WatchFrame
from lab.nodes.kubelet.config import KubeletConfig
from lab.nodes.kubelet.pod_facts import Pod
from lab.nodes.kubelet.pod_status import timestamp
from lab.nodes.kubelet.runtime_client import RuntimeClient
from lab.nodes.kubelet.sandbox import Sandboxes
from lab.nodes.kubelet.worker import PodWorker
from runtime import log

logger = log.get("lab.kubelet")
EVENT_EVERY = 10.0  # seconds between two equal events about one pod


class Kubelet:
    """Handler of the reflector over the Pods bound to this node."""

    def __init__(self, config: KubeletConfig, client: RestClient) -> None:
        self.config = config
        self.client = client
        self.runtime = RuntimeClient(config.runtime_socket, self._container_exited)
        self.sandboxes = Sandboxes(config)
        self._workers: dict[str, PodWorker] = {}
        self._listed: set[str] | None = None
        self._events: dict[tuple[str, str, str], float] = {}
        self.reflector = Reflector(client, PODS.path(), self, field_selector=f"spec.nodeName={config.node}")

    def adopt(self) -> None:
        """Take over a predecessor's pods; those whose object is gone are taken down after the first list."""
        for uid, sandbox in self.sandboxes.load().items():
            self._workers[uid] = PodWorker(self, uid, sandbox)

    async def close(self) -> None:
        """End the workers; the pods live on."""
        tasks = [worker.task for worker in self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def finished(self, uid: str) -> None:
        self._workers.pop(uid, None)

    def _container_exited(self, container_id: str, status: int) -> None:
        for worker in self._workers.values():
            if worker.sandbox and worker.sandbox.container_id == container_id:
                worker.exited(status)

    # -- reflector.Handler -------------------------------------------------------------------------
    async def list_started(self) -> None:
        self._listed = set()

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        for item in items:
            pod = self._decode(item)
            if pod:
                assert self._listed is not None
                self._listed.add(pod["metadata"]["uid"])
                self._upsert(pod)

    async def list_finished(self) -> None:
        for uid, worker in list(self._workers.items()):
            if self._listed is not None and uid not in self._listed:
                worker.update(None)
        self._listed = None

    async def events(self, events: Sequence[WatchFrame]) -> None:
        for event in events:
            pod = self._decode(event.object)
            if pod is None:
                continue
            if event.type == "DELETED":
                if worker := self._workers.get(pod["metadata"]["uid"]):
                    worker.update(None)
            else:
                self._upsert(pod)

    def _decode(self, raw: bytes | msgspec.Raw) -> Pod | None:
        try:
            pod = msgspec.json.decode(raw)
            if isinstance(pod["metadata"]["uid"], str) and isinstance(pod["metadata"]["name"], str):
                return dict(pod)
        except (msgspec.DecodeError, KeyError, TypeError):
            pass
        logger.warning("An object of the Pods' watch is malformed and skipped: %.200r", bytes(raw))
        return None

    def _upsert(self, pod: Pod) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = PodWorker(self, uid, None)
        worker.update(pod)

    # -- events ------------------------------------------------------------------------------------
    async def event(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        """Tell of a pod's trouble where `kubectl describe` shows it; never fails, and not too often."""
        metadata = pod["metadata"]
        key = (metadata["uid"], reason, message)
        if time.monotonic() - self._events.get(key, -EVENT_EVERY) < EVENT_EVERY:
            return
        if len(self._events) > 1000:
            self._events.clear()
        self._events[key] = time.monotonic()
        now = timestamp(time.time())
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "source": {"component": "kubelet", "host": self.config.node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(ApiError, ConnectionFailed):
            await self.client.create(EVENTS.path(namespace=metadata["namespace"]), body)
