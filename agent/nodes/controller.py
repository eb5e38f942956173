"""Follows the cluster's nodes: for each peer the flows to its pods, the routes, and the tunnel's neighbour.

The Node objects are desired state; a single worker brings OVS and the kernel to it. Flows come before
routes, so that the kernel never sends into a bridge that does not know the peer yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from pyroute2 import IPRoute

from agent.model import NodeConfig, RemoteNode
from agent.nodes.gateway import configure_gateway, gateway_addresses
from agent.nodes.hostrules import HostRules
from agent.nodes.netlink import Netlink
from agent.nodes.objects import NodeFacts, decode_node
from agent.nodes.routes import reconcile_routes
from client.watch import WatchFrame
from runtime import log
from runtime.backoff import Backoff

logger = log.get(__name__)

RESYNC = 60.0  # seconds between looks at the kernel without any event: somebody may have removed a route


class NodeFlows(Protocol):
    """``agent.pipeline.PodConnectivity`` is one."""

    def install_node(self, node: RemoteNode) -> None: ...

    def uninstall_node(self, name: str) -> None: ...


class Committer(Protocol):
    """``agent.pipeline.FlowProgrammer`` is one."""

    async def commit(self) -> Any: ...


class TunnelNeighbors(Protocol):
    """``agent.nodes.neighbors.NeighborKeeper`` is one; the kernel datapath needs none."""

    async def reconcile(self, peers: Sequence[RemoteNode]) -> bool:
        """Whether all peers were found."""


class NodeController:
    """Give it to a ``client.reflector.Reflector`` of ``/api/v1/nodes`` as its handler, and ``run`` it."""

    def __init__(
        self,
        config: NodeConfig,
        connectivity: NodeFlows,
        programmer: Committer,
        netlink: Netlink,
        neighbors: TunnelNeighbors | None = None,
    ) -> None:
        self.config = config
        self._connectivity = connectivity
        self._programmer = programmer
        self._netlink = netlink
        self._neighbors = neighbors
        self._rules = HostRules(config)
        self._facts: dict[str, NodeFacts] = {}
        self._installed: dict[str, RemoteNode] = {}
        self._listing: set[str] | None = None
        self._listed = False
        self._wake = asyncio.Event()
        self.synced = asyncio.Event()  # the flows for the nodes of the first list are wanted

    # What the reflector tells.

    async def list_started(self) -> None:
        self._listing = set()

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        for raw in items:
            name = self._upsert(raw)
            if self._listing is not None and name:
                self._listing.add(name)

    async def list_finished(self) -> None:
        if self._listing is not None:
            for name in set(self._facts) - self._listing:
                del self._facts[name]
        self._listing = None
        self._listed = True
        self._wake.set()

    async def events(self, events: Sequence[WatchFrame]) -> None:
        for event in events:
            if event.type == "DELETED":
                self._delete(event.object)
            else:
                self._upsert(event.object)
        self._wake.set()

    def _upsert(self, raw: bytes | msgspec.Raw) -> str | None:
        """The node's name; None where the object cannot be used: it is named, and everything else goes on."""
        try:
            facts = decode_node(raw)
        except ValueError as error:
            logger.warning("%s It is ignored.", error)
            return None
        self._facts[facts.name] = facts
        return facts.name

    def _delete(self, raw: bytes | msgspec.Raw) -> None:
        try:
            self._facts.pop(decode_node(raw).name, None)
        except ValueError as error:
            logger.warning("%s It is ignored.", error)

    # Reconciliation.

    @property
    def peers(self) -> dict[str, RemoteNode]:
        """The wanted peers by name. Of two nodes with overlapping pod CIDRs the one installed first stays."""
        peers: dict[str, RemoteNode] = {}
        taken = list(self.config.pod_cidrs)
        for name in sorted(self._facts, key=lambda name: (name not in self._installed, name)):
            peer = self._facts[name].remote() if name != self.config.name else None
            if peer is None:
                continue
            overlap = next(
                (
                    cidr
                    for cidr in peer.pod_cidrs
                    if any(cidr.version == other.version and cidr.overlaps(other) for other in taken)
                ),
                None,
            )
            if overlap is not None:
                logger.error(
                    "The podCIDR %s of Node %s is in use by another node: no route to it", overlap, name
                )
                continue
            taken += peer.pod_cidrs
            peers[name] = peer
        return peers

    def datapath_restarted(self) -> None:
        """vswitchd is back after a restart: what it does not keep has to be set again."""
        self._wake.set()

    async def run(self) -> None:
        """Never returns; cancel it."""
        backoff = Backoff(initial=0.2, maximum=30.0)
        delay = RESYNC
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self._listed:
                continue
            try:
                complete = await self.reconcile()
            except Exception as error:  # OVS or the kernel refuse for the moment: try again
                delay = backoff.next()
                logger.warning("Nodes could not be reconciled, next try in %.1f s: %s", delay, error)
            else:
                if complete:
                    backoff.reset()
                delay = RESYNC if complete else backoff.next()
            # Also after errors: a peer that cannot be reached must not keep this node's pods from starting.
            self.synced.set()

    async def reconcile(self) -> bool:
        """One pass: flows, routes, tunnel neighbours. False where a peer was not found, and another pass is
        due soon. Raises what the parts raise."""
        peers = self.peers
        changed = False
        for name in [name for name in self._installed if name not in peers]:
            self._connectivity.uninstall_node(name)
            del self._installed[name]
            changed = True
        for name, peer in peers.items():
            if self._installed.get(name) != peer:
                self._connectivity.install_node(peer)
                self._installed[name] = peer
                changed = True
        if changed:
            await self._programmer.commit()
        wanted = list(peers.values())
        await self._netlink.run(lambda ipr: self._reconcile_kernel(ipr, wanted))
        await self._rules.reconcile(wanted)
        return self._neighbors is None or await self._neighbors.reconcile(wanted)

    def _reconcile_kernel(self, ipr: IPRoute, peers: list[RemoteNode]) -> None:
        """In the netlink thread. The gateway comes first: routes need it up and addressed, and a vswitchd
        that was told to clean up has taken it away and makes it anew without addresses."""
        config = self.config
        configure_gateway(ipr, config.gateway_name, gateway_addresses(config.pod_cidrs), config.mtu)
        changes = reconcile_routes(ipr, config.gateway_name, peers)
        if changes:
            logger.info("Routes to peers: %d added, %d removed", changes.added, changes.removed)
