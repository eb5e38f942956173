"""The Node object and its heartbeat."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from datetime import UTC, datetime
from typing import Any

from client.errors import ApiError, ConnectionFailed
from client.resources import LEASES, NODES
from client.rest import RestClient
from lab.nodes.kubelet.config import KubeletConfig
from lab.nodes.kubelet.pod_status import timestamp
from runtime import log
from runtime.backoff import Backoff

logger = log.get("lab.kubelet.node")
HEARTBEAT = 10.0
LEASE_SECONDS = 40
LEASE_NAMESPACE = "kube-node-lease"


class NodeStatus:
    """Registers the node, then keeps its status and its Lease fresh."""

    def __init__(self, config: KubeletConfig, client: RestClient) -> None:
        self._config = config
        self._client = client
        self._ready: bool | None = None
        self._changed_at = time.time()

    async def run(self) -> None:
        """Never returns."""
        backoff = Backoff(initial=0.1, maximum=5)
        while True:
            try:
                await self._register()
                break
            except (ApiError, ConnectionFailed) as error:
                logger.warning("The node cannot be registered yet: %s", error)
                await backoff.wait()
        beat = 0.0
        while True:
            ready = os.path.exists(self._config.cni_socket)  # noqa: ASYNC240 - a local file system
            try:
                if ready != self._ready or time.monotonic() - beat > HEARTBEAT:
                    await self._report(ready)
                    await self._renew_lease()
                    beat = time.monotonic()
            except ApiError as error:
                if error.status == 404:
                    await self._reregister()
                else:
                    logger.warning("The node's status was refused: %s", error)
            except ConnectionFailed as error:
                logger.warning("The node's status cannot be written: %s", error)
            # The CNI socket's coming decides when pods can run; nothing announces it.
            await asyncio.sleep(0.1 if not ready else 1.0)

    async def _reregister(self) -> None:
        try:
            await self._register()
        except (ApiError, ConnectionFailed) as error:
            logger.warning("The node cannot be registered again: %s", error)

    async def _register(self) -> None:
        config = self._config
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": config.node,
                "labels": {
                    "kubernetes.io/hostname": config.node,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                        platform.machine(), "unknown"
                    ),
                },
            },
            "spec": {"podCIDR": config.pod_cidrs[0], "podCIDRs": config.pod_cidrs},
        }
        try:
            await self._client.create(NODES.path(), node)
        except ApiError as error:
            if error.status != 409:
                raise
            # The object stays over a restart; what a user wrote into it stays too.
            await self._client.patch(
                NODES.path(config.node),
                {"metadata": {"labels": node["metadata"]["labels"]}, "spec": node["spec"]},  # type: ignore[index]
            )
        self._ready = None

    async def _report(self, ready: bool) -> None:
        now = time.time()
        if ready != self._ready:
            self._changed_at = now
        await self._client.patch(
            NODES.path(self._config.node, subresource="status"), {"status": self._status(ready, now)}
        )
        self._ready = ready

    def _status(self, ready: bool, now: float) -> dict[str, Any]:
        def condition(kind: str, value: bool, reason: str, message: str) -> dict[str, str]:
            return {
                "type": kind,
                "status": "True" if value else "False",
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(self._changed_at),
            }

        capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{_memory_kilobytes()}Ki", "pods": "250"}
        return {
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in self._config.addresses),
                {"type": "Hostname", "address": self._config.node},
            ],
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                condition("MemoryPressure", False, "KubeletHasSufficientMemory", "no pressure in a lab"),
                condition("DiskPressure", False, "KubeletHasNoDiskPressure", "no pressure in a lab"),
                condition("PIDPressure", False, "KubeletHasSufficientPID", "no pressure in a lab"),
                condition("Ready", True, "KubeletReady", "the CNI plugin's server is there")
                if ready
                else condition("Ready", False, "KubeletNotReady", "the CNI plugin's server is not there yet"),
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
                "containerRuntimeVersion": "lab://0.1",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.34.0-lab",
                "operatingSystem": "linux",
                "osImage": "antrea-lab",
            },
        }

    async def _renew_lease(self) -> None:
        name = self._config.node
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        try:
            await self._client.patch(LEASES.path(name, LEASE_NAMESPACE), {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            try:
                await self._client.create(
                    LEASES.path(namespace=LEASE_NAMESPACE),
                    {
                        "apiVersion": "coordination.k8s.io/v1",
                        "kind": "Lease",
                        "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
                        "spec": {**spec, "acquireTime": now},
                    },
                )
            except ApiError as missing:
                if missing.status != 404:  # the namespace is not there (yet): the Node's status tells as well
                    raise


def _memory_kilobytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
