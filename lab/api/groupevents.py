"""events.k8s.io/v1: the Events of v1 under other field names.

Written objects are translated and stored as v1 Events; a mirror store holds the translation of every Event
for reading and watching. Versions in the two differ, so an update through this group does not compare them.
"""

from __future__ import annotations

from apis.record import Change
from apiserver.documents.endpoint import DocumentEndpoint
from apiserver.documents.kind import Kind
from apiserver.documents.record import Document
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.kinds.events import Events

MIRROR = "events.events.k8s.io"
_TO_CORE = {
    "note": "message",
    "regarding": "involvedObject",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_FROM_CORE = {core: group for group, core in _TO_CORE.items()}


def to_core(obj: Object) -> Object:
    return {_TO_CORE.get(key, key): value for key, value in obj.items()}


def from_core(obj: Object) -> Object:
    return {_FROM_CORE.get(key, key): value for key, value in obj.items()}


class _GroupKind(Events):
    """How bodies of the group are decoded, and its rows printed."""

    group = "events.k8s.io"
    type_name = "events.Event"

    def fields(self, obj: Object) -> dict[str, str]:
        found = super().fields(to_core(obj))
        return {key.replace("involvedObject.", "regarding."): value for key, value in found.items()}


class GroupEvents(DocumentEndpoint):
    """The group's endpoint: writes go to the v1 Events, reads come from the mirror."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(_GroupKind(), registry)
        self.target = registry.kinds["events"]
        registry.observe(self._mirror)

    def to_stored(self, obj: Object) -> Object:
        obj["metadata"].pop("resourceVersion", None)
        return to_core(obj)

    def from_stored(self, obj: Object) -> Object:
        return from_core(obj)

    def _mirror(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind is self.target:
            before = Document(from_core(old)) if old is not None else None
            after = Document(from_core(new)) if new is not None else None
            self.stores.publish([Change(MIRROR, before, after)])
