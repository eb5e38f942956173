"""Typed decoding that fails with Go's words.

msgspec does the decoding. Only when it fails is the text read again, value by value in the order of the
document, for the first value that Go would not have taken.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import msgspec

from apis.gojson import syntax
from apis.gojson.errors import GoJSONError
from apis.gojson.types import GoStruct, Named

T = TypeVar("T")

_INT32: Final = (-(2**31), 2**31 - 1)


def unmarshal(text: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The value in the text, as ``kind``. Raises GoJSONError. Unknown fields are ignored, null is absence."""
    decoder: Callable[[bytes | msgspec.Raw], T] = _decoder(kind).decode  # type: ignore[arg-type]
    try:
        return decoder(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Go replaces what is not UTF-8 and goes on.
        raw = bytes(text)
        readable = raw.decode("utf-8", "replace")
        problem = syntax.problem(readable.encode())
        if problem is not None:
            raise GoJSONError(problem) from None
        try:
            document = json.loads(readable, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        except (ValueError, RecursionError):
            raise GoJSONError("exceeded max depth") from None
        found = _mismatch(document, kind, _Place())
        if found is not None:
            raise GoJSONError(found) from None
        try:
            return msgspec.convert(json.loads(readable), kind)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise GoJSONError(f"json: {error}") from None


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class _Number(str):
    """A number as it was written."""


class _Place:
    """Where in the document: the struct that is being filled, and the fields on the way there."""

    __slots__ = ("fields", "struct")

    def __init__(self, struct: str = "", fields: tuple[str, ...] = ()) -> None:
        self.struct = struct
        self.fields = fields

    def message(self, value: str, kind: str) -> str:
        if not self.struct:
            return f"json: cannot unmarshal {value} into Go value of type {kind}"
        where = f"{self.struct}.{'.'.join(self.fields)}"
        return f"json: cannot unmarshal {value} into Go struct field {where} of type {kind}"


def _word(value: Any) -> str:
    if isinstance(value, _Number):
        return "number"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def _mismatch(value: Any, annotation: Any, place: _Place) -> str | None:
    """The first value below that does not fit, in Go's words."""
    if value is None:
        return None
    plain, name = _resolve(annotation)
    if plain is Any or plain is msgspec.Raw:
        return None
    if plain == (int | str):
        if isinstance(value, str) and not isinstance(value, _Number):
            return None
        return _mismatch_int(value, "int32", _INT32, place)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _mismatch_struct(value, plain, name, place)
    origin = get_origin(plain)
    if origin in (list, tuple):
        if not isinstance(value, list):
            return place.message(_word(value), name)
        return _first(_mismatch(item, get_args(plain)[0], place) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            return place.message(_word(value), name)
        return _first(_mismatch(item, get_args(plain)[1], place) for item in value.values())
    if plain is int:
        return _mismatch_int(value, name, _limits(annotation), place)
    if plain is float:
        return None if isinstance(value, _Number) else place.message(_word(value), name)
    wanted = {str: "string", bool: "bool"}.get(plain)
    if wanted is not None and _word(value) != wanted:
        return place.message(_word(value), name)
    return None


def _mismatch_int(value: Any, name: str, limits: tuple[int, int], place: _Place) -> str | None:
    if not isinstance(value, _Number):
        return place.message(_word(value), name)
    try:
        fits = limits[0] <= int(value) <= limits[1]
    except ValueError:  # a fraction, an exponent, or thousands of digits
        fits = False
    return None if fits else place.message(f"number {value}", name)


def _mismatch_struct(value: Any, cls: type[msgspec.Struct], name: str, place: _Place) -> str | None:
    if not isinstance(value, dict):
        return place.message(_word(value), name)
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(cls)}
    return _first(
        _mismatch(item, fields[key], _Place(cls.__name__, (*place.fields, key)))
        for key, item in value.items()
        if key in fields
    )


def _first(found: Any) -> str | None:
    return next((message for message in found if message is not None), None)


def _parts(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without Annotated and ``| None``, and the marks met on the way."""
    marks: list[Any] = []
    while True:
        if get_origin(annotation) is Annotated:
            marks += annotation.__metadata__
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, types.UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) > 1:
                return int | str, marks
            annotation = members[0]
        else:
            return annotation, marks


def _resolve(annotation: Any) -> tuple[Any, str]:
    """The plain Python type and the name of the Go type."""
    plain, marks = _parts(annotation)
    for mark in marks:
        if isinstance(mark, Named):
            return plain, mark.name
    origin = get_origin(plain)
    if origin in (list, tuple):
        return plain, "[]" + _resolve(get_args(plain)[0])[1]
    if origin is dict:
        return plain, "map[string]" + _resolve(get_args(plain)[1])[1]
    if isinstance(plain, type) and issubclass(plain, GoStruct):
        return plain, f"{plain.package}.{plain.__name__}"
    if plain is int:
        return plain, "int64" if _limits(annotation)[1] > _INT32[1] else "int32"
    return plain, {str: "string", bool: "bool", float: "float64"}.get(plain, getattr(plain, "__name__", "?"))


def _limits(annotation: Any) -> tuple[int, int]:
    _, marks = _parts(annotation)
    for mark in marks:
        if isinstance(mark, msgspec.Meta) and mark.le is not None and mark.ge is not None:
            return int(mark.ge), int(mark.le)
    return _INT32
