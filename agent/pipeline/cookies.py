"""Cookies: the round in the top 16 bits, the category of the feature in the next 8 (Antrea v2.7).

Upstream begins a new round at each start and so sends every flow again. Here the round is remembered and
changes only when the tables get other numbers, because only then do old flows mean something else.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import os
import secrets
from pathlib import Path

log = logging.getLogger(__name__)


class Category(enum.IntEnum):
    """The feature that a flow belongs to."""

    DEFAULT = 0
    POD_CONNECTIVITY = 1
    NETWORK_POLICY = 2
    SERVICE = 3
    EGRESS = 4
    MULTICAST = 5
    MULTICLUSTER = 6
    TRACEFLOW = 7
    EXTERNAL_NODE_CONNECTIVITY = 8


ROUND_SHIFT = 48
ROUND_FILE = "flow-round.json"


def cookie(round_number: int, category: Category, object_id: int = 0) -> int:
    return (round_number & 0xFFFF) << ROUND_SHIFT | category << 40 | object_id & 0xFFFFFFFF


def category_of(value: int) -> int:
    return value >> 40 & 0xFF


def load_round(path: Path, fingerprint: str, last: int | None = None) -> int:
    """The round number for this layout of tables, remembered in ``path``.

    ``last`` is the round that another place remembers: where the file does not say, the next one begins.
    Where nobody can say, chance chooses, because the last one must not be hit again. A file that cannot be
    written costs the next start another round, which sends every flow again.
    """
    elsewhere, last = last, 0
    try:
        kept = json.loads(path.read_text())
        last = int(kept["round"])
        if kept["layout"] == fingerprint:
            return last
        log.info("the tables have changed since round %d: flows get new cookies", last)
    except FileNotFoundError:
        last = elsewhere or 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        last = elsewhere or secrets.randbelow(0xFFFF)
        log.warning("cannot read the round number in %s (%s): beginning a new round", path, error)
    number = last % 0xFFFF + 1
    try:
        write_atomically(path, json.dumps({"round": number, "layout": fingerprint}).encode())
    except OSError as error:
        log.error("cannot write the round number to %s (%s): a restart will send flows again", path, error)
    return number


def leave_round(path: Path) -> None:
    """The next ``load_round`` gives another number: what the flows of the last one mean is not known."""
    try:
        kept = json.loads(path.read_text())
        write_atomically(path, json.dumps({"round": int(kept["round"]), "layout": ""}).encode())
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        with contextlib.suppress(OSError):
            os.truncate(path, 0)  # possible on a full disk too


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file as a whole: a process that dies meanwhile leaves the old content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
