"""OpenAPI v2's schemas in protobuf (gnostic's openapi.v2.Document), the only form that kubectl reads of v2.

It does so to check a List before it sends the items. Paths and the limits of values are left out: they are in
the JSON document, and the server holds to them what it receives.
"""

from __future__ import annotations

import msgspec

from apis.envelope import varint
from apiserver.resources import Object

ACCEPTED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # a media type has no @
_TEXTS = (("$ref", 1), ("format", 2), ("title", 3), ("description", 4))


def document(made: Object) -> bytes:
    """The v2 document ``made``, as gnostic's message."""
    info = _text(1, made["info"]["title"]) + _text(2, made["info"]["version"])
    return _text(1, made["swagger"]) + _field(2, info) + _field(8, b"") + _named(9, made["definitions"])


def _field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _named(number: int, schemas: Object) -> bytes:
    entries = (_field(1, _text(1, name) + _field(2, _schema(inner))) for name, inner in schemas.items())
    return _field(number, b"".join(entries))


def _schema(schema: Object) -> bytes:
    parts = [_text(number, schema[key]) for key, number in _TEXTS if key in schema]
    parts += [_text(19, name) for name in schema.get("required", ())]
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        parts.append(_field(21, _field(1, _schema(additional))))
    elif additional is not None:
        parts.append(_field(21, b"\x10" + varint(bool(additional))))
    if "type" in schema:
        parts.append(_field(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_field(23, _field(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_named(25, schema["properties"]))
    for key, value in schema.items():
        if key.startswith("x-"):
            said = _text(2, msgspec.json.encode(value).decode())  # JSON is YAML
            parts.append(_field(31, _text(1, key) + _field(2, said)))
    return b"".join(parts)
