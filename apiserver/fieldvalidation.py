"""Fields that a schema does not know: dropped with a warning, refused, or ignored, as ?fieldValidation
says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apis.meta import builtin_schema
from apiserver import errors
from apiserver.resources import Object, ResourceInfo
from apiserver.strategy import Operation

_TYPE_META = frozenset({"kind", "apiVersion", "metadata"})


def unknown_fields(schema: Mapping[str, Any], value: Any, path: str = "", top: bool = True) -> Iterator[str]:
    """Paths of fields that the schema has no place for; they are removed from ``value``."""
    if "$ref" in schema:
        schema = builtin_schema.resolve(str(schema["$ref"]))
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for index, item in enumerate(value):
                yield from unknown_fields(items, item, f"{path}[{index}]", False)
        return
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties = schema.get("properties")
    additional = schema.get("additionalProperties")
    if properties is None:
        if isinstance(additional, Mapping):
            for key, item in value.items():
                yield from unknown_fields(additional, item, f"{path}.{key}" if path else key, False)
        return
    for key in list(value):
        where = f"{path}.{key}" if path else key
        if top and key in _TYPE_META:
            continue
        known = properties.get(key)
        if known is not None:
            yield from unknown_fields(known, value[key], where, False)
        elif not additional:
            del value[key]
            yield where


def check_unknown_fields(info: ResourceInfo, document: Object, op: Operation) -> None:
    """Removes unknown fields. Raises BadRequest with Strict, warns with Warn."""
    schema = info.schema
    if schema is None:
        message = builtin_schema.message_of(info.api_version, info.kind)
        if message is None:
            return
        schema = builtin_schema.definition(message)
    found = [f'unknown field "{path}"' for path in unknown_fields(schema, document)]
    if not found:
        return
    if op.field_validation == "Strict":
        raise errors.bad_request(
            f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: '
            "strict decoding error: " + ", ".join(found)
        )
    if op.field_validation != "Ignore":
        op.warnings += found
