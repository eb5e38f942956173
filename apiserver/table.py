"""Objects as rows: the Table form in which kubectl prints what it knows nothing about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver.errors import bad_request
from apiserver.resources import Column, Object, ResourceInfo

_NAME_DESCRIPTION = (
    "The name of the object, unique among those of its kind in its namespace; set when it is created, by the "
    "client or by the server from generateName."
)


def _created(document: Object) -> Any:
    return document["metadata"].get("creationTimestamp") or "0001-01-01T00:00:00Z"


DEFAULT_COLUMNS = (
    Column(
        "Name", lambda document: document["metadata"].get("name", ""), "string", "name", _NAME_DESCRIPTION
    ),
    Column("Created At", _created, "date", "", "When the object was created, by the clock of the server."),
)


def include_object(query_value: str) -> str:
    """The value of ?includeObject; Metadata unless said otherwise. Raises BadRequest."""
    if query_value in ("", "Metadata"):
        return "Metadata"
    if query_value in ("Object", "None"):
        return query_value
    raise bad_request(
        f'Unable to convert to Table as requested: includeObject: Invalid value: "{query_value}": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )


def definitions(info: ResourceInfo) -> list[Object]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in (info.columns or DEFAULT_COLUMNS)
    ]


def partial(document: Object) -> Object:
    """The object's metadata as a PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document.get("metadata", {}),
    }


def row(info: ResourceInfo, document: Object, include: str) -> Object:
    """One row. A column whose cell cannot be computed from this object is left empty, not the whole list."""
    cells: list[Any] = []
    for column in info.columns or DEFAULT_COLUMNS:
        try:
            cells.append(column.value(document))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            cells.append("<none>" if column.type == "string" else None)
    if include == "None":
        return {"cells": cells, "object": None}
    return {"cells": cells, "object": document if include == "Object" else partial(document)}


def table(
    info: ResourceInfo,
    documents: Iterable[Object],
    include: str,
    metadata: Object,
    version: str = "v1",
    with_columns: bool = True,
) -> Object:
    rows: list[Object] | None = [row(info, document, include) for document in documents]
    if not rows and info.columns is None:
        rows = None  # as the default convertor of the API machinery has it
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": definitions(info) if with_columns else None,
        "rows": rows,
    }
