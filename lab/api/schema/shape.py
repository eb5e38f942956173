"""How a value is made up, for those who merge and own parts of it: one view of built-in and custom kinds.

    struct   named members, each with a shape of its own (an object with properties, or a free map)
    keyed    a list of objects told apart by keys        set      a list of distinct scalars
    leaf     owned and replaced as a whole: scalars, atomic lists, maps and types

(Kubernetes API conventions: x-kubernetes-list-type, x-kubernetes-list-map-keys, x-kubernetes-map-type.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lab.api.schema.notation import Field, FieldType, Type, lookup


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
class BuiltInShape:
    """A field of a type of the notation; ``field`` None: the type itself."""

    type: FieldType
    field: Field | None = None

    @staticmethod
    def of(name: str) -> Shape:
        return BuiltInShape(FieldType(name))

    def _named(self) -> Type:
        return lookup(self.type.base)

    @property
    def sort(self) -> str:
        field = self.field
        if self.type.container == "list":
            if field is not None and field.keys:
                return "keyed"
            return "set" if field is not None and field.is_set else "leaf"
        if self.type.container == "map":
            return "leaf" if field is not None and field.atomic else "struct"
        if self.type.is_object:
            return "leaf" if self._named().atomic else "struct"
        return "leaf"

    @property
    def keys(self) -> tuple[str, ...]:
        return self.field.keys if self.field is not None else ()

    def member(self, name: str) -> Shape:
        if self.type.container == "map":
            assert self.type.inner is not None
            return BuiltInShape(self.type.inner)
        field = self._named().fields.get(name)
        return BuiltInShape(field.type, field) if field is not None else LEAF

    def element(self) -> Shape:
        assert self.type.inner is not None
        return BuiltInShape(self.type.inner)


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
            return BuiltInShape.of("meta.ObjectMeta")
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
