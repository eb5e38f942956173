"""Turning what a server answered into what is printed, in the format that the user asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from antctl.errors import CommandError


def decode(body: bytes) -> Any:
    """The JSON of an answer. Raises CommandError."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise CommandError(f"error when decoding response: {error}") from error


def write(value: Any, form: str, table: Callable[[Any], str]) -> str:
    """``value`` in a format; ``table`` makes the table. Raises CommandError for an unknown format."""
    if form == "table":
        return table(value)
    from antctl.output import text

    if form == "json":
        return text.to_json(value)
    if form == "yaml":
        return text.to_yaml(value)
    if form == "raw":
        return value if isinstance(value, str) else json.dumps(text.plain(value), separators=(",", ":"))
    raise CommandError(f"unsupported format type: {form}")
