"""Validation of a value against a structural schema, with kube-apiserver's words.

Written out instead of handed to a JSON-schema library: the messages are part of the API (field paths, "in
body should match '…'"), the formats are Kubernetes' own, and a value is walked once.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from lab.api.custom import patterns

Schema = dict[str, Any]


def _is_ip(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _is_time(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return bool(re.match(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", text))


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


# By RE2, because numbers may be as long as a client likes.
_GO_DURATION = r"^[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$"
_SPOKEN_DURATION = (  # "2 days", and any text that has one in it
    r"(?i)\d\s*(ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)([^a-z]|$)"
    r"|\d\s*(nano|micro|milli|sec|min|hour|day|week)"
)


def _is_duration(text: str) -> bool:
    return patterns.matches(_GO_DURATION, text) or patterns.matches(_SPOKEN_DURATION, text)


_HOST = re.compile(
    r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$"
)
_FORMATS: dict[str, Callable[[str], bool]] = {
    "ipv4": _is_ip(4),
    "ipv6": _is_ip(6),
    "cidr": _is_cidr,
    "date-time": _is_time,
    "date": _is_date,
    "uuid": _is_uuid,
    "byte": _is_base64,
    "duration": _is_duration,
    "hostname": lambda text: bool(_HOST.match(text)) and len(text) <= 255,
    "email": lambda text: bool(re.match(r"^[^@\s]+@[^@\s]+$", text)),
    "uri": lambda text: bool(re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*:", text)),
    "mac": lambda text: bool(re.match(r"^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$", text)),
}
_RANGES = {"int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _fits(actual: str, wanted: str, value: Any) -> bool:
    if actual == wanted or (wanted == "number" and actual == "integer"):
        return True
    return wanted == "integer" and actual == "number" and float(value).is_integer()


def validate(schema: Schema, value: Any, path: str, errors: FieldErrors) -> None:
    """Adds what is wrong with the value; paths are those of Kubernetes (`spec.a[0].b`)."""
    if value is None and schema.get("nullable"):
        return
    actual = _type_of(value)
    wanted = schema.get("type", "")
    if schema.get("x-kubernetes-int-or-string"):
        if actual not in ("integer", "string"):
            errors.type_invalid(path, actual, f'{path} in body must be of type integer,string: "{actual}"')
            return
    elif wanted and not _fits(actual, wanted, value):
        errors.type_invalid(path, actual, f'{path} in body must be of type {wanted}: "{actual}"')
        return
    _validate_enum(schema, value, path, errors)
    if actual == "string":
        _validate_string(schema, value, path, errors)
    elif actual in ("integer", "number"):
        _validate_number(schema, value, path, errors)
    elif actual == "array":
        _validate_array(schema, value, path, errors)
    elif actual == "object":
        _validate_object(schema, value, path, errors)
    _validate_combinations(schema, value, path, errors)


def _validate_enum(schema: Schema, value: Any, path: str, errors: FieldErrors) -> None:
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        shown = [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
        errors.not_supported(path, value, shown)


def _validate_string(schema: Schema, value: str, path: str, errors: FieldErrors) -> None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    pattern = schema.get("pattern")
    if longest is not None and len(value) > longest:  # of these three only the first is told
        errors.too_long(path, longest)
    elif shortest is not None and len(value) < shortest:
        errors.invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    elif pattern and not patterns.matches(pattern, value):
        errors.invalid(path, value, f"{path} in body should match '{pattern}'")
    check = _FORMATS.get(schema.get("format", ""))
    if check is not None and not check(value):
        errors.type_invalid(path, value, f'{path} in body must be of type {schema["format"]}: "{value}"')


def _validate_number(schema: Schema, value: float, path: str, errors: FieldErrors) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        words = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        errors.invalid(
            path,
            value,
            f"{path} in body should be {words} {low:g}"
            if _short(low)
            else f"{path} in body should be {words} {low}",
        )
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        words = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        errors.invalid(
            path,
            value,
            f"{path} in body should be {words} {high:g}"
            if _short(high)
            else f"{path} in body should be {words} {high}",
        )
    step = schema.get("multipleOf")
    if step and value % step:
        errors.invalid(path, value, f"{path} in body should be a multiple of {step:g}")
    limits = _RANGES.get(schema.get("format", ""))
    if limits is not None and schema.get("type") == "integer" and not limits[0] <= value <= limits[1]:
        words = f"Checked value must be of type integer with format {schema['format']} in {path}"
        errors.invalid(path, value, words)


def _short(number: float) -> bool:
    return isinstance(number, float) or abs(number) < 100000


def _validate_array(schema: Schema, value: list[Any], path: str, errors: FieldErrors) -> None:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        errors.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        errors.invalid(path, len(value), f"{path} in body should have at least {least} items")
    items = schema.get("items")
    if isinstance(items, dict):
        for i, item in enumerate(value):
            validate(items, item, f"{path}[{i}]", errors)
    _validate_distinct(schema, value, path, errors)


def _validate_distinct(schema: Schema, value: list[Any], path: str, errors: FieldErrors) -> None:
    kind = schema.get("x-kubernetes-list-type")
    seen: set[str] = set()
    for i, item in enumerate(value):
        if kind == "set":
            key: Any = item
        elif kind == "map" and isinstance(item, dict):
            names = schema.get("x-kubernetes-list-map-keys", ())
            properties = (schema.get("items") or {}).get("properties", {})
            key = {name: item.get(name, properties.get(name, {}).get("default")) for name in names}
        else:
            continue
        text = json.dumps(key, sort_keys=True)
        if text in seen:
            errors.duplicate(f"{path}[{i}]", key)
        seen.add(text)


def _validate_object(schema: Schema, value: dict[str, Any], path: str, errors: FieldErrors) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            errors.required(f"{path}.{name}" if path else name)
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        errors.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        errors.invalid(path, len(value), f"{path} in body should have at least {least} properties")
    properties = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            validate(properties[name], item, f"{path}.{name}" if path else name, errors)
        elif isinstance(additional, dict):
            validate(additional, item, f"{path}.{name}" if path else name, errors)


def _valid(schema: Schema, value: Any, path: str) -> bool:
    errors = FieldErrors()
    validate(schema, value, path, errors)
    return not errors


def _nearest(alternatives: list[Schema]) -> Schema:
    """kube-apiserver takes the one that most kinds of checks apply to, the first among equals. A format is a
    kind of its own; other differences have not been needed."""
    return max(alternatives, key=lambda part: "format" in part)


def _validate_combinations(schema: Schema, value: Any, path: str, errors: FieldErrors) -> None:
    """Where no alternative fits, what the nearest one lacks is told as well."""
    for part in schema.get("allOf", ()):
        validate(part, value, path, errors)
    choices = schema.get("anyOf")
    if choices and not any(_valid(part, value, path) for part in choices):
        errors.invalid("<nil>", "", f'"{path}" must validate at least one schema (anyOf)')
        validate(_nearest(choices), value, path, errors)
    choices = schema.get("oneOf")
    if choices:
        count = sum(_valid(part, value, path) for part in choices)
        if count != 1:
            found = "none valid" if count == 0 else f"{count} valid alternatives"
            errors.invalid(
                "<nil>", "", f'"{path}" must validate one and only one schema (oneOf). Found {found}'
            )
        if count == 0:
            validate(_nearest(choices), value, path, errors)
    refused = schema.get("not")
    if refused and _valid(refused, value, path):
        errors.invalid("<nil>", "", f'"{path}" must not validate the schema (not)')
