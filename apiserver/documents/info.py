"""A kind in the words of the API server: names, verbs, columns, selectable fields."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from apiserver.documents.clock import now
from apiserver.documents.kind import Kind
from apiserver.resources import Column, Object, ResourceInfo, Subresource


class _Row:
    """The cells of the object asked for last: columns are asked for one by one."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._object: Object | None = None
        self._moment = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self._cells: list[Any] = []

    def cell(self, index: int) -> Callable[[Object], Any]:
        def value(obj: Object) -> Any:
            moment = now()
            if obj is not self._object or (moment - self._moment).total_seconds() > 0.2:
                self._object, self._moment, self._cells = obj, moment, self._kind.cells(obj, moment)
            return self._cells[index]

        return value


def resource_info(kind: Kind, extra: tuple[Subresource, ...] = ()) -> ResourceInfo:
    """The kind in the words of the API server; ``extra`` are its subresources besides status."""
    subresources = list(extra)
    if kind.has_status:
        subresources.append(Subresource("status", kind.kind, ("get", "patch", "update")))
    return ResourceInfo(
        group=kind.group,
        version=kind.version,
        plural=kind.plural,
        kind=kind.kind,
        singular=kind.singular,
        list_kind=kind.list_kind,
        namespaced=kind.namespaced,
        short_names=kind.short_names,
        categories=kind.categories,
        verbs=kind.verbs,
        columns=_columns(kind),
        store=kind.resource,
        field_labels=_field_labels(kind),
        subresources=tuple(subresources),
        schema=kind.schema,
        items_typed=kind.custom,
        deprecation=kind.deprecation,
    )


def _columns(kind: Kind) -> tuple[Column, ...] | None:
    headings = kind.columns
    if headings is None:
        return None
    row = _Row(kind)
    return tuple(
        Column(h.name, row.cell(i), h.type, h.format, "", h.priority) for i, h in enumerate(headings)
    )


def _field_labels(kind: Kind) -> dict[str, Callable[[Object], str]]:
    def getter(name: str) -> Callable[[Object], str]:
        return lambda obj: kind.fields(obj)[name]

    return {name: getter(name) for name in kind.fields({"metadata": {}, "spec": {}})}
