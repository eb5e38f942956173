"""What all benchmarks share: the command line, progress on standard error, and one table at the end.

A benchmark is a list of named rows and a function that measures one. Each takes ``--json FILE`` (a list of
rows, the column names as keys) and ``--only ROW`` (may be repeated; a part of the name is enough).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Progress:
    """Says on standard error what is being done, so that standard output has nothing but the table."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, message: str) -> None:
        print(f"[{time.monotonic() - self._started:6.1f} s] {message}", file=sys.stderr, flush=True)


def parser(description: str, rows: Sequence[str]) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, epilog="Rows: " + "; ".join(rows))
    made.add_argument("--json", metavar="FILE", help="write the rows to FILE as well")
    made.add_argument("--only", metavar="ROW", action="append", help="measure only rows that contain ROW")
    return made


def chosen(rows: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """The rows that ``--only`` asks for. Ends the process where it names none."""
    if not only:
        return list(rows)
    found = [row for row in rows if any(part.lower() in row.lower() for part in only)]
    if not found:
        sys.exit(f"--only {', '.join(only)}: no such row; there are: {'; '.join(rows)}")
    return found


def run(
    title: str,
    columns: Sequence[str],
    rows: Sequence[str],
    measure: Callable[[str, Progress], Mapping[str, Any]],
    arguments: argparse.Namespace,
) -> list[Row]:
    """Measure each row that was asked for, print the table, write the JSON."""
    progress = Progress()
    measured: list[Row] = []
    for row in chosen(rows, arguments.only):
        progress(row)
        measured.append({columns[0]: row, **measure(row, progress)})
    finish(title, columns, measured, arguments)
    return measured


def finish(
    title: str, columns: Sequence[str], measured: Sequence[Row], arguments: argparse.Namespace
) -> None:
    """Print the table, write the JSON."""
    print_table(title, columns, measured)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(measured, indent=2) + "\n")


def text(value: Any) -> str:
    """A cell: numbers with the digits that mean something."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def conditions() -> str:
    """The machine and how busy it is, for the title of a table: on a busy one every time is too long."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), load average {os.getloadavg()[0]:.1f}"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Plain text, the first column to the left, the others to the right; empty columns are left out."""
    columns = [column for column in columns if any(row.get(column) is not None for row in rows)]
    cells = [[text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))]
    print(title)
    for line in [list(columns), ["-" * width for width in widths], *cells]:
        padded = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())
