"""Times as the API writes them: seconds for metadata, microseconds for leases and events."""

from __future__ import annotations

import datetime


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def stamp(moment: datetime.datetime | None = None) -> str:
    """RFC 3339 in whole seconds: 2026-01-31T12:00:00Z."""
    return (moment or now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_micro(moment: datetime.datetime | None = None) -> str:
    """RFC 3339 with microseconds, as MicroTime fields have it."""
    return (moment or now()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
