"""Address groups and applied-to groups: who is in them, on which nodes they are, what changed since the last
flush.

A group holds no members of its own: they are the pods of its selection's label sets. What it holds is the
difference to its last published version, for as long as there is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from apis.controlplane.records import (
    AddressGroupRecord,
    AppliedToGroupRecord,
    FixedMembers,
    GroupDelta,
    GroupRecord,
    Member,
)
from apis.controlplane.wire import member_identity
from computation import steps
from computation.pods import Endpoint
from computation.scopes import Selection
from computation.steps import chunks

if TYPE_CHECKING:
    from computation.policies import Policy

PodKey = tuple[str, str]  # namespace, name
Replacement = tuple["Member | None", "Member | None"]  # what is published of a pod, and what is now
NO_NODES: Final[frozenset[str]] = frozenset()

# Up to so many members, those of one node are looked for; above, they are counted and kept by node.
LARGE_FROM: Final = 64


class Group(ABC):
    """What both kinds have in common. ``record`` is the published version, None before the first."""

    __slots__ = ("pending", "record", "selection")

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        # Pods whose membership is not the published one: what is published, and what is now.
        self.pending: dict[PodKey, Replacement] | None = None
        self.record: GroupRecord | None = None

    @property
    def name(self) -> str:
        return self.selection.name

    @abstractmethod
    def member(self, endpoint: Endpoint) -> Member | None:
        """The endpoint as a member of this group, or None where it does not count."""

    def endpoints(self) -> Iterator[Endpoint]:
        for label_set in self.selection.label_sets:
            yield from label_set.pods.values()

    def members(self) -> Iterator[Member]:
        """The members as they are now."""
        for endpoint in self.endpoints():
            member = self.member(endpoint)
            if member is not None:
                yield member

    def touch(self, key: PodKey, before: Endpoint | None, after: Endpoint | None) -> bool:
        """Note that a pod changed from ``before`` to ``after`` (None: not selected by this group).

        False where that makes no difference to the group.
        """
        if self.record is None:
            return False  # not published yet: its first version has everything
        old = None if before is None else self.member(before)
        new = None if after is None else self.member(after)
        if old == new:
            return False
        if self.pending is None:
            self.pending = {key: (old, new)}
        else:
            first = self.pending.get(key)
            self.pending[key] = (old if first is None else first[0], new)
        return True

    @abstractmethod
    def last_members(self) -> Generator[None, None, FixedMembers]:
        """The members of the published version, for when the group is gone; in steps."""

    def told(self, delta: GroupDelta) -> None:
        """The published version is now the one that ``delta`` makes."""
        self.pending = None

    @property
    def much_changed(self) -> bool:
        """Whether so many pods changed that `delta` has to be made in steps."""
        return self.pending is not None and len(self.pending) > steps.STEP

    def delta(self, leaving: frozenset[str] = NO_NODES) -> GroupDelta:
        """The difference between the published version and now."""
        views = self.record is not None and self.record.has_views
        added: list[Member] = []
        removed: list[Member] = []
        replaced: list[Member] = []
        if self.pending:
            _sort(self.pending.values(), views, added, removed, replaced)
        return GroupDelta(self.name, views, tuple(added), tuple(removed), tuple(replaced), leaving)

    def delta_in_steps(self, leaving: frozenset[str] = NO_NODES) -> Generator[None, None, GroupDelta]:
        views = self.record is not None and self.record.has_views
        added: list[Member] = []
        removed: list[Member] = []
        replaced: list[Member] = []
        for part in chunks((self.pending or {}).values()):
            _sort(part, views, added, removed, replaced)
            yield
        delta = GroupDelta(self.name, views, tuple(added), tuple(removed), tuple(replaced), leaving)
        yield from delta.sort_in_steps()
        return delta


def _sort(
    changes: Iterable[Replacement],
    views: bool,
    added: list[Member],
    removed: list[Member],
    replaced: list[Member],
) -> None:
    """Into the members that a patch adds and removes, and those that an added one replaces."""
    for old, new in changes:
        if old == new:
            continue
        if new is not None:
            added.append(new)
        if old is not None:
            same = (
                new is not None
                and (old.node == new.node or not views)
                and member_identity(old.encoded) == member_identity(new.encoded)
            )
            (replaced if same else removed).append(old)


class AddressGroup(Group):
    """Pods that may be at the other end of a rule. Its span is that of the policies that use it."""

    __slots__ = ("_members", "respan", "targets")

    def __init__(self, selection: Selection) -> None:
        super().__init__(selection)
        # The applied-to groups of the policies that use this group, each with the number of such uses.
        self.targets: dict[AppliedToGroup, int] = {}
        self.respan = True  # whether the span of the published version may not be the present one
        self._members: list[bytes] | None = None  # of the published version, of a large group

    @property
    def unused(self) -> bool:
        return not self.targets

    def member(self, endpoint: Endpoint) -> Member | None:
        return None if endpoint.address is None else Member("", endpoint.address)

    def published(self, view: str | None) -> list[bytes]:
        """The encoded members of the published version (every node sees all of them)."""
        if self._members is not None:
            return self._members
        found = [
            endpoint.address
            for label_set in self.selection.label_sets
            for endpoint in label_set.pods.values()
            if endpoint.address is not None
        ]
        return found if not self.pending else _undone(found, self.pending.values(), None)

    def collect_in_steps(self) -> Iterator[None]:
        """Before the first version of a large group is told: have its members at hand for who encodes it."""
        members: list[bytes] = []
        for part in chunks(self.endpoints()):
            members += [endpoint.address for endpoint in part if endpoint.address is not None]
            yield
        self._members = members

    def told(self, delta: GroupDelta) -> None:
        super().told(delta)
        if delta.added or delta.removed or delta.replaced:
            self._members = None

    def last_members(self) -> Generator[None, None, FixedMembers]:
        found: list[bytes] = []
        for part in chunks(self.endpoints()):
            found += [endpoint.address for endpoint in part if endpoint.address is not None]
            if len(part) == steps.STEP:
                yield
        return FixedMembers(found if not self.pending else _undone(found, self.pending.values(), None))

    def span(self) -> frozenset[str]:
        """The union of the spans of the policies that use the group."""
        self.respan = False
        if len(self.targets) == 1:
            (target,) = self.targets
            return target.span
        return frozenset().union(*[target.span for target in self.targets])

    def span_in_steps(self) -> Generator[None, None, frozenset[str]]:
        self.respan = False
        union: set[str] = set()
        size = 0
        for target in self.targets:
            union |= target.span
            size += 1 + len(target.span)
            if size > 16 * steps.STEP:  # a set of names joins another much faster than names do
                size = 0
                yield
        return frozenset(union)

    def new_record(self, span: frozenset[str]) -> AddressGroupRecord:
        return AddressGroupRecord(self.name, span, self)

    def use(self, target: AppliedToGroup) -> None:
        self.respan = True
        self.targets[target] = self.targets.get(target, 0) + 1

    def release(self, target: AppliedToGroup) -> None:
        self.respan = True
        left = self.targets[target] - 1
        if left:
            self.targets[target] = left
        else:
            del self.targets[target]


class AppliedToGroup(Group):
    """Pods to which policies apply. Its span is the nodes of its members; each node sees its own."""

    __slots__ = ("_by_node", "_counts", "policies", "span")

    def __init__(self, selection: Selection) -> None:
        super().__init__(selection)
        self.policies: dict[Policy, None] = {}
        self.span: frozenset[str] = NO_NODES  # as of the last flush
        self._counts: dict[str, int] | None = None
        self._by_node: dict[str, dict[bytes, None]] | None = None  # of the published version

    @property
    def unused(self) -> bool:
        return not self.policies

    def member(self, endpoint: Endpoint) -> Member | None:
        return None if endpoint.target is None else Member(endpoint.node, endpoint.target)

    def published(self, view: str | None) -> list[bytes]:
        """The encoded members of the published version, all or those of one node."""
        if view is None:
            found = [
                endpoint.target
                for label_set in self.selection.label_sets
                for endpoint in label_set.pods.values()
                if endpoint.target is not None
            ]
            return found if not self.pending else _undone(found, self.pending.values(), None)
        if not self.selection.larger_than(LARGE_FROM):
            found = [
                endpoint.target
                for endpoint in self.endpoints()
                if endpoint.node == view and endpoint.target is not None
            ]
            return found if not self.pending else _undone(found, self.pending.values(), view)
        # Hundreds of nodes ask for their part of the same version, one after the other.
        if self._by_node is None:
            self._by_node = self._published_by_node()
        return list(self._by_node.get(view, ()))

    def _published_by_node(self) -> dict[str, dict[bytes, None]]:
        by_node: dict[str, dict[bytes, None]] = {}
        for label_set in self.selection.label_sets:
            for endpoint in label_set.pods.values():
                target = endpoint.target
                if target is not None:
                    members = by_node.get(endpoint.node)
                    if members is None:
                        members = by_node[endpoint.node] = {}
                    members[target] = None
        for old, new in (self.pending or {}).values():
            if new is not None and new.node in by_node:
                by_node[new.node].pop(new.encoded, None)
            if old is not None:
                by_node.setdefault(old.node, {})[old.encoded] = None
        return by_node

    def told(self, delta: GroupDelta) -> None:
        super().told(delta)
        if self._by_node is not None:
            if len(delta.added) + len(delta.removed) > steps.STEP:
                self._by_node = None
                return
            for member in (*delta.removed, *delta.replaced):
                self._by_node.get(member.node, {}).pop(member.encoded, None)
            for member in delta.added:
                self._by_node.setdefault(member.node, {})[member.encoded] = None

    def last_members(self) -> Generator[None, None, FixedMembers]:
        nodes: dict[bytes, str] = {}
        for part in chunks(self.endpoints()):
            nodes.update([(each.target, each.node) for each in part if each.target is not None])
            if len(part) == steps.STEP:
                yield
        for changes in chunks((self.pending or {}).values()):
            for old, new in changes:
                if new is not None:
                    nodes.pop(new.encoded, None)
                if old is not None:
                    nodes[old.encoded] = old.node
            if len(changes) == steps.STEP:
                yield
        return FixedMembers(list(nodes), list(nodes.values()))

    @property
    def respan_takes_long(self) -> bool:
        """Whether `new_span` has to be made in steps."""
        if self.pending is not None and len(self.pending) > steps.STEP:
            return True
        return self._counts is None and self.selection.larger_than(steps.STEP)

    def new_span(self) -> frozenset[str]:
        """The nodes of the members as they are now; the present object where nothing changed."""
        if self.record is None:
            return frozenset([each.node for each in self.endpoints() if each.target is not None])
        gone: set[str] = set()
        come: set[str] = set()
        self._note((self.pending or {}).values(), gone, come)
        return self._moved_span(gone, come)

    def new_span_in_steps(self) -> Generator[None, None, frozenset[str]]:
        """The same; counts the members of each node on the way, so that it is done in steps only once."""
        gone: set[str] = set()
        come: set[str] = set()
        for changes in chunks((self.pending or {}).values()):
            self._note(changes, gone, come)
            yield
        if self._counts is None:
            counts: dict[str, int] = {}
            for part in chunks(self.endpoints()):
                for endpoint in part:
                    if endpoint.target is not None:
                        counts[endpoint.node] = counts.get(endpoint.node, 0) + 1
                yield
            self._counts = counts
        return frozenset(self._counts) if self.record is None else self._moved_span(gone, come)

    def _note(self, changes: Iterable[Replacement], gone: set[str], come: set[str]) -> None:
        counts = self._counts
        for old, new in changes:
            if old == new:
                continue
            if old is not None:
                gone.add(old.node)
                if counts is not None:
                    counts[old.node] -= 1
                    if not counts[old.node]:
                        del counts[old.node]
            if new is not None:
                come.add(new.node)
                if counts is not None:
                    counts[new.node] = counts.get(new.node, 0) + 1

    def _moved_span(self, gone: set[str], come: set[str]) -> frozenset[str]:
        if gone - come:
            gone -= self._nodes_left(gone)
        gone -= come
        if gone or not come <= self.span:
            return frozenset((self.span - gone) | come)
        return self.span

    def _nodes_left(self, nodes: set[str]) -> set[str]:
        """Those of ``nodes`` that still have a member."""
        if self._counts is None:
            if not self.selection.larger_than(LARGE_FROM):
                return {member.node for member in self.members() if member.node in nodes}
            self._counts = {}
            for member in self.members():
                self._counts[member.node] = self._counts.get(member.node, 0) + 1
        return {node for node in nodes if node in self._counts}

    def new_record(self, span: frozenset[str]) -> AppliedToGroupRecord:
        return AppliedToGroupRecord(self.name, span, self)


def _undone(
    found: list[bytes], changes: Iterable[tuple[Member | None, Member | None]], view: str | None
) -> list[bytes]:
    """``found``, which is as of now, with the changes since the published version undone."""
    kept = dict.fromkeys(found)
    for old, new in changes:
        if new is not None:
            kept.pop(new.encoded, None)
        if old is not None and (view is None or old.node == view):
            kept[old.encoded] = None
    return list(kept)
