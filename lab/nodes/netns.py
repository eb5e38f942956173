"""Named network namespaces: made, entered and removed; each is in a journal before it exists.

Only namespaces that a journal names are ever removed, and only if the inode is the recorded one.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from lab.errors import LabError
from lab.journal import Entry, Journal
from lab.shell import run

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> Path:
    return DIRECTORY / name


def enter(path: str | Path) -> None:
    """Move the calling thread into a network namespace. Its other threads stay where they are."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot enter the network namespace {path}: {os.strerror(error)}")
    finally:
        os.close(descriptor)


def inode(name: str) -> int | None:
    """The inode of the namespace behind a name; None if there is none (or a mere file)."""
    try:
        return path_of(name).stat().st_ino
    except FileNotFoundError:
        return None


async def make(name: str, journal: Journal) -> None:
    """Make the namespace with its loopback up. Raises LabError if somebody else's bears the name."""
    if path_of(name).exists():
        raise LabError(
            f"a network namespace {name} exists that this lab did not make. "
            "Choose another name for the lab (--name), or remove it yourself: ip netns del " + name
        )
    journal.write(Entry("netns", name))
    await run(["ip", "netns", "add", name])
    journal.write(Entry("netns", name, inode(name)))
    await run(["ip", "-n", name, "link", "set", "lo", "up"])


async def remove(name: str, journal: Journal) -> None:
    """Remove a namespace that the journal names; nothing happens where it is gone already."""
    entry = journal.remaining().get(("netns", name))
    if entry is None:
        return
    if removable(entry):
        await run(["ip", "netns", "del", name], check=False)
    journal.write(Entry("netns", name, gone=True))


def removable(entry: Entry) -> bool:
    """Whether what now bears the name is what the journal's owner made."""
    there = inode(entry.name)
    return there is not None and entry.inode in (None, there)


async def batch(name: str, commands: str) -> None:
    """Several ``ip`` commands (one per line, without the word ip) inside the namespace, in one process."""
    await run(["ip", "-n", name, "-batch", "-"], stdin=commands.encode())


async def write_sysctls(name: str, values: dict[str, str]) -> None:
    """Set sysctls in the namespace: {"net/ipv4/ip_forward": "1"}."""
    script = "set -e\n" + "".join(f"echo {value} > /proc/sys/{key}\n" for key, value in values.items())
    await run(["nsenter", f"--net={path_of(name)}", "sh", "-c", script])
