"""vswitchd's control socket, spoken directly: what ``ovs-appctl`` does, without a process for each command.

The protocol is JSON-RPC without separators: method and a list of strings go out, a string comes back. The
commands run in vswitchd's main thread, which on the userspace datapath also forwards packets.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

MAX_REPLY = 256 << 20  # bytes; a conntrack entry takes about 200


class UnixctlError(Exception):
    """The command could not be given, or vswitchd refused it."""


async def call(socket: str | Path, command: str, *arguments: str, timeout: float = 5.0) -> str:
    """Runs one command and gives its output. Raises UnixctlError."""
    request = json.dumps({"method": command, "params": list(arguments), "id": 0}).encode()
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(request)
                reply = await _reply(reader)
            finally:
                writer.close()
    except TimeoutError:
        raise UnixctlError(f"{socket} did not answer to {command} within {timeout} s") from None
    except OSError as error:
        raise UnixctlError(f"cannot give {command} to {socket}: {error.strerror or error}") from None
    if reply.get("error") is not None:
        raise UnixctlError(f"{socket} refused {command}: {str(reply['error']).strip()}")
    return str(reply.get("result") or "")


async def _reply(reader: asyncio.StreamReader) -> dict[str, object]:
    """The first JSON object that arrives; the socket stays open after it, so its end must be recognized."""
    data = bytearray()
    while True:
        chunk = await reader.read(1 << 20)
        if not chunk:
            raise UnixctlError(f"the control socket was closed after {len(data)} bytes of an answer")
        data += chunk
        if len(data) > MAX_REPLY:
            raise UnixctlError(f"an answer of more than {MAX_REPLY} bytes")
        if not data.rstrip().endswith(b"}"):
            continue
        try:
            value = json.loads(data)
        except ValueError:
            continue
        if not isinstance(value, dict):
            raise UnixctlError("an answer that is not a JSON object")
        return value


def socket_of_vswitchd(run_dir: Path) -> Path | None:
    """Where the running vswitchd of an OVS run directory listens: its socket carries its process id."""
    fixed = run_dir / "ovs-vswitchd.ctl"
    if fixed.exists():
        return fixed
    try:
        pid = int((run_dir / "ovs-vswitchd.pid").read_text())
    except (OSError, ValueError):
        return None
    return run_dir / f"ovs-vswitchd.{pid}.ctl"
