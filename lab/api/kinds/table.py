"""Cells of `kubectl get`: column definitions and how ages, selectors and lists are written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from apiserver.documents.kind import Heading

NAME = Heading("Name", format="name")
AGE = Heading("Age")


def parse_time(text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


def human_duration(seconds: float) -> str:
    """A duration with two units at most: 45s, 3m10s, 5h2m, 4d3h, 2y40d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest = divmod(hours, 24)
    if hours < 192:
        return f"{days}d{rest}h" if rest else f"{days}d"
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years, rest = divmod(days, 365)
    if hours < 24 * 365 * 8:
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"


def since(text: str | None, now: datetime.datetime) -> str:
    moment = parse_time(text)
    return human_duration((now - moment).total_seconds()) if moment else "<unknown>"


def age(obj: Mapping[str, Any], now: datetime.datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """A plain selector map, as in the Selector column of services."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) if labels else "<none>"


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A label selector as one line: `a=b,c in (d,e),!f`; `<none>` when it selects everything."""
    if selector is None:
        return "<none>"
    terms: list[tuple[str, str]] = [
        (key, f"{key}={value}") for key, value in selector.get("matchLabels", {}).items()
    ]
    for term in selector.get("matchExpressions", ()):
        key, values = term.get("key", ""), ",".join(sorted(term.get("values", ())))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(term.get("operator", ""), f"{key} {term.get('operator')} ({values})")
        terms.append((key, text))
    return ",".join(text for _, text in sorted(terms, key=lambda item: item[0])) or "<none>"


def some(items: Sequence[str], limit: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    if not items:
        return "<none>"
    shown = ",".join(items[:limit])
    return f"{shown} + {len(items) - limit} more..." if len(items) > limit else shown
