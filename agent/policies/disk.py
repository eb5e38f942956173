"""What the controller has sent survives the process, so that the agent starts without the controller.

Objects are files as upstream's agent keeps them (Antrea: one enveloped protobuf object each, 0600, named by
its uid, in ``network-policies``, ``applied-to-groups`` and ``address-groups``). Writing thousands of files
takes longer than a policy may take, so they are written later, off the event loop; what happens in between
is in a journal that is written *before* OVS is: at a start the datapath never knows more than the disk.

The journal is a sequence of records (length, CRC, event), a new file for each flush, removed when the flush
is complete. A torn or spoilt record ends the reading of its file; a spoilt object is left out. Neither ends
the process. Nothing is forced to the medium: the directory is meant for a tmpfs, and a file survives the
process as soon as the kernel has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.policies import wire
from agent.policies.groups import Object
from agent.policies.objects import Kind, Policy
from agent.policies.stream import Deleted, Item, Patched, Put, decode
from apis import envelope
from runtime import log

logger = log.get(__name__)

DIRECTORIES = {
    Kind.NETWORK_POLICY: "network-policies",
    Kind.APPLIED_TO_GROUP: "applied-to-groups",
    Kind.ADDRESS_GROUP: "address-groups",
}
_ORDER = (Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY)  # groups before who needs them
_CODES = {Kind.ADDRESS_GROUP: b"A", Kind.APPLIED_TO_GROUP: b"T", Kind.NETWORK_POLICY: b"P"}
_KINDS = {code: kind for kind, code in _CODES.items()}
_JOURNAL = re.compile(r"journal-(\d{8})")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MAX_RECORD = 64 * 1024 * 1024


class PolicyDisk:
    """The directory. All methods but ``flush`` and ``load`` are quick enough for the event loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._journal: int | None = None  # file descriptor
        self._number = 0
        self._dirty: dict[tuple[Kind, str], Object | None] = {}
        self._files: dict[tuple[Kind, str], str] = {}
        self._replayed: set[tuple[Kind, str]] = set()
        self._broken = False
        self._synced_mark = directory / "synced"

    @property
    def has_state(self) -> bool:
        """Whether an agent has ever received the full state here, be it empty."""
        return self._synced_mark.exists()

    @property
    def has_unflushed(self) -> bool:
        return bool(self._dirty)

    # --- writing ---

    def record(self, events: Iterable[tuple[Item, Object | None]]) -> None:
        """Write events ahead, in one write. Each comes with the object that it led to (None: removed)."""
        buffer = bytearray()
        for event, value in events:
            payload = _payload(event)
            assert isinstance(event, Put | Patched | Deleted)
            buffer += len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload
            self._dirty[event.kind, _name(event)] = value
        if not buffer:
            return
        try:
            if self._journal is None:
                self._journal = self._open_journal()
            _write_all(self._journal, buffer)
            self._broken = False
        except OSError as error:
            if not self._broken:
                logger.error(
                    "Policies cannot be written to %s, they would be lost in a restart: %s",
                    self._directory,
                    error,
                )
            self._broken = True

    async def flush(self) -> None:
        """Bring the files up to date, then drop the journal. Raises OSError; nothing is lost then."""
        work, self._dirty = self._dirty, {}
        last = self._number
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None
        try:
            await asyncio.to_thread(self._write_files, work)
            await asyncio.to_thread(self._drop_journals, last)
        except BaseException:
            self._dirty = {**work, **self._dirty}
            raise

    def mark_synced(self) -> None:
        """Remember that the full state has been received."""
        with contextlib.suppress(OSError):
            self._make_directories()
            self._synced_mark.touch(mode=0o600)

    def close(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _open_journal(self) -> int:
        self._make_directories()
        self._number = max([self._number, *self._journals()]) + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._directory / f"journal-{self._number:08}", flags, 0o600)

    def _make_directories(self) -> None:
        for name in DIRECTORIES.values():
            (self._directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _journals(self) -> dict[int, Path]:
        found = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in self._directory.iterdir():
                match = _JOURNAL.fullmatch(path.name)
                if match:
                    found[int(match[1])] = path
        return dict(sorted(found.items()))

    def _write_files(self, work: dict[tuple[Kind, str], Object | None]) -> None:
        self._make_directories()
        for (kind, name), value in work.items():
            directory = self._directory / DIRECTORIES[kind]
            old = self._files.get((kind, name))
            new = None if value is None else _file_name(value)
            if value is not None and new is not None:
                temporary = directory / f".{new}.new"
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(_enveloped(kind, value))
                os.replace(temporary, directory / new)
                self._files[kind, name] = new
            if old is not None and old != new:
                (directory / old).unlink(missing_ok=True)
                if new is None:
                    del self._files[kind, name]

    def _drop_journals(self, last: int) -> None:
        for number, path in self._journals().items():
            if number <= last:
                path.unlink(missing_ok=True)

    # --- reading ---

    def load(self) -> Iterator[Put | Patched | Deleted]:
        """Everything on the disk as events: files, groups first, then journals. Blocking; never raises."""
        for kind in _ORDER:
            directory = self._directory / DIRECTORIES[kind]
            try:
                names = sorted(os.listdir(directory))
            except OSError:
                continue
            for name in names:
                if name.startswith("."):
                    with contextlib.suppress(OSError):
                        (directory / name).unlink()
                    continue
                put = self._load_file(kind, directory / name)
                if put is not None:
                    self._files[kind, put.value.name] = name
                    yield put
        for path in self._journals().values():
            yield from self._load_journal(path)
        self._number = max([self._number, *self._journals()])

    def settle(self, value_of: Callable[[Kind, str], Object | None]) -> None:
        """After ``load`` has been applied: what came from a journal has to get into the files."""
        for kind, name in self._replayed:
            self._dirty[kind, name] = value_of(kind, name)
        self._replayed.clear()

    def _load_file(self, kind: Kind, path: Path) -> Put | None:
        try:
            body = envelope.unwrap(path.read_bytes())
            if body.kind != kind.singular:
                raise wire.WireError(f"It holds an object of kind {body.kind!r}.")
            return Put(kind, decode(kind, body.raw), body.raw)
        except (OSError, envelope.EnvelopeError, wire.WireError, ValueError) as error:
            logger.warning("The stored object %s is left out, it cannot be read: %s", path, error)
            return None

    def _load_journal(self, path: Path) -> Iterator[Put | Patched | Deleted]:
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
                event = _event(payload)
                self._replayed.add((event.kind, _name(event)))
                yield event
            except (wire.WireError, envelope.EnvelopeError, ValueError) as error:
                logger.warning("A record of %s is left out, it cannot be read: %s", path, error)
        if at < len(data):
            logger.warning("The journal %s ends in an incomplete record; what follows it is left out", path)


def _payload(event: Item) -> bytes:
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


def _name(event: Put | Patched | Deleted) -> str:
    if isinstance(event, Put):
        return event.value.name
    return event.patch.name if isinstance(event, Patched) else event.name


def _file_name(value: Object) -> str:
    """The uid where it can be a file's name, else a digest of the name (a Group's name has a slash)."""
    if _SAFE_NAME.fullmatch(value.uid):
        return value.uid
    return hashlib.sha256(value.name.encode()).hexdigest()


def _enveloped(kind: Kind, value: Object) -> bytes:
    raw = value.raw if isinstance(value, Policy) else wire.group_message(value)
    return envelope.wrap(wire.API_VERSION, kind.singular, raw)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
