"""What an earlier agent attached, and what of it has no pod any more.

A DEL that comes before the last flows of earlier agents have been removed frees its port number early. Open
vSwitch gives a freed number out again only after an hour, or when no other is left, and a vswitchd that was
restarted meanwhile has only flows that this agent wants: no new pod meets flows meant for the old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from agent.cni.detach import Detacher
from agent.cni.parts import Parts, listed
from agent.cni.pods import LocalPod
from agent.model import PodInterface
from runtime import log

logger = log.get(__name__)


class Inheritance:
    """Takes over at start, and later detaches what is stale."""

    def __init__(self, parts: Parts, detacher: Detacher) -> None:
        self._parts = parts
        self._detacher = detacher

    async def restore(self, pods: Collection[LocalPod] | None) -> None:
        """Take over what an earlier agent attached. Sends nothing to OVS; ``stale`` is left for ``discard``.

        A pod's interface stays if the API says that the pod runs here and its host veth exists. With ``pods``
        None the API could not say: all that have a veth stay, and no address is collected. Stale interfaces
        keep their ports and addresses until all their flows are gone: no other pod may get either before.
        """
        known = None if pods is None else {(pod.namespace, pod.name): pod for pod in pods}
        devices = await self._parts.netlink.run(
            lambda ipr: {link.get("ifname") for link in ipr.get_links(kind="veth")}
        )
        for interface in self._parts.bridge.pod_interfaces():
            pod = known.get(interface.key) if known is not None else None
            gone = known is not None and (
                pod is None or bool(interface.pod_uid and pod.uid and pod.uid != interface.pod_uid)
            )
            if gone or interface.name not in devices:
                self._detacher.stale[interface.name] = interface
            else:
                self._parts.interfaces.add(interface)
            if interface.ofport > 0:  # a stale one's flows are claimed so that exactly they are removed later
                self._parts.connectivity.install_pod(interface)
        if known is None:
            return
        keep = {
            ip
            for interface in [*self._parts.interfaces, *self._detacher.stale.values()]
            for ip in interface.ips
        }
        keep.update(ip for pod in known.values() for ip in pod.ips)
        try:
            leaked = await asyncio.to_thread(self._parts.ipam.collect, keep)
        except OSError as error:
            logger.error("Addresses that no pod has cannot be freed: %s", error)
            return
        if leaked:
            logger.info("Freed %d addresses that no pod of this node has: %s", len(leaked), listed(leaked))

    async def discard(self, interface: PodInterface) -> None:
        """Detach a stale interface, if it still is one. Raises CNIError."""
        if self._detacher.stale.get(interface.name) is not interface:
            return
        logger.info("Detaching %s of %s/%s, which does not run here any more", interface.name, *interface.key)
        await self._detacher.remove(interface.container_id, [interface.name])
        for container_id, ifname in await self.owners():
            if container_id == interface.container_id:
                await self._detacher.release(container_id, ifname)

    async def owners(self) -> list[tuple[str, str]]:
        """Container and interface name of all that have an address here."""
        reservations = await asyncio.to_thread(lambda: self._parts.ipam.reservations)
        return sorted({(owner.container_id, owner.ifname) for owner in reservations.values()})
