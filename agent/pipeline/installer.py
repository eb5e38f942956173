"""What is in the switch, and how the difference to what is wanted gets there.

A difference goes out as one atomic bundle: groups, added flows, changed flows, flows that end, groups that
end. What the switch refuses is left out and named, and the rest is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from agent.openflow.bundle import Bundle, BundleRejected
from agent.openflow.codec import descriptions
from agent.openflow.codec import messages as m
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.match import canonical
from agent.openflow.codec.messages import FlowCommand, Group, Meter
from agent.openflow.connection import Connection
from agent.pipeline.cookies import ROUND_SHIFT
from agent.pipeline.desired import Desired
from agent.pipeline.results import CommitResult, FlowFailure, ProgrammerError
from agent.pipeline.tables import Layout

log = logging.getLogger(__name__)

SLICE = 2000  # flows looked at before other tasks get their turn


class Installer:
    """The switch as it is known here. The caller makes sure that only one of the methods runs at a time."""

    def __init__(
        self,
        layout: Layout,
        round_number: int,
        desired: Desired,
        groups: dict[int, tuple[str, Group]],
        meters: dict[int, tuple[str, Meter]],
    ) -> None:
        self._layout = layout
        self._round = round_number
        self._desired = desired
        self._groups = groups  # wanted, with their owners
        self._meters = meters
        self.installed: dict[bytes, Flow] = {}
        self.failed: dict[bytes, FlowFailure] = {}
        self._there_groups: dict[int, Group] = {}
        self._there_meters: dict[int, Meter] = {}
        self.before_sending: list[Callable[[], None]] = []

    async def dump(self, connection: Connection) -> list[Flow]:
        """The flows in the switch, without those that packets have written (in this round of tables)."""
        learned = self._layout.learned
        found: list[Flow] = []
        xid = connection.next_xid()
        for part in await connection.collect(xid, m.flow_desc_request(xid)):
            found += descriptions.flows(part)
            await asyncio.sleep(0)
        if not learned:
            return found
        return [
            flow for flow in found if flow.table not in learned or flow.cookie >> ROUND_SHIFT != self._round
        ]

    async def apply_difference(
        self, connection: Connection, found: list[Flow], keep_unclaimed: bool
    ) -> CommitResult:
        desired = self._desired
        self.installed = {flow.key: flow for flow in found}
        self.failed.clear()
        if keep_unclaimed:
            desired.keep(found)
        desired.dirty.clear()
        for index, key in enumerate(list(desired.keys())):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            there = self.installed.get(key)
            try:
                wanted = desired.flow(key)
            except CodecError:
                wanted = None  # the bundle will name it
            if there is not None and wanted is not None and (there == wanted or wanted.same_as(there)):
                self.installed[key] = wanted  # one object instead of two equal ones
            else:
                desired.dirty.add(key)
        superfluous = [key for key in self.installed if not desired.wants(key)]
        if superfluous and desired.dirty:
            self._recognize(superfluous)
            superfluous = [key for key in superfluous if key in self.installed]
        desired.dirty.update(superfluous)
        xid = connection.next_xid()
        self._there_groups = {
            group.number: group
            for part in await connection.collect(xid, m.group_desc_request(xid))
            for group in descriptions.groups(part)
        }
        xid = connection.next_xid()
        self._there_meters = {
            meter.number: meter
            for part in await connection.collect(xid, m.meter_config_request(xid))
            for meter in descriptions.meters(part)
        }
        return await self.send(connection)

    def _recognize(self, superfluous: list[bytes]) -> None:
        """Finds wanted flows under keys or in forms that this switch writes otherwise than we do."""
        for key in superfluous:
            flow = self.installed[key]
            try:
                ours = key[:3] + canonical(key[3:])
                wanted = self._desired.flow(ours)
                if wanted is not None and wanted.same_as(flow):
                    del self.installed[key]
                    self.installed[ours] = wanted
                    self._desired.dirty.discard(ours)
            except CodecError:
                continue  # a field we do not know cannot be in a flow of ours

    async def send(self, connection: Connection) -> CommitResult:
        """Sends what is dirty. What the switch refuses is left out, named, and the rest is sent again."""
        keys, self._desired.dirty = self._desired.dirty, set()
        try:
            for hook in self.before_sending:
                hook()
            meters = await self._add_meters(connection)
            left_out: dict[bytes, str] = {}
            while True:
                try:
                    result = await self._send_bundle(connection, keys, left_out)
                    break
                except _Refused as refused:
                    left_out.update(refused.faults)
            meters += await self._delete_meters(connection)
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
        ended = [number for number in ended if _group_key(number) not in left_out]
        if not keys and not groups and not ended:
            return CommitResult()
        desired, installed = self._desired, self.installed
        modifies: list[tuple[int, Flow]] = []
        deletes: list[Flow] = []
        sent: list[bytes] = []  # the key of each message, by its position
        present: list[Flow] = []  # what is in the switch afterwards
        added = 0
        try:
            async with Bundle(connection) as bundle:
                for group in groups:
                    command = m.GROUP_MODIFY if group.number in self._there_groups else m.GROUP_ADD
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
            self._there_groups[group.number] = group
        for number in ended:
            self._there_groups.pop(number, None)
        return CommitResult(added, len(present) - added, len(deletes), len(groups) + len(ended))

    def _group_difference(self) -> tuple[list[Group], list[int]]:
        """Groups to add or modify, and numbers of those that nobody wants."""
        wanted = [
            group for number, (_, group) in self._groups.items() if self._there_groups.get(number) != group
        ]
        return wanted, [number for number in self._there_groups if number not in self._groups]

    async def _add_meters(self, connection: Connection) -> int:
        """Meters cannot stand in bundles. They come before the flows that use them."""
        changed = [
            meter for number, (_, meter) in self._meters.items() if self._there_meters.get(number) != meter
        ]
        for meter in changed:
            command = m.METER_MODIFY if meter.number in self._there_meters else m.METER_ADD
            connection.send(m.meter_mod(connection.next_xid(), command, meter))
            self._there_meters[meter.number] = meter
        if changed:
            await connection.barrier()
        return len(changed)

    async def _delete_meters(self, connection: Connection) -> int:
        """And they end after them, because OVS deletes with a meter every flow that still uses it."""
        ended = [meter for number, meter in self._there_meters.items() if number not in self._meters]
        for meter in ended:
            connection.send(m.meter_mod(connection.next_xid(), m.METER_DELETE, meter))
            del self._there_meters[meter.number]
        if ended:
            await connection.barrier()
        return len(ended)

    def _report(self, keys: set[bytes], left_out: dict[bytes, str], result: CommitResult) -> CommitResult:
        if self.failed:
            for key in keys:
                self.failed.pop(key, None)
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
                self.failed[key] = failure
            failures.append(failure)
            log.error("%s", failure)
        return replace(result, failures=tuple(failures))

    def _name(self, key: bytes) -> str:
        try:
            flow = self._desired.flow(key)
            return (flow or Flow(key, 0, b"")).format(self._layout.names)
        except CodecError:
            return Flow(key, 0, b"").format(self._layout.names)


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
