"""The processes of a lab: known by the lab's token in their environment, ended through pidfds.

A pid alone may belong to somebody else by the time it is used. The token is a random value that only the
lab's own processes (and their children) carry from their exec on, so it finds what a killed supervisor
left behind, also what it had forked an instant before; and a pidfd that is opened first and checked
afterwards can only ever signal the process that was checked.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "ANTREA_LAB_TOKEN"


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    pid: int
    start_time: int  # clock ticks since boot: with the pid it names a process for good
    command: str


def start_time(pid: int) -> int:
    """Clock ticks since boot at which the process started; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def resident_megabytes(pid: int) -> float:
    """Resident memory; 0 if the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def carries(pid: int, token: str) -> bool:
    """Whether the process has the lab's token in its environment, and is not a zombie."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{TOKEN_VARIABLE}={token}".encode() in environment.split(b"\0")


def ancestors() -> set[int]:
    """This process and those above it: a lab that is taken down from one of its own shells must not
    end the command that takes it down."""
    found = {os.getpid()}
    pid = os.getppid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def of_lab(token: str) -> Iterator[ProcessInfo]:
    """The living processes of the lab, without this one and its ancestors."""
    spared = ancestors()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in spared or not carries(int(entry), token):
            continue
        pid = int(entry)
        try:
            command = (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                .strip()
            )
        except OSError:
            continue
        yield ProcessInfo(pid, start_time(pid), command)


def end_all(token: str, grace: float = 0.0) -> list[ProcessInfo]:
    """End every process of the lab: SIGTERM and ``grace`` seconds, then SIGKILL until none is left.

    Returns those that were there. Runs several rounds, because a process may fork while it is looked for.
    """
    seen: dict[int, ProcessInfo] = {}
    rounds = [signal.SIGTERM] if grace else []
    rounds += [signal.SIGKILL] * 10
    for signum in rounds:
        descriptors = []
        for process in of_lab(token):
            seen[process.pid] = process
            try:
                descriptor = os.pidfd_open(process.pid)
            except OSError:
                continue
            if carries(process.pid, token):  # checked after opening: the pidfd cannot mean another process
                try:
                    signal.pidfd_send_signal(descriptor, signum)
                except ProcessLookupError:
                    pass
                descriptors.append(descriptor)
            else:
                os.close(descriptor)
        if not descriptors:
            break
        _await_end(descriptors, grace if signum == signal.SIGTERM else 5.0)
    return list(seen.values())


def _await_end(descriptors: list[int], timeout: float) -> None:
    poller = select.poll()
    waiting = set(descriptors)
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + timeout
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            poller.unregister(descriptor)
            waiting.discard(descriptor)
    for descriptor in descriptors:
        os.close(descriptor)
