"""The policy side of the agent: joins the stream, the cache, the disk, the datapath and the reports.

    restore()   what is on the disk becomes rules; nothing is committed, the start commits everything as one
    run         tasks under a supervisor: follow the controller, reconcile, keep the disk, report
    readiness   what CNI ADD waits for

Fail static: whatever happens to the controller or to the disk, the rules in the datapath stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agent.interfaces import InterfaceChange, InterfaceStore
from agent.model import Direction
from agent.policies.cache import RuleCache, UnknownGroup
from agent.policies.disk import PolicyDisk
from agent.policies.groups import Object
from agent.policies.objects import Kind
from agent.policies.readiness import PolicyReadiness
from agent.policies.reconcile import PolicyFlows, Reconciler
from agent.policies.report import Reporter
from agent.policies.resolve import Families
from agent.policies.stream import Deleted, Item, Marker, Patched, Put, Snapshot
from agent.policies.watch import Watcher
from client.rest import RestClient
from runtime import log
from runtime.backoff import Backoff
from runtime.tasks import Supervisor

logger = log.get(__name__)

FLUSH_DELAY = 1.0  # seconds that changes may stay in the journal only
FIRST_SYNC_TIMEOUT = 5.0  # seconds to wait for a controller when nothing is on the disk
SLICE = 0.005  # seconds of work between two looks at what else the event loop has to do

_ORDER = (Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY)


class PolicyController:
    """One for the process.

    ``connect`` gives a client to the controller (asked before each watch is opened), ``reuse`` the one in use
    (for reports; default: ``connect``); ``avoid`` is told when that one is of no use. ``flows`` takes rules,
    ``commit`` puts what was set into OVS, and ``refused`` tells what the switch refuses of a rule;
    ``families`` are those that the node runs (4, 6).
    """

    def __init__(
        self,
        *,
        node: str,
        directory: Path,
        connect: Callable[[], Awaitable[RestClient]],
        reuse: Callable[[], Awaitable[RestClient]] | None = None,
        avoid: Callable[[], None] = lambda: None,
        flows: PolicyFlows,
        commit: Callable[[], Awaitable[object]],
        interfaces: InterfaceStore,
        families: Families,
        refused: Callable[[str], Sequence[object]] = lambda _: (),
    ) -> None:
        self.cache = RuleCache()
        self.disk = PolicyDisk(directory)
        self.watcher = Watcher(node, connect, self.apply, on_change=self._on_connection, avoid=avoid)
        self.readiness = PolicyReadiness(
            lambda: self.watcher.connected, lambda: self.watcher.multiplexed is True
        )
        self.reconciler = Reconciler(self.cache, flows, commit, interfaces.for_pod, families, refused)
        self.reporter = Reporter(node, reuse or connect, self._wants_report)
        self.synced = asyncio.Event()  # set once a controller's full state has been received
        self._synced_kinds: set[Kind] = set()
        self._interfaces = interfaces
        self._wake = asyncio.Event()
        self._flush = asyncio.Event()
        self.rounds = 0
        interfaces.subscribe(self._on_interface)

    # --- the start ---

    async def restore(self) -> int:
        """Make rules of what is on the disk, without a commit; how many policies there are."""
        events = await asyncio.to_thread(lambda: list(self.disk.load()))
        pause = time.monotonic() + SLICE
        for event in events:
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + SLICE
            try:
                self._change(event)
            except UnknownGroup as error:
                logger.log(log.V(2), "A record of the journal is left out: %s", error)
        self.disk.settle(lambda kind, name: self.cache.objects(kind).get(name))
        if self.disk.has_unflushed:
            self._flush.set()
        await self.reconciler.stage()
        if events:
            logger.info(
                "Restored %d policies and %s from the disk", len(self.cache.policies), self._group_counts()
            )
        return len(self.cache.policies)

    async def wait_for_state(self, timeout: float = FIRST_SYNC_TIMEOUT) -> bool:
        """Wait for a first full state when the disk has none: an empty datapath would let everything through.

        Returns whether there is a state. Call it between ``start`` and the first commit.
        """
        if self.disk.has_state:
            return True
        try:
            await asyncio.wait_for(self.synced.wait(), timeout)
        except TimeoutError:
            logger.warning("No controller has answered and nothing is on the disk: going on without policies")
            return False
        await self.reconciler.stage()
        return True

    def start(self, supervisor: Supervisor) -> None:
        supervisor.start("policies-watch", self.watcher.run)
        supervisor.start("policies-disk", self._keep_disk)
        supervisor.start("policies-report", self.reporter.run)
        supervisor.on_close("the policies on the disk", self._close)

    def start_reconciling(self, supervisor: Supervisor) -> None:
        """From now on every change is committed. Call it after the pipeline's first synchronization."""
        self.cache.mark((), self.cache.policies)  # what was staged counts as realized from the first round on
        self._wake.set()
        supervisor.start("policies-reconcile", self._reconcile)

    # --- what comes in ---

    async def apply(self, items: list[Item]) -> None:
        """Take in what one read from the controller completed. Raises UnknownGroup."""
        events: list[tuple[Item, Object | None]] = []
        try:
            for item in items:
                if isinstance(item, Snapshot):
                    await self._replace(item, events)
                elif isinstance(item, Marker):
                    self.readiness.note_received()
                    self.readiness.note_marker(item.uid)
                    self._wake.set()
                else:
                    self._take(item, events)
        finally:
            # Ahead of OVS: what the datapath will know is on the disk before. Nothing has been awaited since
            # the cache took the events, but for the slices of a snapshot (see _replace).
            self._write_ahead(events)
            if events:
                self.readiness.note_received()
                self._wake.set()

    def _take(self, item: Put | Patched | Deleted, events: list[tuple[Item, Object | None]]) -> None:
        if self._change(item):
            name = _name_of(item)
            events.append((item, self.cache.objects(item.kind).get(name)))
            if isinstance(item, Deleted) and item.kind is Kind.NETWORK_POLICY:
                self.reporter.forget((name,))

    def _change(self, item: Put | Patched | Deleted) -> bool:
        if isinstance(item, Put):
            return self.cache.put(item.kind, item.value)
        if isinstance(item, Patched):
            return self.cache.patch(item.kind, item.patch)
        return self.cache.remove(item.kind, item.name)

    async def _replace(self, snapshot: Snapshot, events: list[tuple[Item, Object | None]]) -> None:
        """Make the cache equal to the snapshot, by differences, in an order that is safe at every point."""
        pause = time.monotonic() + SLICE
        wanted = {kind: {name for held, name in snapshot.puts if held is kind} for kind in snapshot.kinds}
        todo: list[Put | Deleted] = [
            put for kind in _ORDER for (held, _), put in snapshot.puts.items() if held is kind
        ]
        todo += [
            Deleted(kind, name, b"")
            for kind in reversed(_ORDER)
            if kind in snapshot.kinds
            for name in self.cache.objects(kind).keys() - wanted[kind]
        ]
        for event in todo:
            if time.monotonic() > pause:
                self._write_ahead(events)
                await asyncio.sleep(0)
                pause = time.monotonic() + SLICE
            self._take(event, events)
        self._write_ahead(events)
        self._synced_kinds |= snapshot.kinds
        if self._synced_kinds == set(Kind):
            if not self.synced.is_set():
                logger.info(
                    "The controller's state is complete: %d policies, %s",
                    len(self.cache.policies),
                    self._group_counts(),
                )
            self.disk.mark_synced()
            self.synced.set()
            self.readiness.note_synced()
        # Perhaps another controller, which knows nothing of what this node has realized.
        self.reporter.reset()
        self.cache.mark((), self.cache.policies)
        self.readiness.note_received()
        self._wake.set()

    def _write_ahead(self, events: list[tuple[Item, Object | None]]) -> None:
        if events:
            self.disk.record(events)
            self._flush.set()
            events.clear()
            self.readiness.note_received()
            self._wake.set()

    def _on_interface(self, change: InterfaceChange) -> None:
        for interface in (change.old, change.new):
            if interface is not None:
                self.cache.mark_pod(interface.namespace, interface.pod)
        self.readiness.note_received()
        self._wake.set()

    def _on_connection(self, connected: bool) -> None:
        self.readiness.note_connection(connected)

    def _wants_report(self, policy: str) -> bool:
        """Upstream's controller takes any report for one on an Antrea policy, even of another kind."""
        if self.watcher.multiplexed:
            return True
        known = self.cache.policies.get(policy)
        return known is not None and known.reference.type in (
            "AntreaClusterNetworkPolicy",
            "AntreaNetworkPolicy",
        )

    # --- tasks ---

    async def _reconcile(self) -> None:
        backoff = Backoff(initial=0.1, maximum=5.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            received = self.readiness.received
            if self.cache.has_dirty:
                try:
                    outcome = await self.reconciler.run_once()
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    delay = backoff.next()
                    logger.error("Rules cannot be realized, again in %.1f s: %s", delay, error)
                    self._wake.set()
                    await asyncio.sleep(delay)
                    continue
                backoff.reset()
                self.rounds += 1
                self.reporter.put(outcome.realized)
                self.reconciler.forget_unused_groups()
                logger.log(log.V(2), "A round set %d rules and deleted %d", outcome.set, outcome.deleted)
            self.readiness.note_realized(received)

    async def _keep_disk(self) -> None:
        backoff = Backoff(initial=1.0, maximum=30.0)
        failed = False
        while True:
            await self._flush.wait()
            await asyncio.sleep(FLUSH_DELAY)
            self._flush.clear()
            try:
                await self.disk.flush()
                backoff.reset()
                if failed:
                    logger.info("The stored policies are up to date again")
                failed = False
            except OSError as error:
                failed, delay = True, backoff.next()
                logger.error(
                    "The stored policies cannot be brought up to date, again in %.0f s: %s", delay, error
                )
                self._flush.set()
                await asyncio.sleep(delay)

    async def _close(self) -> None:
        if self.disk.has_unflushed:
            await self.disk.flush()
        self.disk.close()

    # --- figures ---

    @property
    def connected(self) -> bool:
        return self.watcher.connected

    def rule_count(self, direction: Direction) -> int:
        return sum(1 for rule in self.cache.rules() if rule.direction is direction)

    def _group_counts(self) -> str:
        return (
            f"{len(self.cache.address_groups)} address groups and "
            f"{len(self.cache.applied_to_groups)} applied-to groups"
        )


def _name_of(item: Put | Patched | Deleted) -> str:
    if isinstance(item, Put):
        return item.value.name
    return item.patch.name if isinstance(item, Patched) else item.name
