"""Readiness probes from the node, as kubelet makes them: httpGet and tcpSocket against the pod's address."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from lab.nodes.kubelet.pod_facts import probe_port


def unsupported(probe: dict[str, Any]) -> str:
    """Why the lab cannot make this probe; empty if it can. Nothing of the image runs in the lab."""
    for kind in ("exec", "grpc"):
        if kind in probe:
            return f"the lab makes no {kind} probes (no image runs here); the container counts as ready"
    return ""


async def check(container: dict[str, Any], probe: dict[str, Any], address: str) -> bool:
    """One probe; True if it succeeded within its time-out."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if action := probe.get("httpGet"):
            port = probe_port(container, action.get("port", 80))
            return port is not None and await asyncio.wait_for(
                _http(action.get("host") or address, port, action.get("path") or "/"), timeout
            )
        if action := probe.get("tcpSocket"):
            port = probe_port(container, action.get("port", 80))
            return port is not None and await asyncio.wait_for(
                _connect(action.get("host") or address, port), timeout
            )
    except (OSError, TimeoutError, ValueError):
        return False
    return True


async def _connect(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _http(address: str, port: int, path: str) -> bool:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        host = f"[{address}]" if ":" in address else address
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        status = int(line.split()[1])
        return 200 <= status < 400
    finally:
        writer.close()
