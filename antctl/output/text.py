"""JSON and YAML as upstream's antctl prints them."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def to_json(value: Any) -> str:
    """Two blanks of indent, fields in their order, ``< > &`` escaped, whole floats without a point."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False).translate(_ESCAPES) + "\n"


def plain(value: Any) -> Any:
    """The same value with floats that are whole numbers as integers, as Go prints them."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def to_yaml(value: Any) -> str:
    """Keys sorted at every level in natural order (t2 before t10), sequences below a key indented by two."""
    return "\n".join(_block(plain(value))) + "\n"


def _block(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for key in sorted(value, key=natural):
            lines += _entry(f"{_scalar(key)}:", value[key])
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            first, *rest = _block(item)
            lines.append(f"- {first}")
            lines += [f"  {line}" if line else line for line in rest]
        return lines
    if isinstance(value, str) and "\n" in value:
        first, *rest = _literal(value)
        return [first, *(f"  {line}" if line else line for line in rest)]
    return [_scalar(value)]


def _entry(head: str, value: Any) -> list[str]:
    if isinstance(value, (dict, list)) and value:
        return [head, *(f"  {line}" if line else line for line in _block(value))]
    if isinstance(value, str) and "\n" in value:
        first, *rest = _literal(value)
        return [f"{head} {first}", *(f"  {line}" if line else line for line in rest)]
    return [f"{head} {_scalar(value)}"]


def _literal(text: str) -> list[str]:
    """A text of several lines: the block's header, then the lines."""
    body = text.rstrip("\n")
    chomp = {0: "-", 1: ""}.get(len(text) - len(body), "+")
    extra = [""] * (len(text) - len(body) - 1) if chomp == "+" else []
    indent = "2" if body.startswith(" ") else ""
    return [f"|{indent}{chomp}", *body.split("\n"), *extra]


# What a YAML reader would take for something else than text: it is put in double quotes.
_RESOLVES = re.compile(
    r"""(?x) ~ | null | Null | NULL | true | True | TRUE | false | False | FALSE
    | y | Y | yes | Yes | YES | n | N | no | No | NO | on | On | ON | off | Off | OFF
    | [-+]?[0-9][0-9_]* | [-+]?0b[01_]+ | [-+]?0o?[0-7_]+ | [-+]?0x[0-9a-fA-F_]+ | = | <<
    | [-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?
    | [-+]?\.(inf|Inf|INF) | \.(nan|NaN|NAN)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\ ].*)?
    | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"""
)
_NOT_PLAIN = re.compile(r"^[-?:,\[\]{}#&*!|>'\"%@` ]|: |:$| #|\s$|[\t\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    if not isinstance(value, str):
        return repr(value) if isinstance(value, float) else str(value)
    if value == "" or _RESOLVES.fullmatch(value) or _CONTROL.search(value):
        return json.dumps(value, ensure_ascii=False)
    if _NOT_PLAIN.search(value) and not re.match(r"[-?:][^\s]", value):
        return "'" + value.replace("'", "''") + "'"
    return value


def natural(text: str) -> list[Any]:
    """A sort key that counts runs of digits as numbers and puts letters after everything else."""
    parts: list[Any] = []
    for piece in re.findall(r"\d+|\D", str(text)):
        if piece.isdigit():
            parts.append((1, int(piece), piece))
        else:
            parts.append((2 if piece.isalpha() else 0, 0, piece))
    return parts
