"""The controller's own support bundle: what it has computed, what it says of itself and its logs, archived.

Asking for a bundle begins a collection and ends one that runs. The archive is there for an hour, or until it
is deleted or collected anew. Nothing survives the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import hashlib
import io
import json
import logging
import re
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from apis.meta.convert import time_text
from apis.record import Media, Record
from apiserver.resources import Object, ResourceInfo
from apiserver.stores import Stores
from controller.api import resources
from controller.info import ControllerInfo
from runtime import log, metrics

logger = log.get("controller.api.bundles")

KEPT_SECONDS = 3600.0
LOG_BYTES = 64 * 1024 * 1024  # of each log file the end
STORES = (
    resources.NETWORK_POLICIES,
    resources.ADDRESS_GROUPS,
    resources.APPLIED_TO_GROUPS,
    resources.EGRESS_GROUPS,
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")

Contents = list[tuple[ResourceInfo, list[Record]]]


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it (``1h30m``). Raises ValueError."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f'the duration "{text[:40]}" is not of the form 1h30m')
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


class SupportBundles:
    """The one bundle there is."""

    def __init__(self, stores: Stores, info: ControllerInfo) -> None:
        self._stores = stores
        self._info = info
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._state: Object = {"status": "None"}
        self._changing = asyncio.Lock()

    def state(self) -> Object:
        """The SupportBundle, without kind and apiVersion."""
        state = dict(self._state)
        return {"metadata": {"name": "controller", **state.pop("metadata", {})}, **state}

    @property
    def archive(self) -> Path | None:
        """The collected archive."""
        if self._directory is None or self._state["status"] != "Collected":
            return None
        return Path(self._directory.name, "bundle.tar.gz")

    async def collect(self, since: str = "") -> None:
        """Begins a collection. ``since``: how old log files may be. Raises ValueError for no duration."""
        oldest = time.time() - duration(since) if since else 0.0
        async with self._changing:
            await self._clear()
            self._state = {"status": "Collecting"} | ({"since": since} if since else {})
            self._task = asyncio.create_task(self._collect(oldest), name="support-bundle")

    async def clear(self) -> None:
        """Ends a collection that runs, and throws the archive away."""
        async with self._changing:
            await self._clear()

    async def _clear(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        directory, self._directory = self._directory, None
        self._state = {"status": "None"}
        if directory is not None:
            await asyncio.to_thread(directory.cleanup)

    async def close(self) -> None:
        await self.clear()

    async def _collect(self, oldest: float) -> None:
        # Taken at one moment; records do not change, so the thread may write them afterwards.
        records = [
            (info, [stored.record for _, stored in self._stores.sorted_items(info.store)]) for info in STORES
        ]
        said = {
            "controllerinfo.json": json.dumps(self._info.document(), indent=2).encode(),
            "metrics.txt": metrics.exposition("")[1],
            "tasks.txt": _tasks().encode(),
        }
        directory = await asyncio.to_thread(
            tempfile.TemporaryDirectory, prefix="antrea-supportbundle-", ignore_cleanup_errors=True
        )
        self._directory = directory
        try:
            size, digest = await asyncio.to_thread(_write, Path(directory.name), records, said, oldest)
        except OSError as error:
            logger.error("The support bundle could not be collected: %s", error)
            self._state = {"status": "None"}
            return
        now = time.time()
        self._state |= {
            "metadata": {
                "creationTimestamp": time_text(int(now)),
                "deletionTimestamp": time_text(int(now + KEPT_SECONDS)),
            },
            "status": "Collected",
            "sum": digest,
            "size": size,
        }
        self._expiry = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._task = asyncio.create_task(self._forget(), name="support-bundle-expiry")

    async def _forget(self) -> None:
        directory, self._directory = self._directory, None
        self._state = {"status": "None"}
        if directory is not None:
            await asyncio.to_thread(directory.cleanup)


def _tasks() -> str:
    """What every task of the process waits for."""
    out = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        task.print_stack(limit=8, file=out)
    return out.getvalue()


def _write(directory: Path, records: Contents, said: Mapping[str, bytes], oldest: float) -> tuple[int, str]:
    """The archive in the directory; returns its size and SHA-256. In a thread."""
    target = directory / "bundle.tar.gz"
    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        for name, content in said.items():
            _add(archive, name, content)
        for info, found in records:
            path = directory / "part"
            with path.open("wb") as part:
                part.write(
                    f'{{"kind":"{info.list_kind}","apiVersion":"{info.api_version}","items":['.encode()
                )
                for index, record in enumerate(found):
                    part.write(b",\n" if index else b"\n")
                    part.write(record.encode(Media.JSON, None, ""))
                part.write(b"\n]}\n")
            archive.add(path, f"{info.plural}.json")
            path.unlink()
        with (directory / "threads").open("w+b") as threads:
            faulthandler.dump_traceback(threads, all_threads=True)
            threads.seek(0)
            _add(archive, "threads.txt", threads.read())
        for path in _log_files(oldest):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                _add(archive, f"logs/{path.name}", file.read(LOG_BYTES))
    (directory / "threads").unlink()
    with target.open("rb") as file:
        return target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(content), int(time.time())
    archive.addfile(entry, io.BytesIO(content))


def _log_files(oldest: float) -> list[Path]:
    """The log files of this process that were written since then."""
    found: list[Path] = []
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            current = Path(handler.baseFilename)
            found += [
                p for p in sorted(current.parent.glob(current.name + "*")) if p.stat().st_mtime >= oldest
            ]
    return found
