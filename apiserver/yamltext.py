"""YAML bodies as JSON data, safely.

PyYAML composes nested nodes by recursion in C: a body of 200,000 opening brackets overflows the stack and
ends the process. Its event parser does not recurse, so documents are put together here from events, with
bounds on depth and on size, aliases counted as what they stand for. Scalars mean what they mean to
Kubernetes' YAML library: dates stay text, and there are no objects of any language.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import msgspec
import yaml

MAX_DEPTH = 200
MAX_NODES = 1_000_000
MAX_ALIASED = 10_000
"""Values that all aliases of a document may stand for: a few hundred bytes could stand for any number of
them, and those of a short document are copied on the event loop."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_BASED = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)\Z")
_OCTAL = re.compile(r"[-+]?0[0-7_]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TAG = "tag:yaml.org,2002:"


class YAMLError(ValueError):
    """The text is no YAML document that has a JSON form."""


class _Open:
    """A collection whose end has not come yet."""

    __slots__ = ("anchor", "key", "nodes", "value", "waiting")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key = ""
        self.waiting = False  # a mapping that has a key and needs its value
        self.nodes = 1


def load(raw: bytes) -> Any:
    """The single document of the text, as JSON data. Raises YAMLError."""
    if raw.lstrip()[:1] == b"{":
        # Most "YAML" that programs send (kubectl apply --server-side) is JSON, which reads a hundred times
        # faster.
        try:
            return msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return _Builder().run(raw)
    except yaml.YAMLError as error:
        raise YAMLError(str(error).replace("\n", " ")) from error
    except (UnicodeDecodeError, OverflowError) as error:
        raise YAMLError(str(error)) from error


class _Builder:
    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._aliased = 0
        self._result: Any = None
        self._documents = 0

    def run(self, raw: bytes) -> Any:
        for event in yaml.parse(raw, Loader=_Loader):
            if isinstance(event, yaml.ScalarEvent):
                value = self._key_text(event) if self._expects_key() else scalar(event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
                self._add(value, 1)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if len(self._stack) >= MAX_DEPTH:
                    raise YAMLError(f"nested more than {MAX_DEPTH} levels deep")
                mapping = isinstance(event, yaml.MappingStartEvent)
                self._stack.append(_Open({} if mapping else [], event.anchor))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                done = self._stack.pop()
                if done.anchor is not None:
                    self._anchors[done.anchor] = (done.value, done.nodes)
                self._add(done.value, done.nodes)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise YAMLError(f"the alias *{event.anchor} has no anchor before it")
                value, nodes = self._anchors[event.anchor]
                self._aliased += nodes
                if self._aliased > MAX_ALIASED:
                    raise YAMLError("document contains excessive aliasing")
                self._count(nodes)
                self._add(copy.deepcopy(value), nodes)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise YAMLError("more than one document")
        return self._result

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].waiting

    @staticmethod
    def _key_text(event: yaml.ScalarEvent) -> str:
        """Keys are text as it is written; only truth has one spelling."""
        meaning = scalar(event)
        return _key(meaning) if isinstance(meaning, bool) else str(event.value)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise YAMLError(f"more than {MAX_NODES} values")

    def _add(self, value: Any, nodes: int) -> None:
        self._count(1)
        if not self._stack:
            self._result = value
            return
        top = self._stack[-1]
        top.nodes += nodes
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.waiting:
            top.key = _key(value)
            top.waiting = True
        else:
            top.waiting = False
            if top.key == "<<" and isinstance(value, dict):
                top.value.update({k: v for k, v in value.items() if k not in top.value})
            else:
                top.value[top.key] = value


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        raise YAMLError("the key of a mapping must be a plain value")
    return str(value)


def scalar(event: yaml.ScalarEvent) -> Any:
    """What a scalar means."""
    text: str = event.value
    tag: str | None = event.tag
    if tag in (f"{_TAG}str", f"{_TAG}binary", "!"):
        return text
    if tag is not None and tag not in (
        f"{_TAG}{kind}" for kind in ("int", "float", "bool", "null", "timestamp")
    ):
        raise YAMLError(f"the tag {tag} has no JSON form")
    if tag is None and not event.implicit[0]:
        return text  # quoted
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "+-.0123456789":
        if _DECIMAL.match(text):
            return _integer(text, 10)
        if _BASED.match(text):
            return _integer(text, 0)
        if _OCTAL.match(text):
            return _integer(text, 8)
        if _FLOAT.match(text):
            number = float(text.replace("_", ""))
            return number if math.isfinite(number) else text
    return text


def _integer(text: str, base: int) -> int:
    if len(text) > 40:
        raise YAMLError("a number is too long")
    return int(text.replace("_", ""), base)
