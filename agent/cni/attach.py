"""Attaching pods to br-int and detaching them: the steps of CNI ADD, DEL and CHECK, in the safe order.

ADD:  address → veth → OVS port → interface store → the pod's policies realized → the pod's own flows
DEL:  interface store → the pod's own flows → OVS port → veth → address

No packet of a pod passes without its own flows (Classifier, SpoofGuard, L2Forwarding), so policy comes before
traffic. An ofport and an address are free for others only when no flow names them any more.

Each step can be repeated, and what a step finds done it leaves: a request that was cut off at any point, or
an agent that was killed there, is finished or undone by the next request for the same container.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from agent.cni import veth
from agent.cni.announce import announce
from agent.cni.errors import (
    CHECK_INTERFACE_FAILURE,
    CONFIG_INTERFACE_FAILURE,
    IPAM_FAILURE,
    TRY_AGAIN_LATER,
    CNIError,
)
from agent.cni.ipam import HostLocalIPAM, NoFreeAddress
from agent.cni.naming import host_interface_name, suffix
from agent.cni.pods import LocalPod
from agent.cni.readiness import PolicyWait
from agent.cni.requests import Request
from agent.cni.results import Address, Attachment, IPAddress
from agent.interfaces import InterfaceStore
from agent.model import NodeConfig, PodInterface
from agent.nodes.netlink import Netlink, NetworkNamespaceGone
from agent.ovs.bridge import OVSBridge, random_mac
from agent.policies.readiness import Readiness
from runtime import log

logger = log.get(__name__)


class PodFlows(Protocol):
    """``agent.pipeline.PodConnectivity`` is one. Changes of desired state, sent by the next commit."""

    def install_pod(self, interface: PodInterface) -> None: ...

    def uninstall_pod(self, name: str) -> None: ...


class Committer(Protocol):
    """``agent.pipeline.FlowProgrammer`` is one."""

    async def commit(self) -> Any:
        """Everything wanted is in OVS when this returns. Raises where it is not."""


class PodAttacher:
    """Knows how; ``CNIServer`` knows when, and serialises what concerns one container."""

    def __init__(
        self,
        *,
        node: NodeConfig,
        bridge: OVSBridge,
        interfaces: InterfaceStore,
        ipam: HostLocalIPAM,
        netlink: Netlink,
        connectivity: PodFlows,
        programmer: Committer,
        readiness: PolicyWait,
        policy_wait_timeout: float = 5.0,
        disable_tx_checksum_offload: bool = False,
    ) -> None:
        self._node = node
        self._bridge = bridge
        self._interfaces = interfaces
        self._ipam = ipam
        self._netlink = netlink
        self._connectivity = connectivity
        self._programmer = programmer
        self._readiness = readiness
        self._policy_wait_timeout = policy_wait_timeout
        # The userspace datapath does not fill in checksums that the pod's kernel leaves to "hardware".
        self._checksum_offload = not (node.userspace_datapath or disable_tx_checksum_offload)
        self._announcements: set[asyncio.Task[None]] = set()
        self.stale: dict[str, PodInterface] = {}  # by port name: found at start, with no pod behind them

    def mtu(self, request: Request) -> int:
        return request.config.mtu or self._node.mtu

    # ADD

    async def attach(self, request: Request) -> Attachment:
        """Raises CNIError; then everything is as it was before, or, where that failed too, DEL repairs it."""
        existing = self._existing(request)
        if existing is not None:
            attachment = await self._intact(request, existing)
            if attachment is not None:
                await self._await_policies(request)
                return attachment
            logger.info(
                "The interface %s of %s/%s is incomplete and is made anew", existing.name, *existing.key
            )
            await self.detach(request)
        try:
            addresses = await asyncio.to_thread(self._ipam.allocate, request.container_id, request.ifname)
        except (NoFreeAddress, OSError) as error:
            raise CNIError(
                IPAM_FAILURE, f"No address for {request.namespace}/{request.pod}: {error}"
            ) from error
        try:
            return await self._connect(request, self._with_prefix(addresses))
        except BaseException as error:
            await self._undo(request)
            if isinstance(error, CNIError) or not isinstance(error, Exception):
                raise
            raise CNIError(
                CONFIG_INTERFACE_FAILURE, f"{request.namespace}/{request.pod} cannot be attached: {error}"
            ) from error

    async def _connect(self, request: Request, addresses: tuple[Address, ...]) -> Attachment:
        name = host_interface_name(request.pod, request.container_id, request.ifname)
        mac = random_mac()
        mtu = self.mtu(request)
        gateways = self._gateways(addresses)
        if self._bridge.port(name) is not None:  # of an interrupted attempt: its number is not to be trusted
            await self._bridge.delete_port(name)
        host_mac = await self._netlink.run(
            lambda ipr: veth.create_pair(ipr, name, request.ifname, request.netns, mac, mtu)
        )
        await self._netlink.run(
            lambda ipr: veth.configure(
                ipr, request.ifname, addresses, gateways, checksum_offload=self._checksum_offload
            ),
            request.netns,
        )
        interface = PodInterface(
            name=name,
            namespace=request.namespace,
            pod=request.pod,
            container_id=request.container_id,
            mac=mac,
            ips=tuple(address.ip for address in addresses),
            ofport=0,
            pod_uid=request.pod_uid,
        )
        ofport = await self._bridge.add_pod_port(interface, request.netns, request.ifname)
        interface = replace(interface, ofport=ofport)
        self._interfaces.add(interface)
        await self._await_policies(request)
        self._connectivity.install_pod(interface)
        await self._commit(name)
        self._announce(request, mac, addresses)
        return Attachment(name, host_mac, mac, addresses, gateways)

    async def _await_policies(self, request: Request) -> None:
        readiness = await self._readiness.wait(request.pod_uid, self._policy_wait_timeout)
        if readiness is Readiness.TIMED_OUT:
            raise CNIError(
                TRY_AGAIN_LATER,
                f"The policies for {request.namespace}/{request.pod} were not realized within "
                f"{self._policy_wait_timeout:g} s, please retry later",
            )

    def _existing(self, request: Request) -> PodInterface | None:
        end = "-" + suffix(request.container_id, request.ifname)
        attached = self._interfaces.by_container(request.container_id)
        return next((interface for interface in attached if interface.name.endswith(end)), None)

    async def _intact(self, request: Request, interface: PodInterface) -> Attachment | None:
        """The attachment that an earlier ADD made, if all of it is still there."""
        addresses = self._with_prefix(interface.ips)
        gateways = self._gateways(addresses)
        port = self._bridge.port(interface.name)
        if port is None or port.ofport != interface.ofport:
            return None
        try:
            await self._netlink.run(
                lambda ipr: veth.check(ipr, request.ifname, interface.mac, addresses, gateways), request.netns
            )
            host_mac = await self._netlink.run(lambda ipr: veth.mac_address(ipr, interface.name))
        except (veth.WrongInterface, NetworkNamespaceGone, OSError):
            return None
        if host_mac is None:
            return None
        self._connectivity.install_pod(interface)
        await self._commit(interface.name)
        return Attachment(interface.name, host_mac, interface.mac, addresses, gateways)

    async def _commit(self, name: str) -> None:
        """Send what is wanted; an ADD fails when OVS refuses a flow of its own pod."""
        result = await self._programmer.commit()
        for failure in getattr(result, "failures", ()):
            if any(name in owner for owner in failure.owners):
                raise CNIError(CONFIG_INTERFACE_FAILURE, str(failure))

    async def _undo(self, request: Request) -> None:
        """After a failed ADD. What cannot be undone now is left to the DEL that the runtime sends."""
        try:
            await self.detach(request)
        except Exception as error:
            logger.warning("Undoing a failed ADD of %s/%s: %s", request.namespace, request.pod, error)

    def _announce(self, request: Request, mac: str, addresses: tuple[Address, ...]) -> None:
        async def quietly() -> None:
            with suppress(OSError, NetworkNamespaceGone, TimeoutError):
                await announce(self._netlink, request.netns, request.ifname, mac, addresses)

        task = asyncio.create_task(quietly(), name=f"announce {request.namespace}/{request.pod}")
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    # DEL

    async def detach(self, request: Request) -> None:
        """Raises CNIError where something is left; the runtime asks again. Nothing to detach is fine."""
        names = await self._names(request)
        await self._remove(request.container_id, names)
        await self._release(request.container_id, request.ifname)

    async def _remove(self, container_id: str, names: list[str]) -> None:
        for name in names:
            self._interfaces.remove(name)
            self._connectivity.uninstall_pod(name)
        try:
            # Also without a name: an earlier attempt may have got this far and no further.
            await self._programmer.commit()
            for name in names:
                await self._bridge.delete_port(name)
                await self._netlink.run(lambda ipr, name=name: veth.delete(ipr, name))  # type: ignore[misc]
                self.stale.pop(name, None)
        except Exception as error:
            raise CNIError(
                CONFIG_INTERFACE_FAILURE, f"The container {container_id} cannot be detached: {error}"
            ) from error

    async def _release(self, container_id: str, ifname: str) -> None:
        try:
            await asyncio.to_thread(self._ipam.release, container_id, ifname)
        except OSError as error:
            raise CNIError(
                IPAM_FAILURE, f"The address of container {container_id} cannot be released: {error}"
            ) from error

    async def _names(self, request: Request) -> list[str]:
        """Every host interface that belongs to the container's interface, by whatever trace it has left."""
        end = suffix(request.container_id, request.ifname)
        names = dict.fromkeys(
            interface.name
            for interface in self._interfaces.by_container(request.container_id)
            if interface.name.endswith(f"-{end}")
        )
        for port in self._bridge.ports():
            if port.external_ids.get("container-id") == request.container_id and port.name.endswith(
                f"-{end}"
            ):
                names[port.name] = None
        try:
            names.update(dict.fromkeys(await self._netlink.run(lambda ipr: veth.find_by_suffix(ipr, end))))
        except (OSError, TimeoutError) as error:
            raise CNIError(
                CONFIG_INTERFACE_FAILURE, f"The network devices cannot be listed: {error}"
            ) from error
        return list(names)

    # CHECK

    async def check(self, request: Request, previous: Collection[Address], mac: str) -> None:
        """Raises CNIError (103) naming the first thing that is not as ADD left it."""
        interface = self._existing(request)
        if interface is None:
            raise CNIError(
                CHECK_INTERFACE_FAILURE,
                f"The container {request.container_id} has no interface {request.ifname} here",
            )
        addresses = self._with_prefix(interface.ips)
        if set(addresses) != set(previous):
            raise CNIError(
                CHECK_INTERFACE_FAILURE,
                f"prevResult has the addresses {_join(previous)}, the agent gave {_join(addresses)}",
            )
        if mac and mac.lower() != interface.mac:
            raise CNIError(
                CHECK_INTERFACE_FAILURE,
                f"prevResult has the MAC address {mac}, the agent gave {interface.mac}",
            )
        port = self._bridge.port(interface.name)
        if port is None or port.ofport != interface.ofport:
            raise CNIError(
                CHECK_INTERFACE_FAILURE, f"The OVS port {interface.name} is missing or was renumbered"
            )
        gateways = self._gateways(addresses)
        try:
            await self._netlink.run(
                lambda ipr: veth.check(ipr, request.ifname, interface.mac, addresses, gateways), request.netns
            )
            host_mac = await self._netlink.run(lambda ipr: veth.mac_address(ipr, interface.name))
        except (veth.WrongInterface, NetworkNamespaceGone, OSError, TimeoutError) as error:
            raise CNIError(CHECK_INTERFACE_FAILURE, f"Not as ADD left it: {error}") from error
        if host_mac is None:
            raise CNIError(CHECK_INTERFACE_FAILURE, f"The network device {interface.name} is missing")
        reserved = await asyncio.to_thread(self._ipam.addresses, request.container_id, request.ifname)
        if set(reserved) != set(interface.ips):
            raise CNIError(
                IPAM_FAILURE, f"The addresses of container {request.container_id} are not reserved"
            )

    # Restart and garbage collection.

    async def restore(self, pods: Collection[LocalPod] | None) -> None:
        """Take over what an earlier agent attached. Sends nothing to OVS; ``stale`` is left for ``discard``.

        A pod's interface stays if the API says that the pod runs here and its host veth exists. With ``pods``
        None the API could not say: all that have a veth stay, and no address is collected. Stale interfaces
        keep their ports and addresses until all their flows are gone: no other pod may get either before.
        """
        known = None if pods is None else {(pod.namespace, pod.name): pod for pod in pods}
        devices = await self._netlink.run(
            lambda ipr: {link.get("ifname") for link in ipr.get_links(kind="veth")}
        )
        for interface in self._bridge.pod_interfaces():
            pod = known.get(interface.key) if known is not None else None
            gone = known is not None and (
                pod is None or bool(interface.pod_uid and pod.uid and pod.uid != interface.pod_uid)
            )
            if gone or interface.name not in devices:
                self.stale[interface.name] = interface
            else:
                self._interfaces.add(interface)
            if interface.ofport > 0:  # a stale one's flows are claimed so that exactly they are removed later
                self._connectivity.install_pod(interface)
        if known is None:
            return
        keep = {ip for interface in [*self._interfaces, *self.stale.values()] for ip in interface.ips}
        keep.update(ip for pod in known.values() for ip in pod.ips)
        try:
            leaked = await asyncio.to_thread(self._ipam.collect, keep)
        except OSError as error:
            logger.error("Addresses that no pod has cannot be freed: %s", error)
            return
        if leaked:
            logger.info("Freed %d addresses that no pod of this node has: %s", len(leaked), _join(leaked))

    async def discard(self, interface: PodInterface) -> None:
        """Detach a stale interface, if it still is one. Raises CNIError."""
        if self.stale.get(interface.name) is not interface:
            return
        logger.info("Detaching %s of %s/%s, which does not run here any more", interface.name, *interface.key)
        await self._remove(interface.container_id, [interface.name])
        for container_id, ifname in await self.owners():
            if container_id == interface.container_id:
                await self._release(container_id, ifname)

    async def owners(self) -> list[tuple[str, str]]:
        """Container and interface name of all that have an address here."""
        reservations = await asyncio.to_thread(lambda: self._ipam.reservations)
        return sorted({(owner.container_id, owner.ifname) for owner in reservations.values()})

    async def close(self) -> None:
        for task in list(self._announcements):
            task.cancel()
        await asyncio.gather(*self._announcements, return_exceptions=True)

    # Addresses.

    def _with_prefix(self, ips: Collection[IPAddress]) -> tuple[Address, ...]:
        """Pods have the prefix length of the node's pod CIDR, as upstream's do."""
        addresses = []
        for ip in ips:
            cidr = next((cidr for cidr in self._node.pod_cidrs if ip in cidr), None)
            length = cidr.prefixlen if cidr else ip.max_prefixlen
            addresses.append(ipaddress.ip_interface(f"{ip}/{length}"))
        return tuple(addresses)

    def _gateways(self, addresses: Collection[Address]) -> tuple[IPAddress, ...]:
        by_family = {ip.version: ip for ip in self._node.gateway_ips}
        return tuple(by_family[address.version] for address in addresses)


def _join(values: Collection[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"
