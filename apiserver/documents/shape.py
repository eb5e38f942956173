"""How a value is made up, for those who merge and own parts of it: one view of built-in and custom kinds.

    struct   named members, each with a shape of its own (an object with properties, or a free map)
    keyed    a list of objects told apart by keys        set      a list of distinct scalars
    leaf     owned and replaced as a whole: scalars, atomic lists, maps and types

(Kubernetes API conventions: x-kubernetes-list-type, x-kubernetes-list-map-keys, x-kubernetes-map-type.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from apiserver.documents.mergekeys import SET, merge_key


class Shape(Protocol):
    @property
    def sort(self) -> str:
        """struct, keyed, set or leaf."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of a keyed list."""

    def member(self, name: str) -> Shape:
        """Of a struct."""

    def element(self) -> Shape:
        """Of a keyed list."""


@dataclass(frozen=True, slots=True)
class Leaf:
    sort: str = "leaf"
    keys: tuple[str, ...] = ()

    def member(self, name: str) -> Shape:
        return self

    def element(self) -> Shape:
        return self


LEAF = Leaf()


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list whose elements are owned one by one, each as a whole."""

    sort: str
    keys: tuple[str, ...] = ()

    def member(self, name: str) -> Shape:
        return LEAF

    def element(self) -> Shape:
        return LEAF


@dataclass(frozen=True, slots=True)
class MetadataShape:
    """ObjectMeta: two lists that merge; all else is a map, or whole."""

    sort: str = "struct"
    keys: tuple[str, ...] = ()

    def member(self, name: str) -> Shape:
        return _METADATA_LISTS.get(name, UNKNOWN)

    def element(self) -> Shape:
        return LEAF


OBJECT_META = MetadataShape()
_METADATA_LISTS: dict[str, Shape] = {
    "finalizers": ListShape("set"),
    "ownerReferences": ListShape("keyed", ("uid",)),
}


@dataclass(frozen=True, slots=True)
class MergedShape:
    """A field of a kind of which only the merge keys are known (apiserver.documents.mergekeys); ``path`` are
    the names of fields from the top."""

    kind: str
    path: tuple[str, ...] = ()
    inside: bool = False  # an element of the list at the path

    def _key(self) -> str | None:
        return merge_key(self.kind, self.path) if self.path and not self.inside else None

    @property
    def sort(self) -> str:
        key = self._key()
        if key is None:
            return "struct"  # what is no object counts as a leaf
        return "set" if key == SET else "keyed"

    @property
    def keys(self) -> tuple[str, ...]:
        key = self._key()
        return (key,) if key else ()

    def member(self, name: str) -> Shape:
        if not self.path and name == "metadata":
            return OBJECT_META
        return MergedShape(self.kind, (*self.path, name))

    def element(self) -> Shape:
        return MergedShape(self.kind, self.path, inside=True)


@dataclass(frozen=True, slots=True)
class SchemaShape:
    """A part of a structural schema."""

    schema: dict[str, Any]
    root: bool = False

    @property
    def sort(self) -> str:
        schema = self.schema
        if schema.get("type") == "array":
            return {"map": "keyed", "set": "set"}.get(schema.get("x-kubernetes-list-type", ""), "leaf")
        if schema.get("type") == "object" or self.root:
            return "leaf" if schema.get("x-kubernetes-map-type") == "atomic" else "struct"
        return "leaf"

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.schema.get("x-kubernetes-list-map-keys", ()))

    def member(self, name: str) -> Shape:
        if self.root and name == "metadata":
            return OBJECT_META
        part = self.schema.get("properties", {}).get(name)
        if part is None:
            part = self.schema.get("additionalProperties")
        if isinstance(part, dict):
            return SchemaShape(part)
        # What no schema describes is deduced from the value: maps are structs, the rest is whole.
        return UNKNOWN

    def element(self) -> Shape:
        return SchemaShape(self.schema.get("items") or {})


UNKNOWN: Shape = SchemaShape({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
