"""What the controller has sent survives the process, so that the agent starts without the controller.

Objects are files as upstream's agent keeps them (Antrea: one enveloped protobuf object each, 0600, named by
its uid, in ``network-policies``, ``applied-to-groups`` and ``address-groups``). Writing thousands of files
takes longer than a policy may take, so they are written later, off the event loop; what happens in between
is in a journal that is written *before* OVS is: at a start the datapath never knows more than the disk.

What cannot be read is named and left out; it never ends the process. Nothing is forced to the medium: the
directory is meant for a tmpfs, and a file survives the process as soon as the kernel has it.

While the disk takes nothing, that is said once, enforcement goes on, and what could not be written is kept in
mind: the first write that succeeds begins with all of it, so that no record builds on one that is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.policies import journal, wire
from agent.policies.groups import Object
from agent.policies.journal import Journal
from agent.policies.objects import Kind
from agent.policies.stream import Deleted, Item, Patched, Put, decode
from apis import envelope
from runtime import log

logger = log.get(__name__)

DIRECTORIES = {
    Kind.NETWORK_POLICY: "network-policies",
    Kind.APPLIED_TO_GROUP: "applied-to-groups",
    Kind.ADDRESS_GROUP: "address-groups",
}
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class PolicyDisk:
    """The directory. All methods but ``flush`` and ``load`` are quick enough for the event loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._journal = Journal(directory)
        self._dirty: dict[tuple[Kind, str], Object | None] = {}
        self._files: dict[tuple[Kind, str], str] = {}
        self._replayed: set[tuple[Kind, str]] = set()
        self._missing: dict[tuple[Kind, str], Object | None] = {}  # not in the journal as it is now
        self._failures = 0
        self._synced = False
        self._synced_mark = directory / "synced"

    @property
    def has_state(self) -> bool:
        """Whether an agent has ever received the full state here, be it empty."""
        return self._synced_mark.exists()

    @property
    def has_unflushed(self) -> bool:
        return bool(self._dirty)

    @property
    def is_behind(self) -> bool:
        """Whether a process that ended now would leave less than it knew: the disk took not everything."""
        return bool(self._missing)

    # --- writing ---

    def record(self, events: Iterable[tuple[Item, Object | None]]) -> None:
        """Write events ahead, in one write. Each comes with the object that it led to (None: removed)."""
        payloads: list[bytes] = []
        changed: dict[tuple[Kind, str], Object | None] = {}
        for event, value in events:
            payloads.append(journal.payload(event))
            assert isinstance(event, Put | Patched | Deleted)
            changed[event.kind, _name(event)] = value
        if not payloads:
            return
        self._dirty.update(changed)
        try:
            self._journal.append([*journal.whole(self._missing), *payloads])
        except OSError as error:
            if not self._missing:
                logger.error(
                    "Policies cannot be written to %s: %s. What changes now would be lost in a restart",
                    self._directory,
                    error,
                )
            self._missing.update(changed)
            self._failures += 1
            return
        self._caught_up()

    async def flush(self) -> None:
        """Bring the files up to date, then drop the journal. Raises OSError; nothing is lost then."""
        work, self._dirty = self._dirty, {}
        last, failures = self._journal.number, self._failures
        self._journal.close()
        try:
            await asyncio.to_thread(self._write_files, work)
            await asyncio.to_thread(self._journal.drop, last)
        except BaseException:
            self._dirty = {**work, **self._dirty}
            raise
        if self._failures == failures:
            self._caught_up()

    def _caught_up(self) -> None:
        if self._missing:
            logger.warning("Policies can be written to %s again, nothing is missing", self._directory)
            self._missing.clear()

    def mark_synced(self) -> None:
        """Remember that the full state has been received. Where that fails, the next flush does it."""
        self._synced = True
        with contextlib.suppress(OSError):
            self._make_directories()
            self._synced_mark.touch(mode=0o600)

    def close(self) -> None:
        self._journal.close()

    def _make_directories(self) -> None:
        for name in DIRECTORIES.values():
            (self._directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write_files(self, work: dict[tuple[Kind, str], Object | None]) -> None:
        """What has ended goes first: on a full disk that is what makes room."""
        self._make_directories()
        for (kind, name), value in work.items():
            if value is None and (old := self._files.get((kind, name))) is not None:
                (self._directory / DIRECTORIES[kind] / old).unlink(missing_ok=True)
                del self._files[kind, name]
        for (kind, name), value in work.items():
            if value is not None:
                self._write_file(kind, name, value)
        if self._synced:
            self._synced_mark.touch(mode=0o600)

    def _write_file(self, kind: Kind, name: str, value: Object) -> None:
        directory = self._directory / DIRECTORIES[kind]
        old, new = self._files.get((kind, name)), _file_name(value)
        temporary = directory / f".{new}.new"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_enveloped(kind, value))
            os.replace(temporary, directory / new)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self._files[kind, name] = new
        if old is not None and old != new:
            (directory / old).unlink(missing_ok=True)

    # --- reading ---

    def load(self) -> Iterator[Put | Patched | Deleted]:
        """Everything on the disk as events: files, groups first, then journals. Blocking; never raises."""
        for kind in journal.ORDER:
            directory = self._directory / DIRECTORIES[kind]
            try:
                names = sorted(os.listdir(directory))
            except FileNotFoundError:
                continue
            except OSError as error:
                logger.warning("The stored objects in %s are left out: %s", directory, error)
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
        for event in self._journal.read():
            self._replayed.add((event.kind, _name(event)))
            yield event

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
    return envelope.wrap(wire.API_VERSION, kind.singular, journal.message(value))
