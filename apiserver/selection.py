"""Which objects of a store a request is about: namespace, name, node, labels and fields together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from apis.labels import Selector
from apis.record import Media, Record
from apiserver.resources import Object

FieldTest = tuple[Callable[[Object], str], str, bool]
"""How to get the field, the value to compare with, and whether it must differ."""


def object_of(record: Record) -> Object:
    """The record as JSON data, not to be changed. Documents have it at hand, others are decoded."""
    document: Object | None = getattr(record, "document", None)
    if document is None:
        document = msgspec.json.decode(record.encode(Media.JSON, None, ""))
    assert document is not None
    return document


def metadata_of(record: Record) -> Object:
    """The same, possibly without all that is not metadata: a group's members need not be decoded."""
    document: Object | None = getattr(record, "document", None)
    if document is None:
        document = msgspec.json.decode(record.tombstone(Media.JSON, ""))
    assert document is not None
    return document


@dataclass(frozen=True, slots=True)
class Selection:
    """``namespace`` None means all namespaces; cluster-scoped objects have the namespace ""."""

    namespace: str | None = None
    name: str = ""
    node: str = ""
    labels: Selector | None = None
    fields: tuple[FieldTest, ...] = field(default=())

    @property
    def everything(self) -> bool:
        return (
            self.namespace is None and not self.name and not self.node and not self.labels and not self.fields
        )

    def chooses(self, document: Object) -> bool:
        """The same of an object that is no record: without a node."""
        metadata = document["metadata"]
        if self.name and metadata.get("name") != self.name:
            return False
        if self.labels is not None and not self.labels.matches(metadata.get("labels") or {}):
            return False
        return all((get(document) == value) is not negated for get, value, negated in self.fields)

    def wants(self, record: Record) -> bool:
        if self.node:
            span = record.span
            if span is None or self.node not in span:
                return False
        if self.namespace is not None and record.namespace != self.namespace:
            return False
        if self.name and record.name != self.name:
            return False
        if self.labels is not None and not self.labels.matches(record.labels):
            return False
        if self.fields:
            document = object_of(record)
            return all((get(document) == value) is not negated for get, value, negated in self.fields)
        return True
