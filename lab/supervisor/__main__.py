"""python -m lab.supervisor LAB-DIRECTORY NODES: started by `antrea-lab up`, ended by `antrea-lab down`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from lab.directory import LabDirectory
from lab.supervisor.control import ControlServer
from lab.supervisor.lab import RunningLab


async def main(path: Path, nodes: int) -> None:
    directory = LabDirectory(path.name, path.parent)
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
