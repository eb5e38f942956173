"""A long conversation between two pods, as a program of the standard library that runs inside them.

python echo.py serve PORT                 echoes TCP and UDP until it is killed
python echo.py talk tcp|udp HOST PORT     a numbered message every 5 ms until stdin closes, then one line
                                          of JSON: sent, echoed, longest_gap (seconds without an echo)

$ECHO_INTERVAL is another time between messages, in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time

INTERVAL = float(os.environ.get("ECHO_INTERVAL", "0.005"))


def serve(port: int) -> None:
    threading.Thread(target=serve_udp, args=(port,), daemon=True).start()
    with socket.create_server(("0.0.0.0", port)) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_tcp, args=(connection,), daemon=True).start()


def serve_tcp(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(4096):
            connection.sendall(data)


def serve_udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        while True:
            data, sender = sock.recvfrom(4096)
            sock.sendto(data, sender)


def talk(protocol: str, host: str, port: int) -> dict[str, float]:
    """Eight bytes a message; a TCP stream is cut into them again, so every lost one is missed."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(5)
        sock.connect((host, port))
        if protocol == "tcp":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        print("talking", flush=True)
        sent = echoed = 0
        pending = b""
        due = last = time.monotonic()
        longest = 0.0
        stop_at: float | None = None
        while stop_at is None or time.monotonic() < stop_at:
            now = time.monotonic()
            if stop_at is None and now >= due:
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    sock.send(sent.to_bytes(8, "big"))
                sent += 1
                due += INTERVAL
            readable, _, _ = select.select([sock, sys.stdin], [], [], max(0.0, due - time.monotonic()))
            if sock in readable:
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    data = sock.recv(65536)
                    if not data and protocol == "tcp":
                        break
                    now = time.monotonic()
                    longest, last = max(longest, now - last), now
                    pending += data
                    echoed += len(pending) // 8
                    pending = pending[len(pending) // 8 * 8 :]
            if stop_at is None and sys.stdin in readable:
                stop_at = time.monotonic() + 2.0  # for what is on its way
                due = stop_at
            if stop_at is not None and echoed >= sent:
                break
        return {"sent": sent, "echoed": echoed, "longest_gap": round(longest, 4)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(talk(sys.argv[2], sys.argv[3], int(sys.argv[4]))), flush=True)
