"""Configuration files: YAML into a typed structure, or a sentence that says what to correct.

A file's shape is a ``msgspec.Struct`` with ``rename="camel"`` (see ``Section``). A key that is not in the
structure, a value of the wrong type, a key written twice and malformed YAML each raise ConfigurationError
naming key and file. A key that upstream knows and this project gives no effect is annotated with ``Inert``:
it is accepted, type and all, and reported once by ``load``.
"""

from __future__ import annotations

import difflib
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from runtime.errors import ConfigurationError


class Section(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A mapping in a configuration file; field names are snake_case here and camelCase there."""


T = TypeVar("T", bound=Section)
_INERT = msgspec.Meta(extra={"inert": True})
Value = TypeVar("Value")

Inert = Annotated[Value, _INERT]
"""``key: Inert[str] = ""``: accepted, checked for its type, and without effect."""


class Loaded(typing.Generic[T]):
    """A configuration and the keys in the file that have no effect, as dotted paths."""

    def __init__(self, value: T, inert: list[str]) -> None:
        self.value = value
        self.inert = inert

    def inert_sentence(self, path: str) -> str | None:
        """One line for the log, or None."""
        if not self.inert:
            return None
        return f"{path} sets keys that are known but have no effect in antrea-py: {', '.join(self.inert)}."


def load(path: str | Path, shape: type[T]) -> Loaded[T]:
    """Read a configuration file. Raises ConfigurationError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"The configuration file {path} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The configuration file {path} is not UTF-8 text: {error}.") from error
    return parse(text, shape, str(path))


def parse(text: str, shape: type[T], source: str) -> Loaded[T]:
    """``load`` for text at hand; ``source`` names it in error sentences."""
    data = _read_yaml(text, source)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"The configuration file {source} holds a {_yaml_name(data)}: "
            "it must be a mapping of keys to values."
        )
    inert: list[str] = []
    _walk(data, shape, "", source, inert)
    try:
        value = msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_sentence(error, source)) from error
    return Loaded(value, inert)


def _read_yaml(text: str, source: str) -> Any:
    import yaml  # 8 ms and 2 MB that a process with no configuration file need not pay

    class Loader(yaml.SafeLoader):
        """SafeLoader lets the last of two equal keys win; a file with such a pair is a mistake."""

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ConfigurationError(f"Line {line} of {source} has the key {key!r}: keys must be text.")
            if key in seen:
                raise ConfigurationError(
                    f"{source} has the key {key!r} twice, on lines {seen[key]} and {line}: remove one."
                )
            seen[key] = line
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{source} is not valid YAML{where}: {problem}.") from error


def _walk(data: dict[str, Any], shape: type[Section], prefix: str, source: str, inert: list[str]) -> None:
    """Find unknown keys and those without effect; an empty value is dropped and means the default."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for key in list(data):
        path = f"{prefix}{key}"
        field = fields.get(key)
        if field is None:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else ""
            raise ConfigurationError(
                f"{source} has the key {path!r}, which is not known: remove it or correct its spelling{hint}"
                + ("" if hint else ".")
            )
        kind, is_inert = _unwrap(field.type)
        if data[key] is None:
            del data[key]  # "key:" with nothing behind it is what a commented-out value leaves
        elif isinstance(kind, type) and issubclass(kind, Section) and isinstance(data[key], dict):
            if is_inert:
                ignored: list[str] = []
                _walk(data[key], kind, path + ".", source, ignored)
                inert.append(path)
            else:
                _walk(data[key], kind, path + ".", source, inert)
        elif is_inert:
            inert.append(path)


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """The type inside Annotated and ``| None``, and whether it is marked inert."""
    inert = False
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation, *metas = typing.get_args(annotation)
            inert = inert or any(meta is _INERT for meta in metas)
            continue
        options = [option for option in typing.get_args(annotation) if option is not type(None)]
        if type(None) in typing.get_args(annotation) and len(options) == 1:
            annotation = options[0]
            continue
        return annotation, inert


_WORDS = {
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`object`": "a mapping",
    "`array`": "a list",
    "`null`": "nothing",
    "`int | null`": "a whole number",
    "`bool | null`": "true or false",
    "`str | null`": "text",
    "`array | null`": "a list",
    "`object | null`": "a mapping",
}


def _sentence(error: msgspec.ValidationError, source: str) -> str:
    problem, _, place = str(error).partition(" - at `")
    key = place.rstrip("`").removeprefix("$.") or "(top level)"
    problem = problem[:1].lower() + problem[1:]
    for word, plain in _WORDS.items():
        problem = problem.replace(word, plain)
    return f"The value of {key} in {source} cannot be used: {problem}."


def _yaml_name(data: Any) -> str:
    if isinstance(data, list):
        return "list"
    return "text" if isinstance(data, str) else "single value"


def check(condition: bool, key: str, source: str, value: object, remedy: str) -> None:
    """State a rule on a value. Raises ConfigurationError naming key, file, value and remedy."""
    if not condition:
        raise ConfigurationError(f"The value of {key} in {source} is {value!r}: {remedy}.")
