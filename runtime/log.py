"""Plain log lines on stderr, with klog's idea of verbosity.

A line reads ``2026-11-20 12:00:01.123 INFO controller.inputs: …``. Beside the usual levels there is
``V(n)``: lines for whoever asked for verbosity n or more (``-v N`` at start, ``/loglevel?level=N`` later).

    log = runtime.log.get(__name__)
    log.info("Listed %d Pods", n)
    log.log(V(4), "…")
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from dataclasses import dataclass
from pathlib import Path

get = logging.getLogger

_verbosity = 0

VERBOSITY_MAX = logging.INFO - 1  # V(19) is level 1: below that nothing is left to number


def V(verbosity: int) -> int:  # klog's name, known to every reader of Kubernetes code
    """The logging level of lines that need at least this verbosity; V(0) is INFO."""
    return logging.INFO - max(0, min(verbosity, VERBOSITY_MAX))


def verbosity() -> int:
    return _verbosity


def set_verbosity(value: int) -> None:
    """Applies to the whole process at once. Raises ValueError for a negative number."""
    global _verbosity
    if value < 0:
        raise ValueError(f"The log level {value} is negative: it must be 0 or more.")
    _verbosity = value
    logging.getLogger().setLevel(V(value))


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        if not record.levelname or record.levelname.startswith("Level "):
            record.levelname = f"V({logging.INFO - record.levelno})"
        return super().format(record)


def setup(level: int = 0, stream: object = None) -> None:
    """Send every line of the process to stderr; libraries speak from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)  # type: ignore[arg-type]
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for library in ("asyncio", "aiohttp", "kubernetes_asyncio", "ovsdbapp", "grpc", "pyroute2", "urllib3"):
        logging.getLogger(library).setLevel(logging.WARNING)
    set_verbosity(level)


@dataclass(frozen=True, slots=True)
class Files:
    """klog's flags for log files: where, how large, how many, and whether stderr gets the lines too."""

    directory: str = ""
    to_stderr: bool = True
    also_stderr: bool = False
    megabytes: int = 100  # of one file; 0: no limit
    number: int = 0  # of files that are kept; 0: klog keeps all, here a thousand


class _FileHandler(logging.handlers.RotatingFileHandler):
    """A full disk costs lines of the file, nothing else, and is told once on stderr."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.told:
            self.told = True
            print(f"Cannot write to the log {self.baseFilename}: {sys.exc_info()[1]}", file=sys.stderr)


def to_files(name: str, files: Files) -> None:
    """Keep the lines in ``DIRECTORY/NAME.log`` too, or instead, after ``setup``. Raises OSError."""
    if not files.directory or files.to_stderr:
        return
    directory = Path(files.directory)
    directory.mkdir(parents=True, exist_ok=True)
    handler = _FileHandler(
        directory / f"{name}.log",
        maxBytes=max(0, files.megabytes) << 20,
        backupCount=max(1, files.number - 1) if files.number > 0 else 1000,
        encoding="utf-8",
    )
    root = logging.getLogger()
    handler.setFormatter(root.handlers[0].formatter)
    if files.also_stderr:
        root.addHandler(handler)
    else:
        root.handlers[:] = [handler]
