"""Kubernetes' built-in kinds out of their protobuf form, by a table of fields
(openapi/kubernetes/fields.json).

Some commands of kubectl (``create namespace``, ``create configmap``, ``auth can-i``) send protobuf and
nothing else, so a server of these kinds has to read it. It is the client's way in only: answers are JSON,
which every client takes.
"""

from __future__ import annotations

import base64
import functools
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from apis.envelope import EnvelopeError, fields, read_varint
from apis.meta.convert import ConvertError, time_text

_MAX_DEPTH = 64
Row = tuple[str, str]


@functools.cache
def _table() -> tuple[dict[str, str], dict[str, dict[int, Row]]]:
    """(kind → message, message → number → (JSON name, type)), read when first needed."""
    text = resources.files("openapi.kubernetes").joinpath("fields.json").read_text()
    table = json.loads(text)
    messages = {name: {row[0]: (row[1], row[2]) for row in rows} for name, rows in table["messages"].items()}
    return table["kinds"], messages


def knows(api_version: str, kind: str) -> bool:
    return f"{api_version}/{kind}" in _table()[0]


def decode(api_version: str, kind: str, message: bytes) -> dict[str, Any]:
    """The object in JSON form, without kind and apiVersion. Raises ConvertError."""
    kinds, _ = _table()
    name = kinds.get(f"{api_version}/{kind}")
    if name is None:
        raise ConvertError(f'no protobuf form is known for kind "{kind}" in version "{api_version}"')
    try:
        return _message(name, message, 0)
    except (EnvelopeError, UnicodeDecodeError, ValueError, struct.error, OverflowError, OSError) as error:
        raise ConvertError(f"not a {kind} message: {error}") from error


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ConvertError("a message is nested too deeply")
    rows = _table()[1][name]
    out: dict[str, Any] = {}
    for number, raw in fields(data):
        row = rows.get(number)
        if row is None:
            continue
        key, kind = row
        if kind.startswith("<"):
            if isinstance(raw, bytes):
                out.update(_message(kind[1:], raw, depth + 1))
        elif kind.startswith("[]"):
            out.setdefault(key, []).extend(_repeated(kind[2:], raw, depth))
        elif kind.startswith("{}"):
            entry = dict(fields(raw)) if isinstance(raw, bytes) else {}
            item = entry.get(2, 0 if kind == "{}int" else b"")
            out.setdefault(key, {})[_text(entry.get(1, b""))] = _value(kind[2:], item, depth)
        elif kind.startswith("*"):
            out[key] = _value(kind[1:], raw, depth)
        else:
            value = _value(kind, raw, depth)
            if value or isinstance(value, dict):  # what is no pointer is not there when it is zero
                out[key] = value
    return out


def _repeated(kind: str, raw: int | bytes, depth: int) -> list[Any]:
    if kind == "int" and isinstance(raw, bytes):  # packed
        values, at = [], 0
        while at < len(raw):
            number, at = read_varint(raw, at)
            values.append(_signed(number))
        return values
    return [_value(kind, raw, depth)]


def _text(raw: int | bytes) -> str:
    if not isinstance(raw, bytes):
        raise ConvertError("a string field does not hold a string")
    return raw.decode()


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _value(kind: str, raw: int | bytes, depth: int) -> Any:
    if kind == "string":
        return _text(raw)
    if isinstance(raw, int):
        if kind == "bool":
            return bool(raw)
        if kind == "int":
            return _signed(raw)
        raise ConvertError(f"a number stands where {kind} is expected")
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    if kind == "double":
        return struct.unpack("<d", raw)[0]
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(dict(fields(raw)))
    if kind in ("int", "bool"):
        raise ConvertError(f"bytes stand where {kind} is expected")
    if kind == "meta.Strings":
        return [_text(item) for number, item in fields(raw) if number == 1]
    return _message(kind, raw, depth + 1)


def _time(values: dict[int, Any]) -> str | None:
    seconds = _signed(values.get(1, 0))
    return time_text(seconds) if seconds else None


def _micro(values: dict[int, Any]) -> str | None:
    seconds = _signed(values.get(1, 0))
    micros = values.get(2, 0) // 1000
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros:06d}Z"


def _quantity(values: dict[int, Any]) -> str:
    return _text(values.get(1, b""))


def _int_or_string(values: dict[int, Any]) -> int | str:
    return _text(values.get(3, b"")) if values.get(1) else _signed(values.get(2, 0))


def _raw(values: dict[int, Any]) -> Any:
    return json.loads(values.get(1) or b"null")


_SPECIAL: dict[str, Callable[[dict[int, Any]], Any]] = {
    "time": _time,
    "micro": _micro,
    "quantity": _quantity,
    "intstr": _int_or_string,
    "raw": _raw,
    "fields": _raw,
    "duration": lambda values: f"{_signed(values.get(1, 0)) / 1e9}s",
}


class BuiltinCodec:
    """Decodes the kinds of one group version; encoding is not offered."""

    def __init__(self, api_version: str) -> None:
        self._api_version = api_version

    def decode(self, kind: str, message: bytes) -> dict[str, Any]:
        return decode(self._api_version, kind, message)

    def encode(self, kind: str, document: dict[str, Any]) -> bytes:
        raise ConvertError(f"{kind} is not written in protobuf")
