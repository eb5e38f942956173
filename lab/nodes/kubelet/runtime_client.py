"""The kubelet's line to the process that forks responders (lab/nodes/runtime)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from lab.errors import LabError
from runtime import log
from runtime.backoff import Backoff

logger = log.get("lab.kubelet.runtime")
ANSWER_TIMEOUT = 10.0


class RuntimeClient:
    """Keeps a connection; ``on_exit(id, status)`` hears of every container that ended, also of those that
    ended while there was no connection (the runtime's death ends all of them)."""

    def __init__(self, socket: str, on_exit: Callable[[str, int], None]) -> None:
        self._socket = socket
        self._on_exit = on_exit
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._running: set[str] = set()  # containers believed to run
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Connect, read, connect again; never returns."""
        backoff = Backoff(initial=0.05, maximum=2)
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._socket)
            except OSError:
                await backoff.wait()
                continue
            try:
                self._send({"op": "list"})
                async for line in reader:
                    backoff.reset()
                    self._received(json.loads(line))
            except (OSError, ValueError) as error:
                logger.warning("The connection to the runtime broke: %s", error)
            finally:
                self._connected.clear()
                self._writer.close()
                self._writer = None
                for future in self._answers.values():
                    if not future.done():
                        future.set_result({"error": "the runtime ended"})

    def _received(self, message: dict[str, Any]) -> None:
        if "containers" in message:
            alive = {key for key, value in message["containers"].items() if value["exit"] is None}
            for identifier in self._running - alive:
                self._on_exit(identifier, (message["containers"].get(identifier) or {}).get("exit") or -9)
            self._running = alive
            self._connected.set()
        elif "event" in message:
            self._running.discard(message["id"])
            self._on_exit(message["id"], message["exit"])
        else:
            future = self._answers.get(message.get("id", ""))
            if future and not future.done():
                future.set_result(message)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is None:
            raise LabError("the runtime is not there at the moment")
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def wait_connected(self) -> None:
        await self._connected.wait()

    def is_running(self, identifier: str) -> bool:
        return identifier in self._running

    async def start(
        self, identifier: str, name: str, netns: str, ports: list[tuple[str, int]], alone: bool
    ) -> int:
        """Start a responder and return its pid once its ports are open. Raises LabError."""
        await self._connected.wait()
        self._answers[identifier] = asyncio.get_running_loop().create_future()
        try:
            self._send(
                {
                    "op": "start",
                    "id": identifier,
                    "name": name,
                    "netns": netns,
                    "ports": ports,
                    "alone": alone,
                }
            )
            answer = await asyncio.wait_for(self._answers[identifier], ANSWER_TIMEOUT)
        except TimeoutError:
            raise LabError("the runtime did not answer") from None
        finally:
            del self._answers[identifier]
        if "error" in answer:
            raise LabError(f"the responder cannot start: {answer['error']}")
        self._running.add(identifier)
        return int(answer["pid"])

    def stop(self, identifier: str, grace: float) -> None:
        with contextlib.suppress(LabError):
            self._send({"op": "stop", "id": identifier, "grace": grace})

    def remove(self, identifier: str) -> None:
        """Kill it if it runs, and forget it."""
        self._running.discard(identifier)
        with contextlib.suppress(LabError):
            self._send({"op": "remove", "id": identifier})
