"""An interpreter that needs nothing of the machine: for the CNI plugin, which starts on the host.

The container runtime starts the plugin outside of every container, where there may be no Python or another
one. So the interpreter goes along, in a directory beside the plugin: its binary, the shared libraries that it
is linked with, the loader for these, and the few modules of the standard library that the plugin imports.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LOADER = "ld.so"
_IMPORTED = ("_socket", "encodings.ascii", "encodings.latin_1", "json", "os")


class BundleError(Exception):
    """The interpreter cannot be copied; the text says why."""


def interpreter() -> Path:
    """The binary behind the virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))


def _loader(binary: Path) -> Path:
    """The loader that an executable names in its program headers (ELF-64, PT_INTERP). Raises BundleError."""
    data = binary.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise BundleError(f"{binary} is no executable of a 64-bit little-endian machine")
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(start, start + size * count, size):
        if struct.unpack_from("<I", data, at)[0] == 3:
            offset, length = (
                struct.unpack_from("<Q", data, at + 8)[0],
                struct.unpack_from("<Q", data, at + 32)[0],
            )
            return Path(data[offset : offset + length - 1].decode())
    raise BundleError(f"{binary} names no loader: an interpreter that is linked statically is not supported")


def _libraries(binary: Path) -> tuple[Path, list[Path]]:
    """The loader that the binary asks for, and the libraries that it finds. Raises BundleError."""
    loader = _loader(binary)
    # ldd is a script that asks the loader just this, and needs a shell for it.
    done = subprocess.run([str(loader), "--list", str(binary)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"{loader} does not understand {binary}: {done.stderr.strip()}")
    paths = [Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)]
    return loader, [path for path in paths if path.name != loader.name]


def _modules(python: Path) -> tuple[Path, list[Path]]:
    """The directory of the standard library, and the files that the plugin's imports read."""
    code = (
        f"import {', '.join(_IMPORTED)}, sys\n"
        "for module in list(sys.modules.values()):\n"
        "    for name in ('__file__', '__cached__'):\n"
        "        value = getattr(module, name, None)\n"
        "        if value and os.path.exists(value): print(value)\n"
    )
    done = subprocess.run([python, "-IS", "-c", code], capture_output=True, text=True, check=True)
    library = Path(os.path.realpath(os.__file__)).parent
    return library, [Path(line) for line in done.stdout.splitlines()]


def write(directory: Path) -> None:
    """Make the bundle at ``directory``, in place of an older one. Raises BundleError and OSError.

    A plugin that is running keeps the files that it has open; one that starts in the instant of the change
    is started again by kubelet."""
    python = interpreter()
    loader, libraries = _libraries(python)
    library, modules = _modules(python)
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        aside.chmod(0o755)
        (aside / "bin").mkdir()
        shutil.copy(python, aside / "bin" / "python3")
        shutil.copy(loader, aside / LOADER)
        (aside / "lib").mkdir()
        for path in libraries:
            shutil.copy(path, aside / "lib" / path.name)
        home = aside / "lib" / library.name
        (home / "lib-dynload").mkdir(parents=True)  # a landmark: without it the interpreter warns
        for path in modules:
            target = home / path.relative_to(library)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)  # with its time: the compiled file names it
        old = directory.with_name(f".{directory.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if directory.exists():
            os.rename(directory, old)
        os.rename(aside, directory)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
