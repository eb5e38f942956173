"""Reads documents by a schema: what is kept, what has no place, and what has the wrong type.

The schema is a kind's own (OpenAPI v3), or that of a built-in kind out of the table of their fields; metadata
is the same for all. Of a kind of which nothing is known the rest is kept as it is written. kube-apiserver
tells the two failures apart: an unknown field is dropped and reported (?fieldValidation decides), a value of
another type is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from apis.meta import builtin_schema

_TYPE_META = frozenset({"kind", "apiVersion", "metadata"})
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


class DecodeError(Exception):
    """A value that the kind's decoder cannot take; the text is the decoder's sentence."""


def decode(
    document: Mapping[str, Any], schema: Mapping[str, Any] | None, api_version: str, kind: str
) -> tuple[dict[str, Any], list[str]]:
    """The document as it is kept, and the paths of the fields that the schema has no place for.

    Raises DecodeError for values of the wrong type.
    """
    body = copy.deepcopy({k: v for k, v in document.items() if k not in ("kind", "apiVersion")})
    metadata = body.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise DecodeError("metadata must be an object")
    unknown = list(_unknown(builtin_schema.definition("meta.ObjectMeta"), metadata, "metadata"))
    for name in [name for name, value in metadata.items() if value in ({}, [], "")]:
        del metadata[name]  # as Go's omitempty leaves it out
    message = builtin_schema.message_of(api_version, kind) if schema is None else None
    if message is not None:
        schema = builtin_schema.definition(message)
    if schema is not None:
        unknown += _unknown(schema, body, "", True)
    return body, unknown


def _unknown(schema: Mapping[str, Any], value: Any, path: str, top: bool = False) -> Iterator[str]:
    """Paths of fields without a place; they are removed from ``value``, and nulls with them."""
    if "$ref" in schema:
        schema = builtin_schema.resolve(str(schema["$ref"]))
    _check_type(schema, value, path)
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for index, item in enumerate(value):
                yield from _unknown(items, item, f"{path}[{index}]")
        return
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    if not properties and additional is None:
        return
    for key in list(value):
        where = f"{path}.{key}" if path else key
        if top and key in _TYPE_META:
            continue
        known = properties.get(key, additional)
        if not known:
            del value[key]
            yield where
        elif value[key] is None:
            if not (isinstance(known, Mapping) and known.get("nullable")):
                del value[key]
        elif isinstance(known, Mapping):
            yield from _unknown(known, value[key], where)


def _check_type(schema: Mapping[str, Any], value: Any, path: str) -> None:
    wanted = str(schema.get("type", ""))
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, int | str | float) and not isinstance(value, bool)
        wanted = "integer or string"
    elif wanted not in _TYPES or value is None:
        return
    else:
        fits = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
        if wanted == "integer" and isinstance(value, float) and value.is_integer():
            fits = True
    if not fits:
        raise DecodeError(f"{path or 'the object'} must be of type {wanted}, not {type(value).__name__}")
