"""The load generator of the API server's benchmarks: tests/kubernetes/go/load, driven by JSON lines.

It is compiled because whoever measures must not be slower than what is measured: a Python client would spend
more time on a request than the server does.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kubernetes import clients
from tests.kubernetes.cluster import Cluster

Answer = dict[str, Any]
JOB_END, REQUEST_END, FIELD_END = "\n", "\x1e", "\x1f"
_LINE = 1 << 20


class LoadError(Exception):
    """A command failed; the text says why."""


class Load:
    """One running load generator. Commands are answered one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(
        self, do: str, *, on_progress: Callable[[int], None] | None = None, **fields: Any
    ) -> Answer:
        """One command; raises LoadError. ``fields`` are those of the Go type Command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        await self._process.stdin.drain()
        while True:
            line = await self._process.stdout.readline()
            if not line:
                raise LoadError(f"{do}: the load generator has ended")
            answer: Answer = json.loads(line)
            if "progress" in answer:
                if on_progress is not None:
                    on_progress(answer["progress"])
                continue
            if "error" in answer:
                raise LoadError(f"{do} {fields.get('path', '')}: {answer['error']}")
            return answer

    async def fill(
        self, target: Answer, jobs: Iterable[str], connections: int, on_progress: Callable[[int], None]
    ) -> Answer:
        """Make the requests of ``jobs`` (made by `job`; an empty one: wait for all before it)."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "jobs")
            os.mkfifo(path)

            def write() -> None:
                try:
                    with path.open("w", encoding="utf-8") as pipe:
                        for each in jobs:
                            pipe.write(each + JOB_END)
                except BrokenPipeError:
                    pass  # the load generator has given up, and says why

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            return await self(
                "fill",
                target=target,
                file=str(path),
                connections=connections,
                on_progress=on_progress,
            )


def job(*requests: tuple[str, str, str]) -> str:
    """Requests (method, path, JSON body) that follow one another."""
    return REQUEST_END.join(FIELD_END.join(request) for request in requests)


@asynccontextmanager
async def running() -> AsyncIterator[Load]:
    command = await asyncio.to_thread(clients.build, "load")
    process = await asyncio.create_subprocess_exec(
        str(command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE
    )
    try:
        yield Load(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def administrator(cluster: Cluster) -> Answer:
    """kube-apiserver as a target, with the administrator's certificate."""
    pair = cluster.directory / "load"
    names = {"cert": f"{pair}.crt", "key": f"{pair}.key"}
    if not Path(names["cert"]).exists():
        import base64

        import yaml

        user = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]
        Path(names["cert"]).write_bytes(base64.b64decode(user["client-certificate-data"]))
        Path(names["key"]).write_bytes(base64.b64decode(user["client-key-data"]))
    return {"address": f"127.0.0.1:{cluster.port}", **names}


def bearer(port: int, token: str = "") -> Answer:
    """A server on loopback as a target, with a token."""
    return {"address": f"127.0.0.1:{port}", "token": token}
