"""``--sort-by``: lists in the order of a field, or of a policy's effective priority."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from antctl.errors import CommandError

Object = dict[str, Any]

EFFECTIVE_PRIORITY = "effectivePriority"
KUBERNETES_TIER = 251  # K8s policies rank between the Application tier (250) and the Baseline tier (253)

# Fields that the kinds have even where no object of the list sets them.
_METADATA = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "labels")
_POLICY = ("rules", "appliedToGroups", "priority", "tierPriority")
_SOURCE = ("type", "namespace", "name", "uid")


def policies(items: Sequence[Object], path: str) -> list[Object]:
    if path == EFFECTIVE_PRIORITY:
        return sorted(items, key=_effective)
    known = [("metadata", name) for name in _METADATA] + [("sourceRef", name) for name in _SOURCE]
    return _by_path(items, path or ".sourceRef.name", {*known, *((name,) for name in _POLICY)})


def groups(items: Sequence[Object], path: str) -> list[Object]:
    known = {*(("metadata", name) for name in _METADATA), ("groupMembers",)}
    return _by_path(items, path or ".metadata.name", known)


def _effective(policy: Object) -> tuple[float, float, str]:
    tier = policy.get("tierPriority")
    priority = policy.get("priority")
    return (
        KUBERNETES_TIER if tier is None else tier,
        float("-inf") if priority is None else priority,
        policy["metadata"].get("name", ""),
    )


def _by_path(items: Sequence[Object], path: str, known: set[tuple[str, ...]]) -> list[Object]:
    steps = parse(path)
    values = [_value(item, steps) for item in items]
    if items and all(value is None for value in values) and tuple(steps) not in known:
        shown = path.strip("{}")
        shown = shown if shown.startswith(".") else f".{shown}"
        raise CommandError(
            "error when doing local transform: couldn't find any field with path "
            f'"{{{shown}}}" in the list of objects'
        )
    order = sorted(range(len(items)), key=lambda index: _rank(values[index]))
    return [items[index] for index in order]


def parse(path: str) -> list[str | int]:
    """The steps of ``.a.b[0]`` or ``{.a.b}``. Raises CommandError."""
    inner = path[1:-1] if path.startswith("{") and path.endswith("}") else path
    if not inner.startswith("."):
        inner = f".{inner}"
    if not re.fullmatch(r"(\.[A-Za-z_][\w-]*|\[\d+\]|\['[^']+'\])+", inner):
        raise CommandError(
            f"error when doing local transform: invalid sort path {path!r}: write .field.subfield"
        )
    steps: list[str | int] = []
    for name, number, quoted in re.findall(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\['([^']+)'\]", inner):
        steps.append(int(number) if number else name or quoted)
    return steps


def _value(item: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        if isinstance(step, int):
            if not isinstance(item, list) or step >= len(item):
                return None
            item = item[step]
        elif isinstance(item, dict):
            item = item.get(step)
        else:
            return None
    return item


def _rank(value: Any) -> tuple[int, Any]:
    """Absent values first, then by type, so that a mixed column sorts as well."""
    if value is None:
        return (0, 0)
    if isinstance(value, (bool, int, float)):
        return (1, float(value))
    if isinstance(value, str):
        return (2, value)
    return (3, len(value) if isinstance(value, (list, dict)) else 0)
