"""The frame of a process: event loop, signals, an orderly end within seconds.

def main() -> None:
    sys.exit(process.run("antrea-controller", serve))

async def serve(supervisor: Supervisor) -> None:
    …                                  # start tasks, then return: the process lives until it is stopped
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

from runtime import log, metrics
from runtime.errors import ConfigurationError
from runtime.tasks import OnCrash, Supervisor

logger = log.get("runtime.process")

GRACE = 4.0  # seconds between the signal and the forced end; the promise to users is 5


def run(name: str, serve: Callable[[Supervisor], Awaitable[None]]) -> int:
    """Run ``serve`` and then wait for SIGTERM or SIGINT. Returns the exit status.

    1 after a ConfigurationError (its sentence goes to stderr), after an error in ``serve``, and after the
    crash of a task that the process cannot do without; else 0.
    """
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_frame(name, serve))


async def _frame(name: str, serve: Callable[[Supervisor], Awaitable[None]]) -> int:
    supervisor = Supervisor()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, name, supervisor, number)
    supervisor.start("loop-lag", metrics.watch_loop_lag, OnCrash.RESTART)
    status = 0
    serving = asyncio.ensure_future(serve(supervisor))
    stopping = asyncio.create_task(supervisor.wait_for_stop())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            await stopping
    except ConfigurationError as error:
        print(f"{name}: {error}", file=sys.stderr)
        status = 1
    except Exception as error:
        logger.critical("%s cannot start", name, exc_info=error)
        status = 1
    for task in (serving, stopping):
        task.cancel()
    await asyncio.wait((serving, stopping), timeout=1)
    await supervisor.close(GRACE - 1)
    if supervisor.failed is not None:
        status = 1
    logger.info("%s has ended", name)
    return status


def _stop(name: str, supervisor: Supervisor, number: signal.Signals) -> None:
    if not supervisor.stopping:
        logger.info("%s received %s and ends", name, number.name)
        # A thread (a library's, or the default executor's) that does not end must not hold the process.
        timer = threading.Timer(GRACE + 0.5, os._exit, (0,))
        timer.daemon = True
        timer.start()
    supervisor.request_stop()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    logger.error(
        "Unhandled in the event loop: %s",
        context.get("message"),
        exc_info=error if isinstance(error, BaseException) else None,
    )
