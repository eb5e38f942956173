"""Removing a lab, in whatever state it is: asked nicely, killed half-way, or dead for weeks.

Three sources say what belongs to it, and nothing else is touched: the token in the environment of its
processes, the journals of its namespaces, and its directory.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab import processes
from lab.directory import LabDirectory
from lab.errors import LabError
from lab.journal import Entry, Journal
from lab.nodes import netns
from lab.supervisor import control

ORDERLY_TIMEOUT = 30.0
SUPERVISOR_EXIT = 5.0


@dataclass
class Report:
    orderly: bool = False  # the supervisor took it down itself
    killed: list[str] = field(default_factory=list)  # command lines of processes that were left
    namespaces: list[str] = field(default_factory=list)
    spared: list[str] = field(
        default_factory=list
    )  # namespaces that bear a name of ours but are somebody else's


def supervisor_runs(directory: LabDirectory) -> bool:
    """Whether somebody answers on the lab's control socket."""
    try:
        control.call(directory.control_socket, {"op": "status"}, timeout=10)
    except control.SupervisorGone:
        return False
    except LabError:
        return True
    return True


def take_down(directory: LabDirectory, say: Callable[[str], None] = lambda text: None) -> Report:
    """Remove the lab and all it made. Raises LabError if there is none."""
    facts = directory.facts()
    report = Report()
    try:
        control.call(directory.control_socket, {"op": "down"}, progress=say, timeout=ORDERLY_TIMEOUT)
        report.orderly = True
        _await_end(facts.token)
    except control.SupervisorGone:
        say("the supervisor is gone; what it left is removed")
    except LabError as error:
        say(f"{error}; its processes are killed")
    report.killed = [process.command for process in processes.end_all(facts.token)]
    for journal in _journals(directory):
        for (kind, name), entry in journal.remaining().items():
            if kind == "netns":
                _remove_namespace(name, entry, journal, report)
    directory.remove()
    return report


def _await_end(token: str) -> None:
    """Give processes that were told to end the moment they need to be gone."""
    deadline = time.monotonic() + SUPERVISOR_EXIT
    while time.monotonic() < deadline and any(True for _ in processes.of_lab(token)):
        time.sleep(0.02)


def _journals(directory: LabDirectory) -> list[Journal]:
    """The kubelets' first: pods' namespaces before their node's."""
    paths: list[Path] = [directory.node(name).journal for name in directory.nodes()]
    return [Journal(path) for path in (*paths, directory.journal)]


def _remove_namespace(name: str, entry: Entry, journal: Journal, report: Report) -> None:
    if netns.removable(entry):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=20)
        report.namespaces.append(name)
    elif netns.path_of(name).exists():
        report.spared.append(name)
    journal.write(Entry("netns", name, gone=True))
