"""CNI DEL, in the order in which no flow ever names a port or an address that somebody else may have:

    interface store → the pod's own flows → OVS port → veth → address

Most of its time is the kernel's, which ends a veth pair only after a grace period of its own.
"""

from __future__ import annotations

import asyncio

from agent.cni import veth
from agent.cni.errors import CONFIG_INTERFACE_FAILURE, IPAM_FAILURE, CNIError
from agent.cni.naming import suffix
from agent.cni.parts import Parts
from agent.cni.requests import Request
from agent.model import PodInterface


class Detacher:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.stale: dict[str, PodInterface] = {}  # by port name: found at start, with no pod behind them

    async def detach(self, request: Request) -> None:
        """Raises CNIError where something is left; the runtime asks again. Nothing to detach is fine."""
        names = await self._names(request)
        await self.remove(request.container_id, names)
        await self.release(request.container_id, request.ifname)

    async def remove(self, container_id: str, names: list[str]) -> None:
        for name in names:
            self._parts.interfaces.remove(name)
            self._parts.connectivity.uninstall_pod(name)
        try:
            # Also without a name: an earlier attempt may have got this far and no further.
            await self._parts.programmer.commit()
            for name in names:
                await self._parts.bridge.delete_port(name)
                await self._parts.netlink.run(lambda ipr, name=name: veth.delete(ipr, name))  # type: ignore[misc]
                self.stale.pop(name, None)
        except Exception as error:
            raise CNIError(
                CONFIG_INTERFACE_FAILURE, f"The container {container_id} cannot be detached: {error}"
            ) from error

    async def release(self, container_id: str, ifname: str) -> None:
        try:
            await asyncio.to_thread(self._parts.ipam.release, container_id, ifname)
        except OSError as error:
            raise CNIError(
                IPAM_FAILURE, f"The address of container {container_id} cannot be released: {error}"
            ) from error

    async def _names(self, request: Request) -> list[str]:
        """Every host interface that belongs to the container's interface, by whatever trace it has left."""
        end = suffix(request.container_id, request.ifname)
        names = dict.fromkeys(
            interface.name
            for interface in self._parts.interfaces.by_container(request.container_id)
            if interface.name.endswith(f"-{end}")
        )
        for port in self._parts.bridge.ports():
            if port.external_ids.get("container-id") == request.container_id and port.name.endswith(
                f"-{end}"
            ):
                names[port.name] = None
        try:
            names.update(
                dict.fromkeys(await self._parts.netlink.run(lambda ipr: veth.find_by_suffix(ipr, end)))
            )
        except (OSError, TimeoutError) as error:
            raise CNIError(
                CONFIG_INTERFACE_FAILURE, f"The network devices cannot be listed: {error}"
            ) from error
        return list(names)
