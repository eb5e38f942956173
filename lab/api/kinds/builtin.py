"""A kind of Kubernetes itself: its shape, its decoder and its columns come from tables."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from apiserver.documents.kind import Heading, Kind
from apiserver.documents.shape import Shape
from apiserver.resources import Object
from lab.api.kinds.table import AGE, NAME, age
from lab.api.schema.decode import decode
from lab.api.schema.shape import BuiltInShape


class BuiltIn(Kind):
    """The shape comes from the type notation."""

    type_name: ClassVar[str]
    table: ClassVar[tuple[Heading, ...]] = (NAME, AGE)

    def decode(self, document: Object) -> tuple[Object, list[str]]:
        return decode(self.type_name, document)

    @property
    def columns(self) -> tuple[Heading, ...]:
        return self.table

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], age(obj, now)]

    def shape(self) -> Shape:
        return BuiltInShape.of(self.type_name)
