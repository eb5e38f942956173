"""The kernel that the guest runs: user-mode Linux, built once from Debian's kernel source into a cache.

The file ``config`` says what is in it. A build takes some minutes on two cores and 2 GB of disk for as long;
the result (8 MB) lies in ``$XDG_CACHE_HOME/antrea-py/uml``, under a name that follows from source and config.

    python -m tests.kernel.kernel        build it if it is missing, and print its path
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path("/usr/src/linux-source-6.1.tar.xz")  # Debian 12's package linux-source-6.1
CONFIG = Path(__file__).with_name("config")
PTRACE = Path(__file__).with_name("xstate.c")
TOOLS = ("make", "gcc", "flex", "bison", "bc", "xz", "tar")
BUILD_SECONDS = 3600.0


class BuildError(Exception):
    """The kernel cannot be built; the text says why and where the output is."""


def directory() -> Path:
    """Where the built kernel is, or will be."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    key = hashlib.sha256(CONFIG.read_bytes() + PTRACE.read_bytes())
    if SOURCE.exists():
        key.update(str(SOURCE.stat().st_size).encode())
    return Path(base, "antrea-py", "uml", key.hexdigest()[:16])


def find() -> Path | None:
    """The kernel, if it is built."""
    program = directory() / "linux"
    return program if os.access(program, os.X_OK) else None


def library() -> Path:
    """What is loaded into the kernel's process; see xstate.c."""
    return directory() / "xstate.so"


def why_not_buildable() -> str | None:
    """What is missing for a build; None if nothing is."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not SOURCE.exists():
        missing.append(str(SOURCE))
    if not missing:
        return None
    return (
        f"the kernel tier builds user-mode Linux, and {', '.join(missing)} is missing: install Debian's "
        "linux-source-6.1, make, gcc, libc6-dev, flex, bison, bc and xz-utils (`tools/setup --kernel` does)"
    )


def build() -> Path:
    """The kernel's path; builds it if it is missing. Raises BuildError."""
    target = directory()
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be building it
        if (found := find()) is not None:
            return found
        if (reason := why_not_buildable()) is not None:
            raise BuildError(reason)
        began = time.monotonic()
        log = target / "build.log"
        say(f"building user-mode Linux, which takes some minutes (output in {log})")
        with tempfile.TemporaryDirectory(dir=target) as work, open(log, "wb") as output:
            _run(["tar", "-xJf", SOURCE, "--strip-components=1", "-C", work], work, output)
            _run(["make", "-s", "ARCH=um", f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig"], work, output)
            _check(Path(work, ".config"))
            _run(["make", "-s", "ARCH=um", f"-j{os.cpu_count()}", "linux"], work, output)
            _run(["gcc", "-O2", "-shared", "-fPIC", "-o", library(), PTRACE], work, output)
            _run(["strip", "-o", target / "linux.new", "linux"], work, output)
            os.replace(target / "linux.new", target / "linux")
        say(f"built in {time.monotonic() - began:.0f} s: {target / 'linux'}")
    return target / "linux"


def _run(command: list[str | Path], work: str, output: object) -> None:
    # Nothing of the environment's own flags: what is built follows from source and config.
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=work, env=environment, stdout=output, stderr=output, timeout=BUILD_SECONDS
    )  # type: ignore[call-overload]
    if done.returncode:
        raise BuildError(f"`{' '.join(map(str, command))}` failed with exit status {done.returncode}")


def _check(made: Path) -> None:
    """Options whose dependencies are missing are dropped without a word."""
    wanted = set(re.findall(r"^CONFIG_\w+=y$", CONFIG.read_text(), re.MULTILINE))
    absent = wanted - set(made.read_text().splitlines())
    if absent:
        raise BuildError(f"the kernel's configuration came out without {', '.join(sorted(absent))}")


def say(text: str) -> None:
    print("·", text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(f"kernel: {error}")
