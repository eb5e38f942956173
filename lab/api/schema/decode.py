"""Decoding of Kubernetes' own kinds: what the typed decoder of a cluster would keep, drop and refuse.

Unknown fields are dropped and reported by path (fieldValidation decides whether that is an error or a
warning); a value of the wrong type is refused; nulls and empty lists, maps and strings of optional fields
vanish, because the cluster's encoder omits them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from apiserver.documents.schema import DecodeError
from lab.api.schema.notation import Field, FieldType, Type, lookup

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
QUANTITY = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?$")
_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
# optional strings that are pointers in the cluster: "" differs from absent
_KEPT_EMPTY = frozenset(("storageClassName", "loadBalancerClass", "group", "apiGroup", "key"))


def decode(type_name: str, document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document as the kind keeps it, and the paths of fields that the kind does not have."""
    unknown: list[str] = []
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    return _object(lookup(type_name), body, "", unknown), unknown


def _refuse(value: Any, owner: Type, path: str, expected: FieldType) -> DecodeError:
    kind = _JSON_NAMES.get(type(value), "null")
    if kind == "number" and expected.base in ("int32", "int64"):
        kind = f"number {value}"
    return DecodeError(
        f"json: cannot unmarshal {kind} into Go struct field {owner.short}.{path} of type {expected.go()}"
    )


def _object(type_: Type, value: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    fields = type_.fields
    for name, item in value.items():
        field = fields.get(name)
        where = f"{path}.{name}" if path else name
        if field is None:
            unknown.append(where)
            continue
        if item is None:
            continue
        kept = _value(type_, field.type, item, where, unknown)
        if not field.required and _omitted(field, kept):
            continue
        result[name] = kept
    for name, field in fields.items():
        if field.default is not None and name not in result:
            result[name] = field.default
    return result


def _omitted(field: Field, value: Any) -> bool:
    if field.type.container:
        return not value
    return value == "" and field.name not in _KEPT_EMPTY


def _value(owner: Type, type_: FieldType, value: Any, path: str, unknown: list[str]) -> Any:
    if type_.container == "list":
        if not isinstance(value, list):
            raise _refuse(value, owner, path, type_)
        assert type_.inner is not None
        return [_element(owner, type_.inner, item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    if type_.container == "map":
        if not isinstance(value, dict):
            raise _refuse(value, owner, path, type_)
        assert type_.inner is not None
        return {
            key: _element(owner, type_.inner, item, f"{path}.{key}", unknown) for key, item in value.items()
        }
    if type_.is_object:
        if not isinstance(value, dict):
            raise _refuse(value, owner, path, type_)
        return _object(lookup(type_.base), value, path, unknown)
    return _scalar(owner, type_, value, path)


def _element(owner: Type, type_: FieldType, value: Any, path: str, unknown: list[str]) -> Any:
    if value is None:  # Go's decoder leaves the zero value
        if type_.container:
            return {} if type_.container == "map" else []
        if type_.is_object:
            return _object(lookup(type_.base), {}, path, unknown)
        return "" if type_.base not in ("int32", "int64", "float64", "bool", "any") else 0
    return _value(owner, type_, value, path, unknown)


def _scalar(owner: Type, type_: FieldType, value: Any, path: str) -> Any:
    base = type_.base
    if base == "any":
        return value
    if base == "bool":
        if not isinstance(value, bool):
            raise _refuse(value, owner, path, type_)
        return value
    if base in ("int32", "int64"):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        bits = int(base[3:])
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not -(1 << bits - 1) <= value < 1 << bits - 1
        ):
            raise _refuse(value, owner, path, type_)
        return value
    if base == "float64":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refuse(value, owner, path, type_)
        return value
    if base == "intstr":
        return _intstr(owner, type_, value, path)
    if base == "quantity":
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not QUANTITY.match(value):
            raise DecodeError(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            )
        return value
    if not isinstance(value, str):
        raise _refuse(value, owner, path, type_)
    if base in ("time", "microtime") and value and not _TIME.match(value):
        raise DecodeError(
            f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
        )
    if base == "bytes":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError(f"illegal base64 data in field {path}") from None
    return value


def _intstr(owner: Type, type_: FieldType, value: Any, path: str) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError(
            f"json: cannot unmarshal {_JSON_NAMES.get(type(value), 'null')} into Go struct field "
            f"{owner.short}.{path} of type int32"
        )
    if not -(1 << 31) <= value < 1 << 31:
        raise DecodeError(
            f"json: cannot unmarshal number {value} into Go struct field {owner.short}.{path} of type int32"
        )
    return value
