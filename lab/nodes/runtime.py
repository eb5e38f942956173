"""The lab's stand-in for a container runtime: one small process per node that forks the pods' responders.

    python -S -m lab.nodes.runtime SOCKET

The kubelet stand-in speaks to it over a unix socket, JSON lines in both directions:

    → {"op": "start", "id": "…", "name": "ns/pod", "netns": "…", "ports": [["TCP", 80]], "alone": true}
    ← {"id": "…", "pid": 123}                      or {"id": "…", "error": "…"}
    → {"op": "stop", "id": "…", "grace": 30}       SIGTERM, SIGKILL after grace seconds
    → {"op": "remove", "id": "…"}                  forget it
    → {"op": "list"}                               ← {"containers": {"…": {"pid": 123, "exit": null}}}
    ← {"event": "exit", "id": "…", "exit": -9}     minus the signal's number, or the exit status

Responders are this process's children and live on when the kubelet is restarted; when this process dies
they die with it, as containers do with their shim, and the kubelet starts them again. Few imports: what
is imported here, every pod carries.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from lab.nodes.responder import Responder

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)


class Container:
    __slots__ = ("exit", "kill_at", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit: int | None = None
        self.kill_at: float | None = None


class Runtime:
    def __init__(self, path: str) -> None:
        self._containers: dict[str, Container] = {}
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        self._listener.bind(path)
        os.umask(previous)
        self._listener.listen(8)
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.set_wakeup_fd(self._wake_write.fileno())
        self._poll = select.poll()
        for sock in (self._listener, self._wake_read):
            self._poll.register(sock.fileno(), select.POLLIN)

    def run(self) -> None:
        gc.collect()
        gc.disable()  # neither this process nor the responders make cycles; collecting would unshare pages
        while True:
            for descriptor, _ in self._poll.poll(self._timeout()):
                if descriptor == self._listener.fileno():
                    connection, _ = self._listener.accept()
                    self._clients[connection.fileno()] = (connection, bytearray())
                    self._poll.register(connection.fileno(), select.POLLIN)
                elif descriptor == self._wake_read.fileno():
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)
                elif descriptor in self._clients:
                    self._read(descriptor)
            self._reap()
            self._kill_overdue()

    def _timeout(self) -> float | None:
        due = [c.kill_at for c in self._containers.values() if c.kill_at is not None and c.exit is None]
        return max(0.0, (min(due) - time.monotonic()) * 1000) if due else None

    # -- the kubelet's requests --------------------------------------------------------------------
    def _read(self, descriptor: int) -> None:
        connection, buffer = self._clients[descriptor]
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(descriptor)
            del self._clients[descriptor]
            connection.close()
            return
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            try:
                answer = self._handle(json.loads(line))
            except Exception as error:  # a bad request must not end the other pods
                answer = {"error": f"{type(error).__name__}: {error}"}
            if answer is not None:
                self._send(connection, answer)

    def _send(self, connection: socket.socket, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(message).encode() + b"\n")

    def _handle(self, request: dict[str, Any]) -> dict[str, Any] | None:
        operation = request["op"]
        if operation == "list":
            return {"containers": {k: {"pid": c.pid, "exit": c.exit} for k, c in self._containers.items()}}
        identifier = request["id"]
        if operation == "start":
            return self._start(identifier, request)
        container = self._containers.get(identifier)
        if operation == "stop" and container and container.exit is None:
            os.kill(container.pid, signal.SIGTERM)  # our own child and not reaped: the pid is still its
            container.kill_at = time.monotonic() + float(request.get("grace", 0))
        elif operation == "stop" and container is None:
            return {"event": "exit", "id": identifier, "exit": 0}
        elif operation == "remove" and container:
            if container.exit is None:
                os.kill(container.pid, signal.SIGKILL)
            del self._containers[identifier]
        return None

    def _start(self, identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        old = self._containers.get(identifier)
        if old and old.exit is None:
            return {"id": identifier, "pid": old.pid}
        ready, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self._become_pod(request, report)
        os.close(report)
        self._containers[identifier] = Container(pid)
        with os.fdopen(ready, "rb") as pipe:
            complaint = pipe.read().decode(errors="replace")  # empty once the ports are open
        if complaint:  # it never ran: nobody is to hear of its end
            os.waitpid(pid, 0)
            del self._containers[identifier]
            return {"id": identifier, "error": complaint}
        return {"id": identifier, "pid": pid}

    def _become_pod(self, request: dict[str, Any], report: int) -> None:
        """In the forked child: never returns."""
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _libc.prctl(_PR_SET_NAME, b"pod:" + request["name"].rpartition("/")[2].encode()[:11])
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for connection, _ in self._clients.values():
                connection.close()
            for sock in (self._listener, self._wake_read, self._wake_write):
                sock.close()
            namespace = os.open(request["netns"], os.O_RDONLY)
            if _libc.setns(namespace, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {request['netns']}")
            os.close(namespace)
            ports = [(str(protocol), int(port)) for protocol, port in request["ports"]]
            responder = Responder(request["name"], ports, bool(request.get("alone", True)))
            os.close(report)
        except BaseException as error:
            os.write(report, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
        try:
            responder.run()
        finally:
            os._exit(1)

    # -- deaths ------------------------------------------------------------------------------------
    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for identifier, container in self._containers.items():
                if container.pid == pid and container.exit is None:
                    container.exit = os.waitstatus_to_exitcode(status)
                    for connection, _ in self._clients.values():
                        self._send(connection, {"event": "exit", "id": identifier, "exit": container.exit})

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for container in self._containers.values():
            if container.exit is None and container.kill_at is not None and container.kill_at <= now:
                os.kill(container.pid, signal.SIGKILL)
                container.kill_at = None


if __name__ == "__main__":
    Runtime(sys.argv[1]).run()
