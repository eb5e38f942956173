"""A file system that is soon full: a tmpfs of a few pages, in a directory of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Not a byte more can be written; files that have room in their last page still have that."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while file.write(b"\0" * PAGE):
                    pass
            except OSError:
                return

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, pages: int = 64) -> Iterator[SmallDisk]:
    """Mounts it at ``path``, which is made. Needs root."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE},mode=0700", "small", str(path)], check=True
    )
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
