"""Watching a bridge's flows come and go, from outside the agent: ovs-ofctl's flow monitor, with time stamps.

Open vSwitch tells a monitor of each change once the change is in its tables, in the order of the changes.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.nodes.ovs import program

START_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class FlowEvent:
    at: float  # time.monotonic() when it was read
    kind: str  # ADDED, DELETED, MODIFIED
    text: str  # as ovs-ofctl prints it: "table=28 cookie=0x1… actions=…"


class FlowMonitor:
    """Changes of one bridge's flows from now on. Thread-safe; use as a context manager."""

    def __init__(self, ovs_directory: Path, bridge: str = "br-int") -> None:
        self._target = f"unix:{ovs_directory / (bridge + '.mgmt')}"
        self._environment = {**os.environ, "OVS_RUNDIR": str(ovs_directory)}
        self._events: list[FlowEvent] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> FlowMonitor:
        # Everything that is there already comes first, as one burst: when it is in, the monitor is on.
        self._process = subprocess.Popen(
            [program("ovs-ofctl"), "monitor", self._target, "watch:"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            env=self._environment,
        )
        threading.Thread(target=self._read, name="flow monitor", daemon=True).start()
        if not self._wait(lambda: bool(self._events), START_TIMEOUT):
            self.__exit__()
            raise LabError(f"no flow monitor on {self._target}: is the bridge there?")
        self.wait_quiet(0.1, START_TIMEOUT)
        with self._changed:
            self._events.clear()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=5)
            if self._process.stdout:
                self._process.stdout.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                now = time.monotonic()
                text = line.strip()
                if text.startswith("event="):
                    kind, _, rest = text.removeprefix("event=").partition(" ")
                    with self._changed:
                        self._events.append(FlowEvent(now, kind, rest))
                        self._changed.notify_all()
        except ValueError:
            return  # closed while reading

    def _wait(self, condition: object, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout)  # type: ignore[arg-type]

    def events(self, since: float = 0.0) -> list[FlowEvent]:
        with self._changed:
            return [event for event in self._events if event.at >= since]

    def wait_quiet(self, quiet: float, timeout: float) -> float | None:
        """Wait until nothing happened for ``quiet`` seconds; and return when the last thing did."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                last = self._events[-1].at if self._events else None
            now = time.monotonic()
            if (last is not None and now - last >= quiet) or now >= deadline:
                return last
            time.sleep(min(0.02, quiet))

    def wait_event(self, since: float, timeout: float) -> FlowEvent | None:
        """The first change at or after ``since``; None if none comes in time."""
        found: list[FlowEvent] = []

        def look() -> bool:
            found[:] = [event for event in self._events[-2000:] if event.at >= since][:1]
            return bool(found)

        self._wait(look, timeout)
        return found[0] if found else None
