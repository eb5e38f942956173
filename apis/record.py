"""What the stores of an API server hold, and what a computation hands to them.

A *record* is one immutable version of one object. A *change* says how one key went from one record to
the next. Both are protocols: the controller's records are made by the computation with their members
already encoded, the lab's are JSON documents; the stores treat them alike.

Bodies carry neither kind nor apiVersion (in JSON) nor the Kubernetes envelope (in protobuf): the server
adds both, so that one encoding serves lists, gets and watch events.
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Mapping
from typing import Protocol, runtime_checkable


class Media(enum.Enum):
    """The encodings in which bodies are kept: YAML and Table are made from JSON on demand."""

    JSON = "json"
    PROTOBUF = "protobuf"


@runtime_checkable
class Record(Protocol):
    """One immutable version of one object.

    ``view`` is the name of the node for which the object is encoded, or None for the whole object. It
    matters only where ``has_views`` is true (AppliedToGroups, EgressGroups: each node sees its own members).
    ``version`` is the resourceVersion to be written into the metadata.
    """

    @property
    def name(self) -> str: ...

    @property
    def namespace(self) -> str:
        """Empty for cluster-scoped objects."""

    @property
    def uid(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def span(self) -> frozenset[str] | None:
        """The nodes whose watches may see the object. None: the resource knows no nodes."""

    @property
    def has_views(self) -> bool: ...

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        """The whole object: a protobuf message, or the text of a JSON object ``{"metadata":…}``."""

    def tombstone(self, media: Media, version: str) -> bytes:
        """What a DELETED event carries: for the control plane only metadata (and a policy's sourceRef)."""


@runtime_checkable
class Delta(Protocol):
    """The difference between two versions of a group, for watches with a nodeName selector."""

    @property
    def kind(self) -> str:
        """The kind of the patch object, for example ``AddressGroupPatch``."""

    @property
    def nodes(self) -> frozenset[str] | None:
        """The nodes in whose view something changed (``encode`` gives None for every other); None: all."""

    def encode(self, media: Media, view: str | None, version: str) -> bytes | None:
        """The patch as a body, or None where nothing changed in this view (then no event is due)."""


@runtime_checkable
class Sliced(Protocol):
    """What a record or a delta may offer besides: its long encodings in steps of some milliseconds."""

    def encode_in_steps(
        self, media: Media, view: str | None, version: str
    ) -> Generator[None, None, bytes] | None:
        """The same as ``encode`` (where that gives bytes), or None where that takes no time worth a pause."""


class Change:
    """How one key of one resource went from ``old`` to ``new``; one of the two may be None, not both.

    A watcher that selects neither sees nothing; old only: DELETED; new only: ADDED; both: MODIFIED with
    ``delta`` if there is one and the watch is a node's, else with the whole object. With a delta that
    encodes to None for the watcher's view, no event is due (also for watches without a node).
    """

    __slots__ = ("delta", "new", "old", "resource")

    def __init__(
        self, resource: str, old: Record | None, new: Record | None, delta: Delta | None = None
    ) -> None:
        self.resource = resource  # the plural name, such as "addressgroups"
        self.old = old
        self.new = new
        self.delta = delta

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)"""
        record = self.new if self.new is not None else self.old
        assert record is not None
        return (record.namespace, record.name)

    def __repr__(self) -> str:
        kind = "ADDED" if self.old is None else "DELETED" if self.new is None else "MODIFIED"
        return f"Change({kind} {self.resource} {'/'.join(filter(None, self.key))})"
