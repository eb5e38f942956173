"""One thread for everything that talks netlink, also inside pods' network namespaces.

pyroute2's own asyncio sockets cannot run on uvloop, and a network namespace is entered per thread: so all of
it happens in one worker thread, which enters a namespace only for the length of one errand. pyroute2's own
way into a namespace forks a process; a process of many threads and 100 MB should not.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespaceGone(Exception):
    """The network namespace at a path does not exist (any more)."""


class Netlink:
    """``await netlink.run(errand)``: call ``errand(iproute)`` in the thread, one after another."""

    def __init__(self, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="netlink", initializer=_remember_home)

    async def run(self, errand: Callable[[IPRoute], T], netns: str | None = None) -> T:
        """What the errand returns. With ``netns`` it runs inside the namespace at that path.

        Raises NetworkNamespaceGone, TimeoutError, OSError, and what the errand raises.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, _perform, errand, netns)
        return await asyncio.wait_for(asyncio.shield(future), self.timeout)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


_thread = threading.local()


def _remember_home() -> None:
    _thread.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _perform(errand: Callable[[IPRoute], Any], netns: str | None) -> Any:
    if netns is None:
        return _with_socket(errand)
    fd = open_namespace(netns)
    try:
        try:
            _setns(fd)
        except OSError as error:  # a mount point left behind without its namespace is a plain file
            raise NetworkNamespaceGone(f"{netns} is no network namespace (any more).") from error
        try:
            return _with_socket(errand)
        finally:
            _setns(_thread.home)
    finally:
        os.close(fd)


def _with_socket(errand: Callable[[IPRoute], Any]) -> Any:
    # A loop of its own kind: a process-wide uvloop policy would hand pyroute2 a loop without netlink.
    loop = asyncio.SelectorEventLoop()
    try:
        with IPRoute(use_event_loop=loop) as ipr:
            return errand(ipr)
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    finally:
        loop.close()


def open_namespace(path: str) -> int:
    """A file descriptor of the network namespace at ``path``. Raises NetworkNamespaceGone.

    Nothing but a regular file is opened, which such a namespace looks like: to open a pipe would wait for its
    other end, and everything that talks netlink with it.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NetworkNamespaceGone(f"{path} is no network namespace.")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
        raise NetworkNamespaceGone(f"The network namespace {path} does not exist.") from error


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"entering a network namespace failed: {os.strerror(code)}")
