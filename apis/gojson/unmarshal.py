"""Typed decoding that fails with Go's words.

msgspec does the decoding. Only when it fails is the text read again, value by value in the order of the
document, for the first value that Go would not have taken.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from apis.gojson import syntax
from apis.gojson.errors import GoJSONError
from apis.gojson.types import GoStruct, Named

T = TypeVar("T")

# To read a text a second time, as untyped data, holds the interpreter for as long as there are values in it.
# A long one is read if it has the values of an object, not of somebody who wants to keep others waiting.
_BYTES_PER_VALUE: Final = 6
_INT32: Final = (-(2**31), 2**31 - 1)


def unmarshal(text: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The value in the text, as ``kind``. Raises GoJSONError. Unknown fields are ignored, null is absence."""
    wanted: Any = kind
    decoder: Callable[[bytes | msgspec.Raw], T] = _decoder(wanted).decode
    try:
        return decoder(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raw = bytes(text)
        if len(raw) > syntax.LONGEST and (
            not isinstance(error, msgspec.ValidationError) or raw.count(b",") * _BYTES_PER_VALUE > len(raw)
        ):
            raise GoJSONError(f"json: {error}") from None
        # Go replaces what is not UTF-8 and goes on.
        readable = raw.decode("utf-8", "replace").encode()
        problem = syntax.problem(readable) or _misfit(readable, kind)
        if problem is None:
            try:
                return msgspec.convert(_filled(msgspec.json.decode(readable), _shape(wanted)), kind)
            except (msgspec.MsgspecError, RecursionError):
                problem = f"json: {error}"
        raise GoJSONError(problem) from None


def _misfit(readable: bytes, kind: Any) -> str | None:
    """What Go would say of JSON that could not be decoded."""
    try:
        return _mismatch(_LOOSE.decode(readable), _shape(kind), _Place())
    except RecursionError:
        return "exceeded max depth"
    except msgspec.MsgspecError:
        return None


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class _Number(str):
    """A number that is no integer, as it was written."""


_LOOSE: Final = msgspec.json.Decoder(float_hook=_Number)


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
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float | _Number):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


class _Shape(NamedTuple):
    """A type as the search for a mismatch needs it."""

    kind: str  # any, struct, array, map, integer, number, intstr, string, bool
    name: str  # of the Go type
    limits: tuple[int, int] = _INT32
    inner: Any = None  # the annotation of what an array or map holds, or the struct's class


def _mismatch(value: Any, shape: _Shape, place: _Place) -> str | None:
    """The first value below that does not fit, in Go's words."""
    if value is None or shape.kind == "any":
        return None
    word = _word(value)
    if shape.kind == "intstr":
        if word == "string":
            return None
        shape = _Shape("integer", "int32")
    if shape.kind == "integer":
        if word == "number" and not (isinstance(value, int) and shape.limits[0] <= value <= shape.limits[1]):
            word = f"number {value}"
        return None if word == "number" else place.message(word, shape.name)
    if word != _WORDS[shape.kind]:
        return place.message(word, shape.name)
    if shape.kind == "struct":
        fields = _fields(shape.inner)
        inner = (
            _mismatch(item, fields[key], _Place(shape.inner.__name__, (*place.fields, key)))
            for key, item in value.items()
            if key in fields
        )
    elif shape.kind in ("array", "map"):
        item_shape = _shape(shape.inner)
        items = value if shape.kind == "array" else value.values()
        inner = (_mismatch(item, item_shape, place) for item in items)
    else:
        return None
    return next((message for message in inner if message is not None), None)


_WORDS: Final = {
    "struct": "object", "map": "object", "array": "array", "number": "number", "string": "string",
    "bool": "bool",
}  # fmt: skip


_ZEROES: Final[dict[str, Any]] = {
    "struct": {}, "map": {}, "array": [], "number": 0.0, "integer": 0, "intstr": 0, "string": "",
    "bool": False,
}  # fmt: skip


def _filled(value: Any, shape: _Shape) -> Any:
    """With zero values where lists and maps hold null, as Go fills them."""
    if shape.kind == "struct" and isinstance(value, dict):
        fields = _fields(shape.inner)
        return {key: _filled(item, fields[key]) for key, item in value.items() if key in fields}
    if shape.kind in ("array", "map") and isinstance(value, list | dict):
        inner = _shape(shape.inner)
        zero = _ZEROES.get(inner.kind)
        if isinstance(value, list):
            return [zero if item is None else _filled(item, inner) for item in value]
        return {key: zero if item is None else _filled(item, inner) for key, item in value.items()}
    return value


@lru_cache(maxsize=1024)
def _fields(cls: type[msgspec.Struct]) -> dict[str, _Shape]:
    return {field.encode_name: _shape(field.type) for field in msgspec.structs.fields(cls)}


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


@lru_cache(maxsize=4096)
def _shape(annotation: Any) -> _Shape:
    plain, marks = _parts(annotation)
    named = next((mark.name for mark in marks if isinstance(mark, Named)), "")
    if plain == (int | str):
        return _Shape("intstr", named)
    origin = get_origin(plain)
    if origin in (list, tuple):
        item = get_args(plain)[0]
        return _Shape("array", named or "[]" + _shape(item).name, inner=item)
    if origin is dict:
        item = get_args(plain)[1]
        return _Shape("map", named or "map[string]" + _shape(item).name, inner=item)
    if isinstance(plain, type) and issubclass(plain, GoStruct):
        return _Shape("struct", named or f"{plain.package}.{plain.__name__}", inner=plain)
    if plain is int:
        limits = next(
            (
                (int(mark.ge), int(mark.le))
                for mark in marks
                if isinstance(mark, msgspec.Meta) and mark.ge is not None and mark.le is not None
            ),
            _INT32,
        )
        return _Shape("integer", named or ("int64" if limits[1] > _INT32[1] else "int32"), limits)
    for candidate, kind, name in (
        (str, "string", "string"),
        (bool, "bool", "bool"),
        (float, "number", "float64"),
    ):
        if plain is candidate:
            return _Shape(kind, named or name)
    return _Shape("any", named)
