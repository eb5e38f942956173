"""Words for OpenAPI v3 schemas, as CustomResourceDefinitions hold them (apiextensions.k8s.io/v1).

A schema is a dict ready to be written as YAML. Every word takes the description that ``kubectl explain``
shows, then the rules of its kind; keyword arguments are JSON Schema's own keywords. Each call gives a new
dict, so that a shape used twice can be changed in one place without the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]


class Required(dict[str, Any]):
    """The schema of a field without which its parent is refused. Only ``record`` tells it from another."""


def required(schema: Schema) -> Required:
    return Required(schema)


def string(description: str, **rules: Any) -> Schema:
    return {"description": description, "type": "string", **rules}


def boolean(description: str, **rules: Any) -> Schema:
    return {"description": description, "type": "boolean", **rules}


def integer(description: str, low: int | None = None, high: int | None = None, **rules: Any) -> Schema:
    """Bounds are inclusive."""
    bounds = {key: value for key, value in (("minimum", low), ("maximum", high)) if value is not None}
    return {"description": description, "type": "integer", **bounds, **rules}


def int32(description: str, low: int | None = None, high: int | None = None, **rules: Any) -> Schema:
    return integer(description, low, high, format="int32", **rules)


def int_or_string(description: str, **rules: Any) -> Schema:
    return {"description": description, "x-kubernetes-int-or-string": True, **rules}


def choice(description: str, *values: str | int, **rules: Any) -> Schema:
    """One of a few values, in the order in which the refusal of another lists them."""
    kind = "string" if isinstance(values[0], str) else "integer"
    return {"description": description, "type": kind, "enum": list(values), **rules}


def record(description: str, fields: Mapping[str, Schema] | None = None, **rules: Any) -> Schema:
    """An object with known fields. Those it does not know are pruned."""
    schema: Schema = {"description": description, "type": "object", **rules}
    needed = [name for name, field in (fields or {}).items() if isinstance(field, Required)]
    if needed:
        schema["required"] = needed
    if fields:
        schema["properties"] = {name: dict(field) for name, field in fields.items()}
    return schema


def mapping(description: str, values: Schema) -> Schema:
    """An object with any keys."""
    return {"description": description, "type": "object", "additionalProperties": values}


def items(description: str, each: Schema, **rules: Any) -> Schema:
    """A list. Server-side apply replaces it as a whole, unless ``rules`` say x-kubernetes-list-type."""
    return {"description": description, "type": "array", **rules, "items": each}


def strings(description: str, **rules: Any) -> Schema:
    return items(description, {"type": "string", **rules})


def present(*names: str) -> Schema:
    return {"required": list(names)}


def one_of(*alternatives: str | Sequence[str] | Schema) -> Schema:
    """``**one_of("http", "tls")``: exactly one of the alternatives, each a field or several of them."""
    return {"oneOf": [_alternative(each) for each in alternatives]}


def any_of(*alternatives: str | Sequence[str] | Schema) -> Schema:
    return {"anyOf": [_alternative(each) for each in alternatives]}


def _alternative(each: str | Sequence[str] | Schema) -> Schema:
    if isinstance(each, dict):
        return each
    return present(each) if isinstance(each, str) else present(*each)


def cel(*rules: tuple[str, str]) -> Schema:
    """``**cel((rule, message))``: rules in the Common Expression Language."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}
