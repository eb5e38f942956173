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
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from agent.cni import veth
from agent.cni.announce import announce
from agent.cni.check import check
from agent.cni.detach import Detacher
from agent.cni.errors import CONFIG_INTERFACE_FAILURE, IPAM_FAILURE, TRY_AGAIN_LATER, CNIError
from agent.cni.inheritance import Inheritance
from agent.cni.ipam import HostLocalIPAM, NoFreeAddress
from agent.cni.naming import host_interface_name
from agent.cni.parts import Committer, Parts, PodFlows
from agent.cni.pods import LocalPod
from agent.cni.readiness import PolicyWait
from agent.cni.requests import Request
from agent.cni.results import Address, Attachment
from agent.interfaces import InterfaceStore
from agent.model import NodeConfig, PodInterface
from agent.nodes.netlink import Netlink, NetworkNamespaceGone
from agent.ovs.bridge import OVSBridge, random_mac
from agent.policies.readiness import Readiness
from runtime import log

logger = log.get(__name__)


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
        self._parts = Parts(node, bridge, interfaces, ipam, netlink, connectivity, programmer)
        self._detacher = Detacher(self._parts)
        self._inheritance = Inheritance(self._parts, self._detacher)
        self._readiness = readiness
        self._policy_wait_timeout = policy_wait_timeout
        # The userspace datapath does not fill in checksums that the pod's kernel leaves to "hardware".
        self._checksum_offload = not (node.userspace_datapath or disable_tx_checksum_offload)
        self._announcements: set[asyncio.Task[None]] = set()

    def mtu(self, request: Request) -> int:
        return request.config.mtu or self._parts.node.mtu

    async def attach(self, request: Request) -> Attachment:
        """Raises CNIError; then everything is as it was before, or, where that failed too, DEL repairs it."""
        existing = self._parts.existing(request)
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
            addresses = await asyncio.to_thread(
                self._parts.ipam.allocate, request.container_id, request.ifname
            )
        except (NoFreeAddress, OSError) as error:
            raise CNIError(
                IPAM_FAILURE, f"No address for {request.namespace}/{request.pod}: {error}"
            ) from error
        try:
            return await self._connect(request, self._parts.with_prefix(addresses))
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
        gateways = self._parts.gateways(addresses)
        if (
            self._parts.bridge.port(name) is not None
        ):  # of an interrupted attempt: its number is not to be trusted
            await self._parts.bridge.delete_port(name)
        host_mac = await self._parts.netlink.run(
            lambda ipr: veth.create_pair(ipr, name, request.ifname, request.netns, mac, mtu)
        )
        await self._parts.netlink.run(
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
        ofport = await self._parts.bridge.add_pod_port(interface, request.netns, request.ifname)
        interface = replace(interface, ofport=ofport)
        self._parts.interfaces.add(interface)
        await self._await_policies(request)
        self._parts.connectivity.install_pod(interface)
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

    async def _intact(self, request: Request, interface: PodInterface) -> Attachment | None:
        """The attachment that an earlier ADD made, if all of it is still there."""
        addresses = self._parts.with_prefix(interface.ips)
        gateways = self._parts.gateways(addresses)
        port = self._parts.bridge.port(interface.name)
        if port is None or port.ofport != interface.ofport:
            return None
        try:
            await self._parts.netlink.run(
                lambda ipr: veth.check(ipr, request.ifname, interface.mac, addresses, gateways), request.netns
            )
            host_mac = await self._parts.netlink.run(lambda ipr: veth.mac_address(ipr, interface.name))
        except (veth.WrongInterface, NetworkNamespaceGone, OSError):
            return None
        if host_mac is None:
            return None
        self._parts.connectivity.install_pod(interface)
        await self._commit(interface.name)
        return Attachment(interface.name, host_mac, interface.mac, addresses, gateways)

    async def _commit(self, name: str) -> None:
        """Send what is wanted; an ADD fails when OVS refuses a flow of its own pod."""
        result = await self._parts.programmer.commit()
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
                await announce(self._parts.netlink, request.netns, request.ifname, mac, addresses)

        task = asyncio.create_task(quietly(), name=f"announce {request.namespace}/{request.pod}")
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    # The other commands have files of their own.

    @property
    def stale(self) -> dict[str, PodInterface]:
        """By port name: found at start, with no pod behind them."""
        return self._detacher.stale

    async def detach(self, request: Request) -> None:
        """See ``Detacher.detach``."""
        await self._detacher.detach(request)

    async def check(self, request: Request, previous: Collection[Address], mac: str) -> None:
        """See ``agent.cni.check``."""
        await check(self._parts, request, previous, mac)

    async def restore(self, pods: Collection[LocalPod] | None) -> None:
        """See ``Inheritance.restore``."""
        await self._inheritance.restore(pods)

    async def discard(self, interface: PodInterface) -> None:
        """See ``Inheritance.discard``."""
        await self._inheritance.discard(interface)

    async def owners(self) -> list[tuple[str, str]]:
        """See ``Inheritance.owners``."""
        return await self._inheritance.owners()

    async def close(self) -> None:
        for task in list(self._announcements):
            task.cancel()
        await asyncio.gather(*self._announcements, return_exceptions=True)
