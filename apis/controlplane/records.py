"""The versions of policies and groups that the controller's stores hold, and the patches between them.

They are `apis.record.Record`s and `Delta`s whose bodies are bytes of apis.controlplane.wire joined together.

A group's record does not hold its members. A cluster has groups of 100,000 pods, of which every pod event
makes a new version; the record of the newest version therefore reads its members from its *source*, the
living group, and an older one knows its successor and the difference to it: its members are the successor's
with the difference undone. A version costs what changed, however large the group, and old versions cost
time only when a watch resumes from them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

from apis.controlplane.json import SLICE, to_json, to_json_in_steps
from apis.controlplane.wire import REMOVED_TAG, metadata_field
from apis.record import Media

_NO_LABELS: Mapping[str, str] = {}
_NO_NODES: frozenset[str] = frozenset()
_MANY = 64  # from so many members on, a patch keeps them by node
SORTED_AT_ONCE = 4096
JOINED_AT_ONCE = 8192


class Member(NamedTuple):
    """An encoded member (from wire.member_field) and the node it is on ("" where the group has no views)."""

    node: str
    encoded: bytes


class MemberSource(Protocol):
    """Who knows the members of a group's newest published version."""

    def published(self, view: str | None) -> list[bytes]:
        """The encoded members, or only those of one node."""


class FixedMembers:
    """A source for a group that no longer changes: the last version of a removed one.

    ``nodes`` are those of the members in their order, or None where the group has no views.
    """

    __slots__ = ("_members", "_nodes")

    def __init__(self, members: list[bytes], nodes: list[str] | None = None) -> None:
        self._members = members
        self._nodes = nodes

    def published(self, view: str | None) -> list[bytes]:
        if view is None or self._nodes is None:
            return list(self._members)
        return [member for member, node in zip(self._members, self._nodes, strict=True) if node == view]


