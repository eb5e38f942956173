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
from dataclasses import dataclass, replace
from pathlib import Path

from agent.model import NodeConfig
from agent.openflow.bundle import Bundle, BundleRejected
from agent.openflow.codec import events
from agent.openflow.codec import messages as m
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.match import canonical
from agent.openflow.codec.messages import FlowCommand, Group, Meter, Multipart
from agent.openflow.connection import Connection, ConnectionLost, OpenFlowError, SwitchError
from agent.pipeline.building import Builder
from agent.pipeline.cookies import Category, load_round
from agent.pipeline.desired import Desired
from agent.pipeline.entry import entry_flows
from agent.pipeline.restoration import Restoration
from agent.pipeline.tables import DECLARED, Layout

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.002, 1.0  # seconds between attempts to reach vswitchd
READY_TIMEOUT = 15.0  # a commit waits so long for a switch that is away
SLICE = 2000  # flows looked at before other tasks get their turn
ENTRY = "pipeline"


class ProgrammerError(Exception):
    """What is wanted could not be brought into the switch for now; it stays wanted."""


@dataclass(frozen=True, slots=True)
class FlowFailure:
    """A flow (or group) that the switch refuses, who wants it, and why. All others went on."""

    flow: str
    owners: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{' and '.join(self.owners) or 'nobody'}: the switch refuses{self.flow}: {self.reason}"


