"""Background tasks with an owner: none is forgotten, none fails in silence.

A ``Supervisor`` owns tasks. Each is started with a rule for the case that it raises:

    RESTART  report it, wait (back-off with jitter), call the factory again
    END      report it and end the process: without this task the process would only pretend to work
    REPORT   report it; the task was a single errand

``run`` waits until ``request_stop`` (a signal, or an END task that crashed), then cancels everything, the
last started first, and runs the closers. Nothing outlives it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from runtime import log, metrics
from runtime.backoff import Backoff

logger = log.get("runtime.tasks")


class OnCrash(enum.Enum):
    RESTART = "restart"
    END = "end"
    REPORT = "report"


class Supervisor:
    """Owns the tasks of a process, or of one part of it (``child``)."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.failed: BaseException | None = None  # what an END task raised; the process exits with status 1
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._closers: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self._stop = asyncio.Event()
        self._children: list[Supervisor] = []

    def start(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, object]],
        on_crash: OnCrash = OnCrash.RESTART,
        backoff: Backoff | None = None,
    ) -> asyncio.Task[None]:
        """Start a task. The factory is called again for a restart; a task that returns is done and gone."""
        full_name = f"{self.name}/{name}" if self.name else name
        task = asyncio.create_task(self._watch(full_name, factory, on_crash, backoff), name=full_name)
        self._tasks[task] = full_name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    async def _watch(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, object]],
        on_crash: OnCrash,
        backoff: Backoff | None,
    ) -> None:
        backoff = backoff or Backoff(initial=0.2, maximum=30, reset_after=60)
        while True:
            try:
                await factory()
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                metrics.TASK_CRASHES.labels(name).inc()
                if on_crash is OnCrash.END:
                    logger.critical(
                        "The task %s crashed and the process cannot go on without it", name, exc_info=error
                    )
                    self.failed = self.failed or error
                    self.request_stop()
                    return
                if on_crash is OnCrash.REPORT:
                    logger.error("The task %s crashed", name, exc_info=error)
                    return
                delay = backoff.next()
                logger.error("The task %s crashed and is restarted in %.1f s", name, delay, exc_info=error)
                await asyncio.sleep(delay)

    def on_close(self, name: str, closer: Callable[[], Awaitable[object]]) -> None:
        """Run ``closer`` when the supervisor closes, after the tasks were cancelled, the last added first."""
        self._closers.append((name, closer))

    def child(self, name: str) -> Supervisor:
        """A supervisor closed together with this one; an END task of it ends this one as well."""
        child = Supervisor(f"{self.name}/{name}" if self.name else name)
        child._stop = self._stop
        self._children.append(child)
        return child

    def request_stop(self) -> None:
        self._stop.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def wait_for_stop(self) -> None:
        await self._stop.wait()

    async def close(self, grace: float = 4.0) -> None:
        """Cancel all tasks and run the closers, each bounded by what is left of ``grace`` seconds."""
        self._stop.set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        for child in reversed(self._children):
            await child.close(max(0.1, deadline - loop.time()))
            self.failed = self.failed or child.failed
        tasks = list(self._tasks)
        for task in reversed(tasks):
            task.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=max(0.1, (deadline - loop.time()) / 2))
            for task in pending:
                logger.warning("The task %s does not end on request", task.get_name())
        for name, closer in reversed(self._closers):
            try:
                await asyncio.wait_for(closer(), max(0.1, deadline - loop.time()))
            except TimeoutError:
                logger.warning("Closing %s took too long and was given up", name)
            except Exception as error:
                logger.error("Closing %s failed", name, exc_info=error)
        self._closers.clear()
        self._children.clear()
