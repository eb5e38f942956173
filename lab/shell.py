"""Short-lived commands from the event loop: bounded in time, their complaint in the error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from lab.errors import LabError

DEFAULT_TIMEOUT = 20.0


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool = True,
) -> tuple[int, bytes, bytes]:
    """Run a command to its end; ``env`` is added to this process's. Raises LabError if it fails or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed; `tools/setup` installs what the lab needs") from None
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), timeout)
    except TimeoutError:
        raise LabError(f"`{' '.join(argv)}` did not end within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = process.returncode or 0
    if check and code:
        complaint = err.decode(errors="replace").strip() or out.decode(errors="replace").strip()
        raise LabError(f"`{' '.join(argv)}` failed with exit status {code}: {complaint}")
    return code, out, err
