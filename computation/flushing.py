"""What has changed since the last flush, and the order in which it is told.

Groups come before the policies that need them, and what ends comes after: first every group that is new, has
other members or gains nodes; then policies; then groups that lose nodes or are gone. A group that both
grows and loses nodes in one batch is told twice.

A flush is an iterator of steps. Each does the work of one object and is its change, or it is None: a piece of
work that took a while and tells nothing yet (see computation.steps).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from apis.controlplane import wire
from apis.controlplane.records import SPAN_ONLY, GroupDelta, GroupRecord
from apis.record import Change
from computation import steps
from computation.groups import NO_NODES, AddressGroup, AppliedToGroup
from computation.namespaces import Namespace
from computation.policies import Policy
from computation.steps import Work, chunks

ADDRESS_GROUPS = "addressgroups"
APPLIED_TO_GROUPS = "appliedtogroups"
NETWORK_POLICIES = "networkpolicies"

Step = Change | None
AnyGroup = AddressGroup | AppliedToGroup
Ending = tuple[str, AnyGroup, frozenset[str]]  # resource, group, the span that is left to it


class Pending:
    """The dirty objects. Each is in its set once, however often it was touched."""

    def __init__(self, discard: Callable[[AnyGroup], Iterator[None]]) -> None:
        self.addresses: dict[AddressGroup, None] = {}
        self.applied_to: dict[AppliedToGroup, None] = {}
        self.policies: dict[Policy, None] = {}
        self.ended: dict[str, Policy] = {}  # by uid: removed policies whose end was not told yet
        self.logging: dict[Namespace, None] = {}  # those whose policies are to be logged, or no more
        self._discard = discard  # called for each group that nothing uses any more, once it was told

    def __bool__(self) -> bool:
        return bool(self.addresses or self.applied_to or self.policies or self.logging)

    def flush(self) -> Iterator[Step]:
        """Every change since the last flush. Has to be run to its end before the next input."""
        endings: list[Ending] = []
        if self.applied_to:
            yield from self._applied_to_groups(endings)
        if self.addresses:
            yield from self._address_groups(endings)
        if self.policies or self.logging:
            yield from self._policies()
        for resource, ending, span in endings:
            if ending.unused:
                yield from self._end(resource, ending)
            else:
                yield (yield from self._shrink(resource, ending, span))

    # --- groups, before the policies ---

    def _applied_to_groups(self, endings: list[Ending]) -> Iterator[Step]:
        groups, self.applied_to = self.applied_to, {}
        work = Work()
        for group in groups:
            if work.done():
                yield None
            if group.unused:
                endings.append((APPLIED_TO_GROUPS, group, NO_NODES))
                continue
            if group.respan_takes_long:
                span = yield from group.new_span_in_steps()
            else:
                span = group.new_span()
            if span == group.span:
                span = group.span  # equal sets are kept once
            else:
                group.span = span
                for policy in group.policies:
                    self.policies[policy] = None
                    for each in policy.addresses:
                        each.respan = True
                        self.addresses[each] = None
                    if work.done():
                        yield None
            delta = (yield from self._long_delta(group, span)) if group.much_changed else None
            change = self._group(APPLIED_TO_GROUPS, group, span, endings, delta)
            if change is not None:
                yield change

    def _address_groups(self, endings: list[Ending]) -> Iterator[Step]:
        groups, self.addresses = self.addresses, {}
        work = Work()
        for group in groups:
            if work.done():
                yield None
            if group.unused:
                endings.append((ADDRESS_GROUPS, group, NO_NODES))
                continue
            old = group.record
            if old is not None and not group.respan:
                span = old.span
            else:
                if len(group.targets) > steps.STEP:
                    span = yield from group.span_in_steps()
                else:
                    span = group.span()
                if old is None:
                    if group.selection.larger_than(steps.STEP):
                        yield from group.collect_in_steps()
                elif span == old.span:
                    span = old.span  # equal sets are kept once
            delta = (yield from self._long_delta(group, span)) if group.much_changed else None
            change = self._group(ADDRESS_GROUPS, group, span, endings, delta)
            if change is not None:
                yield change

    @staticmethod
    def _long_delta(group: AnyGroup, span: frozenset[str]) -> Generator[None, None, GroupDelta]:
        leaving = group.record.span - span if group.record is not None else NO_NODES
        return (yield from group.delta_in_steps(leaving))

    def _group(
        self,
        resource: str,
        group: AnyGroup,
        span: frozenset[str],
        endings: list[Ending],
        delta: GroupDelta | None,
    ) -> Change | None:
        """What is to be told of a group before the policies; the rest goes to ``endings``."""
        old = group.record
        if old is None:
            group.record = group.new_record(span)
            return Change(resource, None, group.record)
        leaving = old.span - span if span is not old.span else NO_NODES
        if delta is None:
            delta = group.delta(leaving)
        if leaving:
            endings.append((resource, group, span))
            if not delta.added and span <= old.span:
                return None  # it only shrinks: all of it is told at the end
            span = span | leaving
        if span is not old.span or delta.added or delta.removed:
            return Change(resource, old, self._next(group, old, span, delta), delta)
        group.pending = None
        return None

    @staticmethod
    def _next(group: AnyGroup, old: GroupRecord, span: frozenset[str], delta: GroupDelta) -> GroupRecord:
        new = group.new_record(span)
        old.superseded(new, delta)
        group.record = new
        group.told(delta)
        return new

    # --- policies ---

    def _policies(self) -> Iterator[Step]:
        for namespace in self.logging:
            for part in chunks(namespace.policies.values()):
                for policy in part:
                    policy.body = wire.with_logging(policy.body, namespace.logging)
                    self.policies[policy] = None
                yield None
        self.logging.clear()
        policies, self.policies = self.policies, {}
        self.ended.clear()
        gone: list[Policy] = []
        work = Work()
        for policy in policies:
            if work.done():
                yield None
            if policy.removed:
                gone.append(policy)
            else:
                change = self._policy(policy)
                if change is not None:
                    yield change
        for policy in gone:
            if policy.record is not None:
                yield Change(NETWORK_POLICIES, policy.record, None)
                policy.record = None

    @staticmethod
    def _policy(policy: Policy) -> Change | None:
        old = policy.record
        span = policy.span()
        if old is None:
            policy.record = policy.new_record(span)
            return Change(NETWORK_POLICIES, None, policy.record)
        if old.body != policy.body or old.generation != policy.generation:
            policy.record = policy.new_record(span)
            return Change(NETWORK_POLICIES, old, policy.record)
        if old.span != span:
            policy.record = policy.new_record(span)
            return Change(NETWORK_POLICIES, old, policy.record, SPAN_ONLY)
        return None

    # --- groups, after the policies ---

    def _shrink(self, resource: str, group: AnyGroup, span: frozenset[str]) -> Generator[None, None, Change]:
        old = group.record
        assert old is not None
        # Empty if the group was told before.
        delta = (yield from group.delta_in_steps()) if group.much_changed else group.delta()
        return Change(resource, old, self._next(group, old, span, delta), delta)

    def _end(self, resource: str, group: AnyGroup) -> Iterator[Step]:
        old = group.record
        if old is not None:
            old.settled((yield from group.last_members()))
            group.record = None
            yield Change(resource, old, None)
        yield from self._discard(group)