class GroupDelta:
    """What distinguishes two versions of a group. ``replaced`` members were superseded by an added one of the
    same identity (only their ports differ): a patch adds the new one, which replaces the old at the reader.

    ``leaving`` are nodes that lose the group by a change that follows at once; they are told only that.
    """

    __slots__ = ("_by_node", "added", "leaving", "name", "removed", "replaced", "views")

    def __init__(
        self,
        name: str,
        views: bool,
        added: tuple[Member, ...] = (),
        removed: tuple[Member, ...] = (),
        replaced: tuple[Member, ...] = (),
        leaving: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.views = views
        self.added = added
        self.removed = removed
        self.replaced = replaced
        self.leaving = leaving
        self._by_node: dict[str, tuple[list[Member], list[Member]]] | None = None

    def _views(self) -> dict[str, tuple[list[Member], list[Member]]]:
        """By node: its added and removed members. Sorted once, for hundreds of nodes that ask."""
        if self._by_node is None:
            for _ in self.sort_in_steps():
                pass
            assert self._by_node is not None
        return self._by_node

    def sort_in_steps(self) -> Generator[None, None, None]:
        """Before a long delta is told: sort its members by the nodes that will ask, if these differ."""
        if not self.views:
            return
        by_node: dict[str, tuple[list[Member], list[Member]]] = {}
        for index, members in enumerate((self.added, self.removed)):
            for start in range(0, len(members), SORTED_AT_ONCE):
                for member in members[start : start + SORTED_AT_ONCE]:
                    view = by_node.get(member.node)
                    if view is None:
                        view = by_node[member.node] = ([], [])
                    view[index].append(member)
                yield
        self._by_node = by_node

    @property
    def nodes(self) -> frozenset[str] | None:
        """The nodes in whose view something changed; None: in that of all."""
        if not self.added and not self.removed:
            return _NO_NODES
        if not self.views:
            return None
        if self._by_node is not None:
            return frozenset(self._by_node) - self.leaving
        return frozenset([member.node for member in (*self.added, *self.removed)]) - self.leaving

    @property
    def kind(self) -> str:
        return "AppliedToGroupPatch" if self.views else "AddressGroupPatch"

    def encode(self, media: Media, view: str | None, version: str) -> bytes | None:
        added: Sequence[Member] = self.added
        removed: Sequence[Member] = self.removed
        if view is not None and self.views:
            if view in self.leaving:
                return None
            if len(added) + len(removed) > _MANY:
                added, removed = self._views().get(view, ((), ()))
            else:
                added = [member for member in added if member.node == view]
                removed = [member for member in removed if member.node == view]
        if not added and not removed:
            return None
        name = self.name.encode()
        parts = [metadata_field(name, name, version)]
        parts.extend([member.encoded for member in added])
        # A removed member differs from an added one by its tag only.
        if removed:
            parts.append(REMOVED_TAG.join([b"", *[member.encoded[1:] for member in removed]]))
        message = b"".join(parts)
        return message if media is Media.PROTOBUF else to_json(self.kind, message)

    def encode_in_steps(
        self, media: Media, view: str | None, version: str
    ) -> Generator[None, None, bytes] | None:
        """`encode` of a long patch that is the same for all nodes; None for any other."""
        if (view is not None and self.views) or len(self.added) + len(self.removed) <= SLICE:
            return None
        return self._long(media, version)

    def _long(self, media: Media, version: str) -> Generator[None, None, bytes]:
        name = self.name.encode()
        if media is Media.JSON:
            return (yield from to_json_in_steps(self.kind, self._fields(metadata_field(name, name, version))))
        parts = [metadata_field(name, name, version)]
        for start in range(0, len(self.added), JOINED_AT_ONCE):
            parts.append(b"".join([member.encoded for member in self.added[start : start + JOINED_AT_ONCE]]))
            yield
        for start in range(0, len(self.removed), JOINED_AT_ONCE):
            some = self.removed[start : start + JOINED_AT_ONCE]
            parts.append(REMOVED_TAG.join([b"", *[member.encoded[1:] for member in some]]))
            yield
        return b"".join(parts)

    def _fields(self, metadata: bytes) -> Iterable[bytes]:
        yield metadata
        for member in self.added:
            yield member.encoded
        for member in self.removed:
            yield REMOVED_TAG + member.encoded[1:]

    @property
    def size(self) -> int:
        """About how many bytes it keeps alive."""
        return 200 * (len(self.added) + len(self.removed) + len(self.replaced))


class GroupRecord:
    """One version of an address group or applied-to group."""

    __slots__ = ("_delta", "_next", "_source", "name", "span")
    kind: ClassVar[str]
    has_views: ClassVar[bool]
    size: ClassVar[int] = 0  # bytes that a version keeps alive: its members are the living group's

    def __init__(self, name: str, span: frozenset[str], source: MemberSource) -> None:
        self.name = name  # also the uid
        self.span = span
        self._source: MemberSource | None = source
        self._next: GroupRecord | None = None
        self._delta: GroupDelta | None = None

    @property
    def namespace(self) -> str:
        return ""

    @property
    def uid(self) -> str:
        return self.name

    @property
    def labels(self) -> Mapping[str, str]:
        return _NO_LABELS

    def superseded(self, successor: GroupRecord, delta: GroupDelta) -> None:
        """From now on the source belongs to ``successor``, which differs from this version by ``delta``."""
        self._next, self._delta, self._source = successor, delta, None

    def settled(self, members: FixedMembers) -> None:
        """The group is gone: its source is no more, these were its members at last."""
        self._source = members

    def members(self, view: str | None = None) -> list[bytes]:
        """The encoded members of this version, or only those on one node."""
        if not self.has_views:
            view = None
        deltas: list[GroupDelta] = []
        newest = self
        while newest._next is not None:
            assert newest._delta is not None
            deltas.append(newest._delta)
            newest = newest._next
        assert newest._source is not None
        found = newest._source.published(view)
        if not deltas:
            return found
        kept = dict.fromkeys(found)
        for delta in reversed(deltas):
            for member in delta.added:
                kept.pop(member.encoded, None)
            for member in (*delta.removed, *delta.replaced):
                if view is None or member.node == view:
                    kept[member.encoded] = None
        return list(kept)

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        name = self.name.encode()
        message = b"".join([metadata_field(name, name, version), *self.members(view)])
        return message if media is Media.PROTOBUF else to_json(self.kind, message)

    def encode_in_steps(
        self, media: Media, view: str | None, version: str
    ) -> Generator[None, None, bytes] | None:
        """`encode` as JSON; protobuf only joins what is there, which takes no steps."""
        if media is not Media.JSON or (view is not None and self.has_views):
            return None
        return self._json(version)

    def _json(self, version: str) -> Generator[None, None, bytes]:
        name = self.name.encode()
        members = self.members()
        yield
        return (yield from to_json_in_steps(self.kind, [metadata_field(name, name, version), *members]))

    def tombstone(self, media: Media, version: str) -> bytes:
        name = self.name.encode()
        message = metadata_field(name, name, version)
        return message if media is Media.PROTOBUF else to_json(self.kind, message)


class AddressGroupRecord(GroupRecord):
    """Who may be at the other end: every node of the span sees all members."""

    __slots__ = ()
    kind = "AddressGroup"
    has_views = False


class AppliedToGroupRecord(GroupRecord):
    """To whom policies apply: each node of the span sees its own members."""

    __slots__ = ()
    kind = "AppliedToGroup"
    has_views = True


class PolicyRecord:
    """One version of a policy. ``body`` is the encoded message without its metadata; the sourceRef is its
    last field and begins at ``source_at``."""

    __slots__ = ("body", "generation", "name", "source_at", "span")
    has_views: ClassVar[bool] = False

    def __init__(self, name: str, generation: int, span: frozenset[str], body: bytes, source_at: int) -> None:
        self.name = name  # the uid of the policy that the user wrote
        self.generation = generation
        self.span = span
        self.body = body
        self.source_at = source_at

    @property
    def namespace(self) -> str:
        return ""

    @property
    def uid(self) -> str:
        return self.name

    @property
    def labels(self) -> Mapping[str, str]:
        return _NO_LABELS

    def _message(self, media: Media, version: str, body: bytes) -> bytes:
        name = self.name.encode()
        message = metadata_field(name, name, version, self.generation) + body
        return message if media is Media.PROTOBUF else to_json("NetworkPolicy", message)

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        return self._message(media, version, self.body)

    @property
    def size(self) -> int:
        """About how many bytes it keeps alive."""
        return len(self.body)

    def tombstone(self, media: Media, version: str) -> bytes:
        """Metadata and sourceRef: by it a reader knows which of the user's policies has gone."""
        return self._message(media, version, self.body[self.source_at :])


class _SpanOnly:
    """The delta of a policy whose span changed and nothing else: who stays in the span need not be told."""

    __slots__ = ()
    kind: ClassVar[str] = "NetworkPolicy"
    nodes: ClassVar[frozenset[str]] = _NO_NODES

    def encode(self, media: Media, view: str | None, version: str) -> bytes | None:
        return None


SPAN_ONLY = _SpanOnly()
