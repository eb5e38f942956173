"""additionalPrinterColumns: the small JSONPath that they use, and how the values become cells."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable
from typing import Any

from apiserver.documents.kind import Heading
from lab.api.kinds.table import human_duration, parse_time

_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False)
_TOKEN = re.compile(
    r"""\.(?P<name>(?:[A-Za-z0-9_$/-]|\\.)+)
      | \[\?\(\s*@\.(?P<key>[A-Za-z0-9_.-]+)\s*==\s*(?P<quote>["'])(?P<value>.*?)(?P=quote)\s*\)\]
      | \[(?P<index>-?\d+|\*)\]
      | \[(?P<q2>["'])(?P<literal>.*?)(?P=q2)\]
    """,
    re.VERBOSE,
)
Step = Callable[[list[Any]], list[Any]]


class PathError(ValueError):
    """A JSONPath that this reader does not know."""


def _member(name: str) -> Step:
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _item(text: str) -> Step:
    def step(values: list[Any]) -> list[Any]:
        lists = [value for value in values if isinstance(value, list)]
        if text == "*":
            return [item for entry in lists for item in entry]
        index = int(text)
        return [entry[index] for entry in lists if -len(entry) <= index < len(entry)]

    return step


def _filter(key: str, wanted: str) -> Step:
    path = [_member(part) for part in key.split(".")]

    def fits(item: Any) -> bool:
        found = [item]
        for step in path:
            found = step(found)
        return any(str(value) == wanted for value in found)

    return lambda values: [
        item for value in values if isinstance(value, list) for item in value if fits(item)
    ]


@functools.lru_cache(maxsize=512)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of `.a.b[0].c[?(@.type=="X")].d`. PathError for anything else."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None:
            raise PathError(f"the JSONPath {path!r} is not understood from {path[position:]!r} on")
        if match["name"] is not None:
            steps.append(_member(re.sub(r"\\(.)", r"\1", match["name"])))
        elif match["key"] is not None:
            steps.append(_filter(match["key"], match["value"]))
        elif match["index"] is not None:
            steps.append(_item(match["index"]))
        else:
            steps.append(_member(match["literal"]))
        position = match.end()
    return tuple(steps)


def find(path: str, obj: Any) -> list[Any]:
    values = [obj]
    for step in parse(path):
        values = step(values)
    return values


def cell(kind: str, values: list[Any], now: datetime.datetime) -> Any:
    """The cell of a column of that type; None where there is nothing or nothing that fits."""
    if not values or values[0] is None:
        return None
    value = values[0]
    match kind:
        case "integer":
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            if not isinstance(value, str):
                return None
            moment = parse_time(value)
            return human_duration((now - moment).total_seconds()) if moment else "<invalid>"
        case _:  # whatever it is, as text
            return value if isinstance(value, str) else _JSON.encode(value)


def definitions(columns: list[dict[str, Any]]) -> tuple[Heading, ...]:
    return (
        Heading("Name", format="name"),
        *(
            Heading(c["name"], c.get("type", "string"), c.get("priority", 0), c.get("format", ""))
            for c in columns
        ),
    )
