"""Whether a JSON object fits the OpenAPI schema of its kind: unknown fields, and the first wrong type.

The words are those of Go's decoder, in which the API machinery's clients know such refusals:
``json: cannot unmarshal string into Go struct field NetworkPolicyStatus.nodes of type …``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apis.meta import builtin_schema
from apiserver.resources import Object

Schema = Mapping[str, Any]
Definitions = Mapping[str, Schema]

_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_NUMBERS = (*_INTEGERS, "float64")
_MANY = 100  # unknown fields that are named


class Misfit(ValueError):
    """A value of a type that its field does not have."""


@dataclass(slots=True)
class _Place:
    """Where in the object a value stands: the Go type around it, and the path from the top."""

    struct: str
    path: str = ""  # of fields, without indexes
    shown: str = ""  # as unknown fields are named

    def wrong(self, value: Any, type_name: str) -> Misfit:
        where = f"Go struct field {self.struct}.{self.path}" if self.path else "Go value"
        shown = named(value)
        if shown == "number" and type_name in _NUMBERS:  # a number, but none of this type
            shown += f" {value}"
        return Misfit(f"json: cannot unmarshal {shown} into {where} of type {type_name}")


@dataclass(slots=True)
class Fitting:
    """Checks objects of the kinds in ``definitions``; references that are not in it are Kubernetes' own."""

    definitions: Definitions
    unknown: list[str] = field(default_factory=list)

    def check(self, name: str, document: Object) -> None:
        """Notes unknown fields in ``unknown``. Raises Misfit for the first value of a wrong type."""
        self._object(self._resolve(name), document, _Place(_type_of(name).partition(".")[2]))

    def _resolve(self, name: str) -> Schema:
        found = self.definitions.get(name)
        return found if found is not None else builtin_schema.resolve(builtin_schema.REF + name)

    def _object(self, schema: Schema, document: Object, place: _Place) -> None:
        properties = schema.get("properties")
        for key, value in document.items():
            path = f"{place.path}.{key}" if place.path else key
            shown = f"{place.shown}.{key}" if place.shown else key
            if properties is None:
                inner = schema.get("additionalProperties")
                path = place.path  # a map's keys are no fields
            else:
                inner = properties.get(key)
                if inner is None and len(self.unknown) < _MANY:
                    self.unknown.append(shown)
            if isinstance(inner, Mapping) and value is not None:
                self._value(inner, value, _Place(place.struct, path, shown))

    def _value(self, schema: Schema, value: Any, place: _Place) -> None:
        if "allOf" in schema:
            schema = schema["allOf"][0]
        reference = schema.get("$ref")
        if reference is not None:
            name = str(reference).removeprefix(builtin_schema.REF)
            if not isinstance(value, dict):
                raise place.wrong(value, _type_of(name))
            struct = _type_of(name).partition(".")[2]
            self._object(self._resolve(name), value, _Place(struct, place.path, place.shown))
            return
        _CHECKS.get(schema.get("type", ""), _anything)(self, schema, value, place)

    def array(self, schema: Schema, value: Any, place: _Place) -> None:
        if not isinstance(value, list):
            raise place.wrong(value, _go_type(schema))
        for index, item in enumerate(value):
            if item is not None:
                self._value(
                    schema["items"], item, _Place(place.struct, place.path, f"{place.shown}[{index}]")
                )

    def object(self, schema: Schema, value: Any, place: _Place) -> None:
        if not isinstance(value, dict):
            raise place.wrong(value, _go_type(schema))
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            self._object(schema, value, place)


def _anything(fitting: Fitting, schema: Schema, value: Any, place: _Place) -> None:
    return


def _string(fitting: Fitting, schema: Schema, value: Any, place: _Place) -> None:
    kind = schema.get("format", "")
    if kind == "int-or-string":
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise place.wrong(value, "int32")
        return
    if not isinstance(value, str):
        raise place.wrong(value, _go_type(schema))
    if kind == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Misfit(f"illegal base64 data in {place.struct}.{place.path}") from None
    elif kind == "date-time" and value:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            words = f'parsing time "{value[:64]}" as "2006-01-02T15:04:05Z07:00": it is no such time'
            raise Misfit(words) from None


def _integer(fitting: Fitting, schema: Schema, value: Any, place: _Place) -> None:
    type_name = _go_type(schema)
    low, high = _INTEGERS[type_name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise place.wrong(value, type_name)


def _number(fitting: Fitting, schema: Schema, value: Any, place: _Place) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.wrong(value, "float64")


def _boolean(fitting: Fitting, schema: Schema, value: Any, place: _Place) -> None:
    if not isinstance(value, bool):
        raise place.wrong(value, "bool")


_CHECKS: dict[str, Callable[[Fitting, Schema, Any, _Place], None]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": Fitting.array,
    "object": Fitting.object,
}


def named(value: Any) -> str:
    """A JSON value as Go names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _type_of(definition: str) -> str:
    """``io.antrea.controlplane.v1beta2.NodeReference`` → ``v1beta2.NodeReference``."""
    return ".".join(definition.rsplit(".", 2)[1:])


def _go_type(schema: Schema) -> str:
    if "allOf" in schema:
        schema = schema["allOf"][0]
    if "$ref" in schema:
        return _type_of(schema["$ref"])
    kind = schema.get("type", "")
    if kind == "array":
        return "[]" + _go_type(schema["items"])
    if kind == "string":
        return {"byte": "[]uint8", "date-time": "v1.Time"}.get(schema.get("format", ""), "string")
    if kind == "integer":
        return str(schema.get("format") or "int64")
    if kind == "object":
        return "map[string]" + _go_type(schema.get("additionalProperties") or {"type": "string"})
    return {"number": "float64", "boolean": "bool"}.get(kind, "interface {}")
