"""The supervisor's control socket: one request per connection, in JSON lines.

    → {"op": "add-node", "name": "node-3"}
    ← {"progress": "node-3: Open vSwitch"}        any number of these
    ← {"ok": true, "result": …}                   or {"ok": false, "error": "a sentence"}

The socket is a unix socket with mode 0600 in a 0700 directory: only the lab's owner (and root) may speak.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError

Progress = Callable[[str], None]
Handler = Callable[[dict[str, Any], Progress], Awaitable[Any]]
REQUEST_LIMIT = 1_000_000  # bytes
REQUEST_TIMEOUT = 10.0  # seconds for a client to say what it wants


def text(request: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A field of a request that must be text. Raises LabError with a sentence."""
    value = request.get(key, default)
    if not isinstance(value, str) or not value:
        raise LabError(f"{request.get('op')} needs {key!r}, a text; it got {_shown(value)}")
    return value


def number(request: Mapping[str, Any], key: str, default: float) -> float:
    """A field of a request that must be a number, not negative. Raises LabError with a sentence."""
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise LabError(f"{request.get('op')} needs {key!r}, a number from 0 on; it got {_shown(value)}")
    return float(value)


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)[:80]


class ControlServer:
    """Serves the operations in ``handlers``, by name."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=REQUEST_LIMIT)
        finally:
            os.umask(previous)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: dict[str, Any]) -> None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                writer.write(json.dumps(message).encode() + b"\n")

        try:
            answer = await self._answer(reader, lambda text: send({"progress": text}))
            send(answer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, progress: Progress) -> dict[str, Any]:
        try:
            line = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT)
            request = json.loads(line)
            handler = self._handlers[request["op"]]
        except (TimeoutError, ValueError, KeyError, TypeError, RecursionError):
            return {"ok": False, "error": f"not a request; known operations: {', '.join(self._handlers)}"}
        try:
            return {"ok": True, "result": await handler(request, progress)}
        except LabError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:
            traceback.print_exc()
            return {
                "ok": False,
                "error": f"{type(error).__name__}: {error} (details in the supervisor's log)",
            }


def call(
    path: Path, request: Mapping[str, Any], progress: Progress | None = None, timeout: float = 120.0
) -> Any:
    """Ask a lab's supervisor and wait for its answer. Raises LabError with its sentence."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "progress" in message:
                        if progress:
                            progress(message["progress"])
                    elif message["ok"]:
                        return message["result"]
                    else:
                        raise LabError(message["error"])
        except TimeoutError:
            raise LabError(
                f"the lab's supervisor did not answer within {timeout:g} s; its log is beside {path}"
            ) from None
        except (FileNotFoundError, ConnectionError):
            pass
    raise SupervisorGone(
        f"the lab's supervisor does not run (no answer on {path}). "
        "`antrea-lab down` clears what is left of the lab"
    )


class SupervisorGone(LabError):
    """Nobody answers on the control socket."""