@dataclass(frozen=True, slots=True)
class CommitResult:
    """How many mods a commit sent, and what the switch refused. ``deferred``: before the first
    synchronize."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    groups: int = 0
    meters: int = 0
    failures: tuple[FlowFailure, ...] = ()
    deferred: bool = False

    @property
    def total(self) -> int:
        return self.added + self.modified + self.deleted + self.groups + self.meters


class FlowProgrammer:
    """One bridge's flows, groups and meters. All methods belong to one event loop."""

    def __init__(
        self, socket: str | Path, node: NodeConfig, run_dir: Path, *, unixctl: str | Path | None = None
    ) -> None:
        """``socket``: the bridge's .mgmt socket. ``unixctl``: vswitchd's control socket, needed on netdev
        only."""
        self.socket = str(socket)
        self.node = node
        self.layout = Layout.for_node(node)
        self.round = load_round(run_dir / "flow-round.json", self.layout.fingerprint)
        self.restoration = Restoration(unixctl if node.userspace_datapath else None)
        self._desired = Desired()
        self._installed: dict[bytes, Flow] = {}
        self._failed: dict[bytes, FlowFailure] = {}
        self._groups: dict[int, tuple[str, Group]] = {}
        self._meters: dict[int, tuple[str, Meter]] = {}
        self._installed_groups: dict[int, Group] = {}
        self._installed_meters: dict[int, Meter] = {}
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()
        self._synchronized = False
        self._keeper: asyncio.Task[None] | None = None
        self._before_sending: list[Callable[[], None]] = []
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
        if not self._failed:
            return []
        return [self._failed[flow.key] for flow in self._desired.owned(owner_key) if flow.key in self._failed]

    def flows(self, owner_key: str) -> tuple[Flow, ...]:
        """What an owner wants, as it wants it (before merging with others)."""
        return self._desired.owned(owner_key)

    def before_sending(self, hook: Callable[[], None]) -> None:
        """Calls the hook before anything is sent: for what must be on disk before OVS shows it."""
        self._before_sending.append(hook)

    def table_counts(self) -> dict[str, int]:
        """How many flows are installed in each table that has any, by the table's name."""
        names, counts = self.layout.names, Counter(key[0] for key in self._installed)
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
                self._connection = connection
                await self._name_tables(connection)
                if self._synchronized:
                    await self._restore(connection)
                self._ready.set()
                await self.restoration.start_snapshots()
                if not first.done():
                    first.set_result(None)
                log.warning("lost the flow connection: %s", await connection.lost())
            except (OpenFlowError, CodecError, ProgrammerError) as error:
                log.error("%s after connecting to %s; trying again", error, self.socket)
                await asyncio.sleep(LAST_RETRY)
            finally:
                self._ready.clear()
                await self.restoration.pause_snapshots()
                await connection.close()

    async def _restore(self, connection: Connection) -> None:
        """After a reconnect: everything in the order in which nothing forbidden can pass."""
        async with self._lock:
            found = await self._dump(connection)
            restarted = not found
            if restarted:
                log.warning("vswitchd was restarted: putting back conntrack entries, groups and flows")
                await self.restoration.before_flows(connection)
            result = await self._apply_difference(connection, found, keep_unclaimed=False)
            log.info("after the reconnect: %s", result)
            await self.restoration.after_flows(restarted)

    async def _name_tables(self, connection: Connection) -> None:
        """Tells OVS the tables' names, so that ``ovs-ofctl --names`` shows them. Failing is no harm."""
        try:
            parts = await connection.multipart(Multipart.TABLE_FEATURES)
            records = [record for part in parts for record in events.table_features(part)]
            names = self.layout.names
            ours = {table.name for table in DECLARED}
            renamed = [
                events.renamed_table(record, names.get(number, ""))
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
                        return await self._send(connection)
                except ConnectionLost as error:
                    # The reconnect synchronizes; the next round then finds nothing left to do.
                    log.warning("a commit was interrupted: %s", error)
            await asyncio.sleep(FIRST_RETRY)

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
                        found = await self._dump(connection)
                        result = await self._apply_difference(connection, found, keep_unclaimed)
                        self._synchronized = True
                        return result
                except ConnectionLost as error:
                    log.warning("a synchronization was interrupted: %s", error)
            await asyncio.sleep(FIRST_RETRY)

    async def prune(self) -> CommitResult:
        """Removes what ``synchronize(keep_unclaimed=True)`` left and nobody has wanted since."""
        self._desired.give_up()
        return await self.commit()

    async def _dump(self, connection: Connection) -> list[Flow]:
        """The flows in the switch, without those that packets have written."""
        learned = self.layout.learned
        found: list[Flow] = []
        xid = connection.next_xid()
        for part in await connection.collect(xid, m.flow_desc_request(xid)):
            found += events.flows(part)
            await asyncio.sleep(0)
        return [flow for flow in found if flow.table not in learned] if learned else found

    async def _apply_difference(
        self, connection: Connection, found: list[Flow], keep_unclaimed: bool
    ) -> CommitResult:
        desired = self._desired
        self._installed = {flow.key: flow for flow in found}
        self._failed.clear()
        if keep_unclaimed:
            desired.keep(found)
        desired.dirty.clear()
        for index, key in enumerate(list(desired.keys())):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            there = self._installed.get(key)
            try:
                wanted = desired.flow(key)
            except CodecError:
                wanted = None  # the bundle will name it
            if there is not None and wanted is not None and (there == wanted or wanted.same_as(there)):
                self._installed[key] = wanted  # one object instead of two equal ones
            else:
                desired.dirty.add(key)
        superfluous = [key for key in self._installed if not desired.wants(key)]
        if superfluous and desired.dirty:
            self._recognize(superfluous)
            superfluous = [key for key in superfluous if key in self._installed]
        desired.dirty.update(superfluous)
        xid = connection.next_xid()
        self._installed_groups = {
            group.number: group
            for part in await connection.collect(xid, m.group_desc_request(xid))
            for group in events.groups(part)
        }
        xid = connection.next_xid()
        self._installed_meters = {
            meter.number: meter
            for part in await connection.collect(xid, m.meter_config_request(xid))
            for meter in events.meters(part)
        }
        return await self._send(connection)

    def _recognize(self, superfluous: list[bytes]) -> None:
        """Finds wanted flows under keys or in forms that this switch writes otherwise than we do."""
        for key in superfluous:
            flow = self._installed[key]
            try:
                ours = key[:3] + canonical(key[3:])
                wanted = self._desired.flow(ours)
                if wanted is not None and wanted.same_as(flow):
                    del self._installed[key]
                    self._installed[ours] = wanted
                    self._desired.dirty.discard(ours)
            except CodecError:
                continue  # a field we do not know cannot be in a flow of ours

    async def _send(self, connection: Connection) -> CommitResult:
        """Sends what is dirty. What the switch refuses is left out, named, and the rest is sent again."""
        keys, self._desired.dirty = self._desired.dirty, set()
        try:
            for hook in self._before_sending:
                hook()
            meters = await self._send_meters(connection)
            left_out: dict[bytes, str] = {}
            while True:
                try:
                    result = await self._send_bundle(connection, keys, left_out)
                    break
                except _Refused as refused:
                    left_out.update(refused.faults)
            result = replace(result, meters=meters)
        except BaseException:
            self._desired.dirty |= keys
            raise
        return self._report(keys, left_out, result)

    async def _send_bundle(
        self, connection: Connection, keys: set[bytes], left_out: dict[bytes, str]
    ) -> CommitResult:
        """One bundle: groups, adds, modifies, deletes, groups that end. Raises _Refused naming faulty
        keys."""
        groups, ended = self._group_difference()
        groups = [group for group in groups if _group_key(group.number) not in left_out]
        if not keys and not groups and not ended:
            return CommitResult()
        desired, installed = self._desired, self._installed
        modifies: list[tuple[int, Flow]] = []
        deletes: list[Flow] = []
        sent: list[bytes] = []  # the key of each message, by its position
        present: list[Flow] = []  # what is in the switch afterwards
        added = 0
        try:
            async with Bundle(connection) as bundle:
                for group in groups:
                    command = m.GROUP_MODIFY if group.number in self._installed_groups else m.GROUP_ADD
                    for message in m.group_mods(connection.next_xid, command, group):
                        bundle.add_message(message)
                        sent.append(_group_key(group.number))
                add, note = bundle.add_flow, sent.append
                for index, key in enumerate(keys):
                    if index % SLICE == SLICE - 1:
                        await bundle.flow_control()
                        await asyncio.sleep(0)
                    if key in left_out:
                        continue
                    there = installed.get(key)
                    try:
                        wanted = desired.flow(key)
                        if wanted is not None and there is None:
                            add(0, wanted.cookie, key, wanted.body)
                            note(key)
                            present.append(wanted)
                            added += 1
                            continue
                    except CodecError as error:
                        left_out[key] = str(error)
                        continue
                    if wanted is None:
                        if there is not None:
                            deletes.append(there)
                    elif (
                        wanted is not there
                        and there is not None
                        and (wanted.body != there.body or wanted.cookie != there.cookie)
                    ):
                        # A modify keeps counters but not a new cookie; an add replaces all.
                        same = wanted.cookie == there.cookie
                        modifies.append((FlowCommand.MODIFY_STRICT if same else FlowCommand.ADD, wanted))
                for command, flow in modifies:
                    try:
                        add(command, flow.cookie, flow.key, flow.body)
                    except CodecError as error:
                        left_out[flow.key] = str(error)
                        continue
                    note(flow.key)
                    present.append(flow)
                    await bundle.flow_control()
                for flow in deletes:
                    add(FlowCommand.DELETE_STRICT, 0, flow.key, b"")
                    note(flow.key)
                    await bundle.flow_control()
                for number in ended:
                    for message in m.group_mods(connection.next_xid, m.GROUP_DELETE, Group(number)):
                        bundle.add_message(message)
                        note(_group_key(number))
        except BundleRejected as rejected:
            faults = {sent[index]: str(error) for index, error in rejected.faults.items()}
            if not faults:
                raise ProgrammerError(f"the switch refused a bundle as a whole: {rejected}") from None
            raise _Refused(faults) from None
        for flow in present:
            installed[flow.key] = flow
        for flow in deletes:
            installed.pop(flow.key, None)
        for group in groups:
            self._installed_groups[group.number] = group
        for number in ended:
            self._installed_groups.pop(number, None)
        return CommitResult(added, len(modifies), len(deletes), len(groups) + len(ended))

    def _group_difference(self) -> tuple[list[Group], list[int]]:
        """Groups to add or modify, and numbers of those that nobody wants."""
        wanted = [
            group
            for number, (_, group) in self._groups.items()
            if self._installed_groups.get(number) != group
        ]
        return wanted, [number for number in self._installed_groups if number not in self._groups]

    async def _send_meters(self, connection: Connection) -> int:
        """Meters cannot stand in bundles. Those that end are deleted before the flows that used them
        change."""
        count = 0
        for number, (owner, meter) in self._meters.items():
            there = self._installed_meters.get(number)
            if there == meter:
                continue
            xid = connection.next_xid()
            connection.send(m.meter_mod(xid, m.METER_ADD if there is None else m.METER_MODIFY, meter))
            log.debug("meter %d of %s", number, owner)
            self._installed_meters[number] = meter
            count += 1
        for number in [number for number in self._installed_meters if number not in self._meters]:
            connection.send(
                m.meter_mod(connection.next_xid(), m.METER_DELETE, self._installed_meters.pop(number))
            )
            count += 1
        if count:
            await connection.barrier()
        return count

    def _report(self, keys: set[bytes], left_out: dict[bytes, str], result: CommitResult) -> CommitResult:
        if self._failed:
            for key in keys:
                self._failed.pop(key, None)
        if not left_out:
            return result
        failures = []
        for key, reason in left_out.items():
            number = _group_number(key)
            if number is not None:
                owner, _ = self._groups.get(number, ("", None))
                failure = FlowFailure(f" group {number}", (owner,), reason)
            else:
                text = self._name(key)
                failure = FlowFailure(text, tuple(self._desired.owners(key)), reason)
                self._failed[key] = failure
            failures.append(failure)
            log.error("%s", failure)
        return replace(result, failures=tuple(failures))

    def _name(self, key: bytes) -> str:
        try:
            flow = self._desired.flow(key)
            return (flow or Flow(key, 0, b"")).format(self.layout.names)
        except CodecError:
            return Flow(key, 0, b"").format(self.layout.names)


class _Refused(Exception):
    """These keys were refused, everything else of the bundle may be sent again."""

    def __init__(self, faults: dict[bytes, str]) -> None:
        super().__init__(f"{len(faults)} refused")
        self.faults = faults


def _group_key(number: int) -> bytes:
    """Groups among the keys of flows: no table is numbered 0xff."""
    return b"\xff" + number.to_bytes(4, "big")


def _group_number(key: bytes) -> int | None:
    return int.from_bytes(key[1:], "big") if key[0] == 0xFF else None
