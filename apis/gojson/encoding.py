"""A struct as Go's json.Marshal encodes it: compact, fields in their order, zero values left out."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from apis.gojson.types import ALWAYS, POINTER, Mark

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class _Field(NamedTuple):
    attribute: str
    key: str  # the JSON text of the key, with the colon
    always: bool
    pointer: bool
    zero: str


def marshal(value: Any) -> str:
    """JSON text. Structs are msgspec's; an absent value (None) inside a list or map is ``null``."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, msgspec.Struct):
        return "{" + ",".join(_members(value)) + "}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{marshal(key)}:{marshal(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(marshal, value)) + "]"


def _members(value: msgspec.Struct) -> list[str]:
    members = []
    for field in _fields(type(value)):
        content = getattr(value, field.attribute)
        if content is None or (not field.pointer and _empty(content)):
            if field.always:
                members.append(field.key + (field.zero if content is None else marshal(content)))
            continue
        members.append(field.key + marshal(content))
    return members


def _empty(content: Any) -> bool:
    return not isinstance(content, msgspec.Struct) and not content


@lru_cache(maxsize=256)
def _fields(cls: type[msgspec.Struct]) -> tuple[_Field, ...]:
    found = []
    for field in msgspec.structs.fields(cls):
        marks = _marks(field.type)
        pointer = POINTER in marks
        zero = "null" if pointer else _zero(field.type)
        found.append(_Field(field.name, marshal(field.encode_name) + ":", ALWAYS in marks, pointer, zero))
    return tuple(found)


def _marks(annotation: Any) -> set[Mark]:
    if get_origin(annotation) is not Annotated:
        return set()
    return {mark for mark in annotation.__metadata__ if isinstance(mark, Mark)}


def _zero(annotation: Any) -> str:
    """What stands for an absent field that is always encoded."""
    while get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    for candidate, text in ((bool, "false"), (str, '""'), (int, "0"), (float, "0")):
        if annotation is candidate or candidate in get_args(annotation):
            return text
    return "null"
