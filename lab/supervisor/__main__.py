"""python -m lab.supervisor LAB-DIRECTORY NODES: started by `antrea-lab up`, ended by `antrea-lab down`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.directory import LabDirectory
from lab.errors import LabError
from lab.supervisor.control import ControlServer
from lab.supervisor.lab import RunningLab


@contextlib.contextmanager
def only_supervisor(directory: LabDirectory) -> Iterator[None]:
    """Holds the lab's lock, which the kernel gives back however this process ends. Raises LabError."""
    with open(directory.path / "supervisor.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"the lab {directory.name!r} has a supervisor already") from None
        yield


async def main(path: Path, nodes: int) -> None:
    directory = LabDirectory(path.name, path.parent)
    try:
        with only_supervisor(directory):
            await supervise(directory, nodes)
    except LabError as error:
        sys.exit(f"lab.supervisor: {error}")


async def supervise(directory: LabDirectory, nodes: int) -> None:
    lab = RunningLab(directory)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, lab.stopping.set)
    control = ControlServer(directory.control_socket, lab.handlers())
    await control.start()
    starting = asyncio.create_task(lab.start(nodes))
    await lab.stopping.wait()
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await lab.stop()
    await control.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
