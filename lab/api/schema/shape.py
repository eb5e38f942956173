"""How values of Kubernetes' own kinds are made up, out of the type notation."""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.documents.shape import LEAF, Shape
from lab.api.schema.notation import Field, FieldType, Type, lookup


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
