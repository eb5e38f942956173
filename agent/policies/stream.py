"""A watch stream as a state machine: bytes in, items out; no I/O, no clock.

A stream that starts afresh carries the state as ADDED events up to the first BOOKMARK; they become one
Snapshot, which replaces what was known, so that a reader never sees half a state. Events after it are
increments. A stream that resumes from a version has increments only. Later bookmarks say nothing but a
version to resume from (upstream's controllers send none).

The multiplexed watch carries the three kinds on one stream, in causal order, and markers: everything that
follows from this Pod has been sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from agent.policies import wire
from agent.policies.groups import Group, GroupPatch, Object
from agent.policies.objects import Kind, Policy
from apis import envelope
from apis.meta import v1_pb2 as meta_pb

MAX_FRAME = 64 * 1024 * 1024  # bytes; an address group of 100,000 pods has about 8 MB


class StreamError(Exception):
    """The stream cannot be followed any further and has to be opened again."""


class Expired(StreamError):
    """The server does not have the version any more (410): the full state is needed."""


@dataclass(frozen=True, slots=True)
class Put:
    """One object added or replaced. ``raw`` is its message, for the journal."""

    kind: Kind
    value: Object
    raw: bytes


@dataclass(frozen=True, slots=True)
class Patched:
    kind: Kind
    patch: GroupPatch
    raw: bytes


@dataclass(frozen=True, slots=True)
class Deleted:
    kind: Kind
    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Marker:
    """Everything that follows from this Pod has been sent before."""

    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class Snapshot:
    """The whole state of ``kinds``."""

    kinds: frozenset[Kind]
    puts: dict[tuple[Kind, str], Put] = field(default_factory=dict)


Item = Put | Patched | Deleted | Marker | Snapshot

_KINDS = {kind.singular: kind for kind in Kind}
_PATCHES = {f"{kind.singular}Patch": kind for kind in Kind if kind is not Kind.NETWORK_POLICY}


class WatchStream:
    """One connection's stream, from its first byte to its end.

    ``version`` is the resourceVersion to resume from, None until the server has named one.
    """

    def __init__(self, kinds: Iterable[Kind], version: str | None = None) -> None:
        self.kinds = frozenset(kinds)
        self.version = version
        self._snapshot = None if version is not None else Snapshot(self.kinds)
        self._held: list[Item] = []  # markers that came before the bookmark
        self._decoder = envelope.ProtobufWatchDecoder(MAX_FRAME)

    @property
    def synced(self) -> bool:
        return self._snapshot is None

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete event are held."""
        return self._decoder.pending

    def feed(self, data: bytes) -> list[Item]:
        """What the bytes complete. Raises StreamError."""
        items: list[Item] = []
        try:
            for frame in self._decoder.feed(data):
                self._event(frame, items)
        except (envelope.EnvelopeError, wire.WireError) as error:
            raise StreamError(f"The controller's stream cannot be decoded: {error}") from error
        return items

    def _event(self, frame: envelope.WatchFrame, items: list[Item]) -> None:
        if frame.type == "ERROR":
            raise _error(frame.object)
        body = envelope.unwrap(frame.object)
        if frame.type == "MARKER":
            meta = wire.metadata(body.raw)
            (items if self.synced else self._held).append(Marker(meta.namespace, meta.name, meta.uid))
        elif frame.type == "BOOKMARK":
            self._bookmark(wire.metadata(body.raw).resourceVersion, items)
        elif self._snapshot is None:
            items.append(self._increment(frame.type, body))
            # Our controller writes its version into every object: a resumed stream repeats nothing.
            self.version = wire.metadata(body.raw).resourceVersion or self.version
        elif frame.type == "ADDED":
            put = self._put(body)
            self._snapshot.puts[put.kind, put.value.name] = put
        # Other events before the bookmark speak of objects that this node has not seen: nothing to do.

    def _bookmark(self, version: str, items: list[Item]) -> None:
        if self._snapshot is not None:
            items.append(self._snapshot)
            items.extend(self._held)
            self._snapshot, self._held = None, []
        if version:
            self.version = version

    def _increment(self, event: str, body: envelope.Enveloped) -> Item:
        if event == "ADDED" or (event == "MODIFIED" and body.kind in _KINDS):
            return self._put(body)
        if event == "MODIFIED" and body.kind in _PATCHES:
            kind = self._expected(_PATCHES[body.kind])
            return Patched(kind, wire.group_patch(kind, body.raw), body.raw)
        if event == "DELETED" and body.kind in _KINDS:
            return Deleted(self._expected(_KINDS[body.kind]), wire.metadata(body.raw).name, body.raw)
        raise StreamError(f"The controller sent an event {event!r} with an object of kind {body.kind!r}.")

    def _put(self, body: envelope.Enveloped) -> Put:
        if body.kind not in _KINDS:
            raise StreamError(f"The controller sent an object of the unexpected kind {body.kind!r}.")
        kind = self._expected(_KINDS[body.kind])
        return Put(kind, decode(kind, body.raw), body.raw)

    def _expected(self, kind: Kind) -> Kind:
        if kind not in self.kinds:
            names = ", ".join(sorted(kind.value for kind in self.kinds))
            raise StreamError(f"The controller sent an object of kind {kind.singular} on a watch of {names}.")
        return kind


def decode(kind: Kind, raw: bytes) -> Group | Policy:
    """A message of one of the three kinds. Raises WireError."""
    value = wire.policy(raw) if kind is Kind.NETWORK_POLICY else wire.group(kind, raw)
    if not value.name:
        raise wire.WireError(f"An object of kind {kind.singular} has no name.")
    return value


def _error(body: bytes) -> StreamError:
    """The exception for an ERROR event, whose object is a Status."""
    try:
        status = meta_pb.Status.FromString(envelope.unwrap(body).raw)
    except (envelope.EnvelopeError, DecodeError):
        return StreamError("The controller ended the stream with an error that cannot be decoded.")
    if status.code == 410:
        return Expired(f"The controller has no history since the requested version: {status.message}")
    return StreamError(f"The controller ended the stream: {status.message} (code {status.code})")
