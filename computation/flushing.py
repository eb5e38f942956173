"""What has changed since the last flush, and the order in which it is told.

Groups come before the policies that need them, and what ends comes after: first every group that is new, has
other members or gains nodes; then policies; then groups that lose nodes or are gone. A group that both
grows and loses nodes in one batch is told twice. Each step of the generator does the work of one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apis.controlplane.records import SPAN_ONLY, GroupDelta, GroupRecord
from apis.record import Change
from computation.groups import NO_NODES, AddressGroup, AppliedToGroup
from computation.policies import Policy

ADDRESS_GROUPS = "addressgroups"
APPLIED_TO_GROUPS = "appliedtogroups"
NETWORK_POLICIES = "networkpolicies"


class Pending:
    """The dirty objects. Each is in its set once, however often it was touched."""

    def __init__(self, discard: Callable[[AddressGroup | AppliedToGroup], None]) -> None:
        self.addresses: dict[AddressGroup, None] = {}
        self.applied_to: dict[AppliedToGroup, None] = {}
        self.policies: dict[Policy, None] = {}
        self.ended: dict[str, Policy] = {}  # by uid: removed policies whose end was not told yet
        self._discard = discard  # called for each group that nothing uses any more, once it was told

    def __bool__(self) -> bool:
        return bool(self.addresses or self.applied_to or self.policies)

    def flush(self) -> Iterator[Change]:
        """Every change since the last flush. Has to be run to its end before the next input."""
        applied_to, self.applied_to = self.applied_to, {}
        endings: list[tuple[str, AddressGroup | AppliedToGroup, frozenset[str]]] = []
        for target in applied_to:
            if target.unused:
                endings.append((APPLIED_TO_GROUPS, target, NO_NODES))
                continue
            span = target.new_span()
            if span != target.span:
                target.span = span
                for policy in target.policies:
                    self.policies[policy] = None
                    self.addresses.update(dict.fromkeys(policy.addresses))
            change = self._group(APPLIED_TO_GROUPS, target, target.span, endings)
            if change is not None:
                yield change

        addresses, self.addresses = self.addresses, {}
        for group in addresses:
            if group.unused:
                endings.append((ADDRESS_GROUPS, group, NO_NODES))
                continue
            span = group.span()
            if group.record is not None and span == group.record.span:
                span = group.record.span  # equal sets are kept once
            change = self._group(ADDRESS_GROUPS, group, span, endings)
            if change is not None:
                yield change

        policies, self.policies = self.policies, {}
        self.ended.clear()
        gone: list[Policy] = []
        for policy in policies:
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

        for resource, ending, span in endings:
            yield from self._ending(resource, ending, span)

    def _group(
        self,
        resource: str,
        group: AddressGroup | AppliedToGroup,
        span: frozenset[str],
        endings: list[tuple[str, AddressGroup | AppliedToGroup, frozenset[str]]],
    ) -> Change | None:
        """What is to be told of a group before the policies; the rest goes to ``endings``."""
        old = group.record
        if old is None:
            group.record = group.new_record(span)
            return Change(resource, None, group.record)
        leaving = old.span - span if span is not old.span else NO_NODES
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
    def _next(
        group: AddressGroup | AppliedToGroup, old: GroupRecord, span: frozenset[str], delta: GroupDelta
    ) -> GroupRecord:
        new = group.new_record(span)
        old.superseded(new, delta)
        group.record, group.pending = new, None
        return new

    def _ending(
        self, resource: str, group: AddressGroup | AppliedToGroup, span: frozenset[str]
    ) -> Iterator[Change]:
        old = group.record
        if not group.unused:
            assert old is not None
            delta = group.delta()  # empty if the group was told before
            yield Change(resource, old, self._next(group, old, span, delta), delta)
            return
        if old is not None:
            old.settled(group.last_members())
            group.record = None
            yield Change(resource, old, None)
        self._discard(group)

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
