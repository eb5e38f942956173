"""The flow programmer: brings what is wanted into the switch, and only the difference to what is there.

    programmer = FlowProgrammer(socket, node, run_dir)
    await programmer.start()                 # connects, and from then on reconnects by itself
    programmer.want("pod/default/web-0", flows)
    await programmer.synchronize()           # once, when what is known at start has been wanted
    ...
    programmer.want(...); await programmer.commit()

Before the first ``synchronize`` commits change nothing in the switch: an agent that starts knows only a
part of what should be there. After vswitchd was restarted the programmer puts everything back by itself, in
the order of agent.pipeline.restoration; commits that come meanwhile wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.model import NodeConfig
from agent.openflow.codec import descriptions
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.messages import Group, Meter, Multipart
from agent.openflow.connection import Connection, ConnectionLost, OpenFlowError, SwitchError
from agent.pipeline.building import Builder
from agent.pipeline.cache import DatapathCache
from agent.pipeline.cookies import ROUND_FILE, ROUND_SHIFT, Category, load_round
from agent.pipeline.desired import Desired
from agent.pipeline.entry import entry_flows
from agent.pipeline.installer import Installer
from agent.pipeline.restoration import Restoration
from agent.pipeline.results import CommitResult, FlowFailure, ProgrammerError
from agent.pipeline.tables import DECLARED, Layout

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.002, 1.0  # seconds between attempts to reach vswitchd
READY_TIMEOUT = 15.0  # a commit waits so long for a switch that is away
ENTRY = "pipeline"


class FlowProgrammer:
    """One bridge's flows, groups and meters. All methods belong to one event loop."""

    def __init__(
        self,
        socket: str | Path,
        node: NodeConfig,
        run_dir: Path,
        *,
        unixctl: str | Path | None = None,
        last_round: int | None = None,
    ) -> None:
        """``socket``: the bridge's .mgmt socket. ``unixctl``: vswitchd's control socket, needed on netdev
        only. ``last_round``: the number that counts where ``run_dir`` does not say."""
        self.socket = str(socket)
        self.node = node
        self.layout = Layout.for_node(node)
        self.round = load_round(run_dir / ROUND_FILE, self.layout.fingerprint, last_round)
        self.restoration = Restoration(unixctl if node.userspace_datapath else None)
        self._cache = DatapathCache(self.restoration.control) if node.userspace_datapath and unixctl else None
        self._desired = Desired()
        self._groups: dict[int, tuple[str, Group]] = {}
        self._meters: dict[int, tuple[str, Meter]] = {}
        self._installer = Installer(self.layout, self.round, self._desired, self._groups, self._meters)
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()
        self._synchronized = False
        self._keeper: asyncio.Task[None] | None = None
        self.want(ENTRY, list(entry_flows(self.builder(Category.DEFAULT))))

    def builder(self, category: Category) -> Builder:
        """For features: makes flows with this node's table numbers and the category's cookie."""
        return Builder(self.layout, self.round, category)

    # --- what is wanted ---

    def want(self, owner_key: str, flows: Sequence[Flow]) -> None:
        """From now on the owner wants these flows and no others."""
        self._desired.want(owner_key, flows)

    def drop(self, owner_key: str) -> None:
        """The owner wants no flows, groups and meters any more."""
        self._desired.drop(owner_key)
        for claims in (self._groups, self._meters):
            for number in [number for number, (owner, _) in claims.items() if owner == owner_key]:
                del claims[number]

    def want_group(self, owner_key: str, group: Group) -> None:
        """The owner wants this group; a group number has one owner. ``drop`` or ``forget_group`` ends it.

        Raises ValueError for another owner's number, and for a group that OVS could not describe when asked.
        """
        if not group.is_describable:
            raise ValueError(
                f"group {group.number} of {owner_key} with {len(group.buckets)} buckets exceeds one message: "
                "OVS could not tell it back, and no start or reconnect would get by it; use fewer buckets"
            )
        owner, _ = self._groups.get(group.number, (owner_key, None))
        if owner != owner_key:
            raise ValueError(f"group {group.number} belongs to {owner}, {owner_key} cannot have it too")
        self._groups[group.number] = (owner_key, group)

    def forget_group(self, number: int) -> None:
        self._groups.pop(number, None)

    def want_meter(self, owner_key: str, meter: Meter) -> None:
        """The owner wants this meter; a meter number has one owner."""
        owner, _ = self._meters.get(meter.number, (owner_key, None))
        if owner != owner_key:
            raise ValueError(f"meter {meter.number} belongs to {owner}, {owner_key} cannot have it too")
        self._meters[meter.number] = (owner_key, meter)

    def forget_meter(self, number: int) -> None:
        self._meters.pop(number, None)

    def failures(self, owner_key: str) -> list[FlowFailure]:
        """What the switch refuses of this owner's flows at present."""
        if not self._installer.failed:
            return []
        return [
            self._installer.failed[flow.key]
            for flow in self._desired.owned(owner_key)
            if flow.key in self._installer.failed
        ]

    def flows(self, owner_key: str) -> tuple[Flow, ...]:
        """What an owner wants, as it wants it (before merging with others)."""
        return self._desired.owned(owner_key)

    def before_sending(self, hook: Callable[[], None]) -> None:
        """Calls the hook before anything is sent: for what must be on disk before OVS shows it."""
        self._installer.before_sending.append(hook)

    def table_counts(self) -> dict[str, int]:
        """How many flows are installed in each table that has any, by the table's name."""
        names, counts = self.layout.names, Counter(key[0] for key in self._installer.installed)
        return {names[number]: counts[number] for number in sorted(counts) if number in names}

    # --- the connection ---

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.is_lost

    async def start(self, *, timeout: float | None = 5.0) -> None:
        """Connects and keeps the connection. Raises ProgrammerError when the bridge cannot be reached in
        time."""
        connected = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(connected), name="flow-programmer")
        try:
            await asyncio.wait_for(asyncio.shield(connected), timeout)
        except TimeoutError:
            await self.stop()
            raise ProgrammerError(
                f"the bridge's management socket {self.socket} gave no connection within {timeout} s: "
                "is ovs-vswitchd running, and does the bridge exist?"
            ) from None

    async def stop(self) -> None:
        """Ends the connection. Flows stay as they are."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._ready.clear()
        if self._cache is not None:
            await self._cache.stop()
        await self.restoration.stop()
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Connects again and again; after each connection puts back what is missing."""
        delay = FIRST_RETRY
        while True:
            try:
                connection = await Connection.open(self.socket)
            except (OSError, OpenFlowError, TimeoutError) as error:
                log.debug("cannot reach %s yet: %s", self.socket, error)
                await asyncio.sleep(delay * random.uniform(0.75, 1.25))
                delay = min(delay * 1.5, LAST_RETRY)
                continue
            delay = FIRST_RETRY
            try:
                await self._use(connection, first)
            except (OpenFlowError, CodecError, ProgrammerError) as error:
                log.error("%s: %s; trying again", self.socket, error)
                delay = LAST_RETRY
            except Exception:
                log.exception("a fault of this agent while it used %s; trying again", self.socket)
                delay = LAST_RETRY
            finally:
                self._ready.clear()
                await self.restoration.pause_snapshots()
                await connection.close()
            if delay == LAST_RETRY:
                await asyncio.sleep(delay)

    async def _use(self, connection: Connection, first: asyncio.Future[None]) -> None:
        """The life of one connection."""
        self._connection = connection
        if self._synchronized:
            restarted = await self._restore(connection)
            self._ready.set()
            await self.restoration.after_flows(restarted)
        await self._name_tables(connection)
        await self.restoration.start_snapshots()
        self._ready.set()
        if not first.done():
            first.set_result(None)
        log.warning("lost the flow connection: %s", await connection.lost())

    async def _restore(self, connection: Connection) -> bool:
        """After a reconnect: everything in the order in which nothing forbidden can pass. Says whether
        vswitchd was restarted."""
        async with self._lock:
            found = await self._installer.dump(connection)
            restarted = not any(flow.cookie >> ROUND_SHIFT == self.round for flow in found)
            if restarted:
                log.warning("vswitchd was restarted: putting back conntrack entries, groups and flows")
                await self.restoration.before_flows(connection)
            result = await self._installer.apply_difference(connection, found, keep_unclaimed=False)
            log.info("after the reconnect: %s", result)
            return restarted

    async def _name_tables(self, connection: Connection) -> None:
        """Tells OVS the tables' names, so that ``ovs-ofctl --names`` shows them. Failing is no harm."""
        try:
            parts = await connection.multipart(Multipart.TABLE_FEATURES)
            records = [record for part in parts for record in descriptions.table_features(part)]
            names = self.layout.names
            ours = {table.name for table in DECLARED}
            renamed = [
                descriptions.renamed_table(record, names.get(number, ""))
                for number, name, record in records
                if (number in names or name in ours) and name != names.get(number, "")
            ]
            if renamed:
                await connection.multipart(Multipart.TABLE_FEATURES, b"".join(renamed))
        except SwitchError as error:
            log.warning("the tables of %s keep their numbers as names: %s", self.socket, error)

    async def _wait_ready(self) -> Connection:
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            raise ProgrammerError(
                f"vswitchd has not been reachable on {self.socket} for {READY_TIMEOUT} s; "
                "what is wanted will be installed once it is back"
            ) from None
        assert self._connection is not None
        return self._connection

    # --- bringing it into the switch ---

    async def commit(self) -> CommitResult:
        """Sends what has changed since the last commit, as one atomic bundle."""
        if not self._synchronized:
            return CommitResult(deferred=True)
        while True:
            connection = await self._wait_ready()
            async with self._lock:
                try:
                    if not connection.is_lost:
                        return await self._in_effect(await self._installer.send(connection))
                except ConnectionLost as error:
                    # The reconnect synchronizes; the next round then finds nothing left to do.
                    log.warning("a commit was interrupted: %s", error)
            await asyncio.sleep(FIRST_RETRY)

    async def _in_effect(self, result: CommitResult) -> CommitResult:
        if self._cache is not None and result.total:
            await self._cache.forget()
        return result

    async def barrier(self) -> None:
        """Waits until the switch has done everything that was sent so far."""
        connection = await self._wait_ready()
        await connection.barrier()

    async def synchronize(self, *, keep_unclaimed: bool = False) -> CommitResult:
        """Compares with what is in the switch and sends only the difference.

        ``keep_unclaimed``: flows that nobody wants yet stay until ``prune``; for a start at which a part of
        what should be there is not known yet.
        """
        while True:
            connection = await self._wait_ready()
            async with self._lock:
                try:
                    if not connection.is_lost:
                        found = await self._installer.dump(connection)
                        result = await self._installer.apply_difference(connection, found, keep_unclaimed)
                        self._synchronized = True
                        return await self._in_effect(result)
                except ConnectionLost as error:
                    log.warning("a synchronization was interrupted: %s", error)
            await asyncio.sleep(FIRST_RETRY)

    async def prune(self) -> CommitResult:
        """Removes what ``synchronize(keep_unclaimed=True)`` left and nobody has wanted since."""
        self._desired.give_up()
        return await self.commit()


__all__ = ["CommitResult", "FlowFailure", "FlowProgrammer", "ProgrammerError"]
