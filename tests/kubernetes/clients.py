"""Clients made with client-go: built from tests/kubernetes/go when the source has changed, run, and read."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kubernetes import binaries
from tests.kubernetes.cluster import Cluster

PATIENCE = 90.0  # seconds; client-go waits up to half a minute before it tries again
Line = dict[str, Any]


def build(name: str) -> Path:
    """The command. Raises binaries.Unavailable where there is no Go toolchain."""
    directory = binaries.cache() / "clients"
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / name
    sources = [binaries.MODULE / "go.mod", *(binaries.MODULE / name).glob("*.go")]
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources):
            binaries.go_build((f"./{name}",), directory)
            os.utime(target)
    return target


class Reflector:
    """One running ``reflector`` and all that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[Line] = []
        self.cache: dict[str, Line] = {}  # what its cache holds, folded from what it says
        self.cache_replaced = False  # whether the first state is there

    async def _next(self) -> bool:
        assert self._process.stdout is not None
        raw = await self._process.stdout.readline()
        if not raw:
            return False
        line = json.loads(raw)
        self.lines.append(line)
        match line.get("cache"):
            case "replace":
                self.cache = {_name(found): found for found in line["objects"] or ()}
                self.cache_replaced = True
            case "add" | "update":
                self.cache[line["name"]] = line["object"]
            case "delete":
                del self.cache[line["name"]]
        return True

    async def until(self, wanted: Callable[[], Any], what: str) -> Any:
        """Reads on until ``wanted`` gives something true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := wanted()):
                    if not await self._next():
                        _, complaints = await self._process.communicate()
                        raise AssertionError(f"the client ended before {what}: {complaints.decode()[-2000:]}")
        except TimeoutError:
            told = [_brief(line) for line in self.lines[-20:]]
            raise AssertionError(f"after {PATIENCE:g} s it is still not so that {what}: {told}") from None
        return found

    async def rest(self) -> list[Line]:
        """Everything until the client ends by itself."""
        async with asyncio.timeout(PATIENCE):
            while await self._next():
                pass
        return self.lines

    def calls(self, call: str) -> list[Line]:
        return [line for line in self.lines if line.get("call") == call]

    def events(self) -> list[Line]:
        return [line for line in self.lines if "event" in line]

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


def _name(found: Line) -> str:
    metadata = found["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


def _brief(line: Line) -> Line:
    return {key: value for key, value in line.items() if key not in ("object", "objects")}


@asynccontextmanager
async def reflector(
    cluster: Cluster, resource: str, *arguments: str, watch_list: bool = True
) -> AsyncIterator[Reflector]:
    """A reflector of ``resource`` (GROUP/VERSION/PLURAL), with a streamed list or with list and watch."""
    process = await asyncio.create_subprocess_exec(
        await asyncio.to_thread(build, "reflector"),
        "--kubeconfig", str(cluster.kubeconfig), "--resource", resource, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=64 * 1024 * 1024,
        env={"HOME": str(cluster.directory), "KUBE_FEATURE_WatchListClient": str(watch_list).lower()},
    )  # fmt: skip
    running = Reflector(process)
    try:
        yield running
    finally:
        await running.end()
