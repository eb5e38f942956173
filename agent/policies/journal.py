"""The journal of the policies on the disk: what was received and is not yet in a file of its own.

A sequence of records (length, CRC, event), a new file after each flush, removed when the flush is complete. A
torn or spoilt record ends the reading of its file; a record that makes no sense is left out. Records are
written whole or not at all: half a one is cut off again, because nothing behind it would be read.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent.policies import wire
from agent.policies.groups import Object
from agent.policies.objects import Kind, Policy
from agent.policies.stream import Deleted, Item, Patched, Put, decode
from apis import envelope
from runtime import log

logger = log.get(__name__)

ORDER = (Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY)  # groups before who needs them
_CODES = {Kind.ADDRESS_GROUP: b"A", Kind.APPLIED_TO_GROUP: b"T", Kind.NETWORK_POLICY: b"P"}
_KINDS = {code: kind for kind, code in _CODES.items()}
_NAME = re.compile(r"journal-(\d{8})")
MAX_RECORD = 64 * 1024 * 1024


class Journal:
    """The files ``journal-NUMBER`` of a directory. ``number`` is the last one's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None  # descriptor
        self._size = 0  # bytes of whole records in it
        self.number = 0

    def append(self, payloads: Iterable[bytes]) -> None:
        """All of them in one write, or none. Raises OSError."""
        data = b"".join(map(_sealed, payloads))
        if self._file is None:
            self._file, self._size = self._open(), 0
        try:
            _write_all(self._file, data)
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self.close()  # the next record begins another file
            raise
        self._size += len(data)

    def close(self) -> None:
        """The next record begins another file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None

    def drop(self, last: int) -> None:
        """Remove the files up to this number. Raises OSError."""
        for number, path in self._files().items():
            if number <= last:
                path.unlink(missing_ok=True)

    def read(self) -> Iterator[Put | Patched | Deleted]:
        """All events, file by file. Blocking; never raises."""
        for path in self._files().values():
            yield from _read(path)
        self.number = max([self.number, *self._files()])

    def _open(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.number = max([self.number, *self._files()]) + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._directory / f"journal-{self.number:08}", flags, 0o600)

    def _files(self) -> dict[int, Path]:
        found = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in self._directory.iterdir():
                match = _NAME.fullmatch(path.name)
                if match:
                    found[int(match[1])] = path
        return dict(sorted(found.items()))


def _read(path: Path) -> Iterator[Put | Patched | Deleted]:
    try:
        data = path.read_bytes()
    except OSError as error:
        logger.warning("The journal %s is left out, it cannot be read: %s", path, error)
        return
    at = 0
    while at + 8 <= len(data):
        length, crc = (
            int.from_bytes(data[at : at + 4], "big"),
            int.from_bytes(data[at + 4 : at + 8], "big"),
        )
        payload = data[at + 8 : at + 8 + length]
        if length > MAX_RECORD or len(payload) < length or zlib.crc32(payload) != crc:
            break
        at += 8 + length
        try:
            yield _event(payload)
        except (wire.WireError, envelope.EnvelopeError, ValueError) as error:
            logger.warning("A record of %s is left out, it cannot be read: %s", path, error)
    if at < len(data):
        logger.warning("The journal %s ends in an incomplete record; what follows it is left out", path)


def whole(objects: Mapping[tuple[Kind, str], Object | None]) -> Iterator[bytes]:
    """The payloads that make these objects what they are, whatever they were: groups before who needs them,
    and what has ended last, the other way round."""
    for kind in ORDER:
        for (held, _), value in objects.items():
            if held is kind and value is not None:
                yield b"+" + _CODES[kind] + message(value)
    for kind in reversed(ORDER):
        for (held, name), value in objects.items():
            if held is kind and value is None:
                yield b"-" + _CODES[kind] + name.encode()


def _sealed(payload: bytes) -> bytes:
    """A record of the journal."""
    return len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload


def payload(event: Item) -> bytes:
    if isinstance(event, Put):
        return b"+" + _CODES[event.kind] + event.raw
    if isinstance(event, Patched):
        return b"~" + _CODES[event.kind] + event.raw
    assert isinstance(event, Deleted)
    return b"-" + _CODES[event.kind] + event.name.encode()


def _event(payload: bytes) -> Put | Patched | Deleted:
    operation, kind, raw = payload[:1], _KINDS.get(payload[1:2]), payload[2:]
    if kind is None:
        raise ValueError(f"it is of the unknown kind {payload[1:2]!r}")
    if operation == b"+":
        return Put(kind, decode(kind, raw), raw)
    if operation == b"~" and kind is not Kind.NETWORK_POLICY:
        return Patched(kind, wire.group_patch(kind, raw), raw)
    if operation == b"-":
        return Deleted(kind, raw.decode(), b"")
    raise ValueError(f"it has the unknown operation {operation!r}")


def message(value: Object) -> bytes:
    return value.raw if isinstance(value, Policy) else wire.group_message(value)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
