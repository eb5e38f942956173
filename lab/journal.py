"""What a lab has made outside its directory, written down before it is made.

A lab may be killed between any two instructions. Whatever ``antrea-lab down`` has to remove is therefore
in the journal first: one JSON object per line, appended and flushed. Network namespaces are the only such
resource: links, taps and addresses live in them and go with them, files live in the lab's directory, and
processes are known by the token in their environment (see lab/processes).

A line ``netns NAME`` says "about to make NAME, which was not there"; a second one with the inode says
"this is the one that was made". What bears the name but has another inode is somebody else's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str  # "netns"
    name: str
    inode: int | None = None
    gone: bool = False


class Journal:
    """Append-only; every writer (the supervisor, each kubelet) has a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: Entry) -> None:
        line = json.dumps({"kind": entry.kind, "name": entry.name, "inode": entry.inode, "gone": entry.gone})
        # O_APPEND makes one short write one line, even when two processes write at the same time.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def entries(self) -> Iterator[Entry]:
        """All lines; one that was cut short by a crash ends the file and is skipped (it made nothing)."""
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                yield Entry(**json.loads(line))
            except (ValueError, TypeError):
                continue

    def remaining(self) -> dict[tuple[str, str], Entry]:
        """What is made, or may have been made, and not yet removed, by (kind, name)."""
        found: dict[tuple[str, str], Entry] = {}
        for entry in self.entries():
            key = (entry.kind, entry.name)
            if entry.gone:
                found.pop(key, None)
            else:
                found[key] = entry
        return found

    def compact(self) -> None:
        """Forget the pairs of made and removed: the file does not grow with the pods' coming and going."""
        kept = self.remaining().values()
        temporary = self.path.with_suffix(".new")
        temporary.write_text(
            "".join(
                json.dumps({"kind": e.kind, "name": e.name, "inode": e.inode, "gone": False}) + "\n"
                for e in kept
            )
        )
        os.replace(temporary, self.path)
