"""Kubernetes' objects on their way in: raw bytes to the few fields that matter, queued for the computation.

One ``Input`` per resource is the handler of a reflector. It decodes into the partial structures of
apis.kubernetes, puts what it learnt into the queue that the pump drains, and keeps the keys it has handed
over, so that after a new list it knows what has gone meanwhile. An object that does not decode is named in
the log, counted, and skipped; what was known of it before stays.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from apis.envelope import WatchFrame
from apiserver.pace import Pace
from runtime import log, metrics

logger = log.get("controller.inputs")

MALFORMED = metrics.Counter(
    "antrea_controller_malformed_objects_total",
    "Objects of the Kubernetes API that could not be understood and were skipped.",
    ["resource"],
    registry=metrics.REGISTRY,
)

Key = tuple[str, str]  # (namespace, name); the namespace of cluster-scoped objects is empty


class Operation(NamedTuple):
    """One thing learnt: the object's present state, or None when it is gone."""

    kind: str
    key: Key
    value: Any


class Queue:
    """What the inputs have learnt and the pump has not yet taken. ``full`` makes lists wait for the pump."""

    def __init__(self, high: int = 5000) -> None:
        self.operations: deque[Operation] = deque()
        self.wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._high = high

    def put(self, operation: Operation) -> None:
        self.operations.append(operation)
        self.wake.set()
        if len(self.operations) > self._high:
            self._drained.clear()

    def taken(self) -> None:
        """The pump reports that it has made room."""
        if len(self.operations) <= self._high // 2:
            self._drained.set()

    async def room(self) -> None:
        """Wait until the pump keeps up: memory stays bounded while 100,000 objects arrive at once."""
        await self._drained.wait()


class Keys:
    """A set of keys, by namespace: 100,000 Pods take 7 MB this way, 16 as a set of pairs."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, key: Key) -> None:
        names = self._names.get(key[0])
        if names is None:
            names = self._names[key[0]] = set()
        names.add(key[1])

    def discard(self, key: Key) -> bool:
        """Whether the key was there."""
        names = self._names.get(key[0])
        if names is None or key[1] not in names:
            return False
        names.discard(key[1])
        if not names:
            del self._names[key[0]]
        return True

    def __contains__(self, key: Key) -> bool:
        return key[1] in self._names.get(key[0], ())

    def without(self, other: Keys) -> Iterator[Key | None]:
        """The keys that are not in ``other``, and None for each namespace that was looked through. Keys may
        be discarded meanwhile."""
        for namespace in list(self._names):
            yield None
            names = self._names.get(namespace, set())
            known = other._names.get(namespace)
            for name in list(names) if known is None else names - known:
                yield namespace, name


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Metadata


_decode_name = msgspec.json.Decoder(_Named).decode


class Input:
    """Follows one resource. ``decode`` turns raw JSON into a value with metadata (name, namespace)."""

    def __init__(
        self, kind: str, noun: str, decode: Callable[[bytes | msgspec.Raw], Any], queue: Queue
    ) -> None:
        self.kind = kind  # the resource, such as "pods"
        self.noun = noun  # one of them in a sentence, such as "Pod"
        self.listed = False  # the first list is in the queue, whole
        self.received = 0
        self.malformed: dict[Key, str] = {}  # objects that are being skipped at present, with the reason
        self._decode = decode
        self._queue = queue
        self._known = Keys()
        self._listing: Keys | None = None

    async def list_started(self) -> None:
        self._listing = Keys()

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        assert self._listing is not None
        pace = Pace()
        for item in items:
            key = self._take(item)
            if key is not None:
                self._listing.add(key)
            if pace.due():
                await pace.rest()
        await self._queue.room()
        await asyncio.sleep(0)

    async def list_finished(self) -> None:
        assert self._listing is not None
        pace = Pace()
        for key in self._known.without(self._listing):
            if key is not None:
                self._forget(key)
            if pace.due():
                await self._queue.room()
                await pace.rest()
        self._listing = None
        self.listed = True
        self._queue.wake.set()

    async def events(self, events: Sequence[WatchFrame]) -> None:
        pace = Pace()
        for event in events:
            if pace.due():
                await pace.rest()
            if event.type == "DELETED":
                key = _key_of(event.object)
                if key is not None:
                    self._forget(key)
            elif event.type in ("ADDED", "MODIFIED"):
                self._take(event.object)
        await self._queue.room()

    def _take(self, raw: bytes | msgspec.Raw) -> Key | None:
        """Queue the object's state; the key, if the object has one, even if nothing else of it is usable."""
        self.received += 1
        try:
            value = self._decode(raw)
            key = (value.metadata.namespace, value.metadata.name)
        except (msgspec.MsgspecError, ValueError, UnicodeDecodeError, RecursionError) as error:
            known = _key_of(raw)
            self.reject(known or ("", "(unnamed)"), str(error))
            return known
        if not key[1]:
            self.reject(("", "(unnamed)"), "it has no metadata.name")
            return None
        if self.malformed:
            self.malformed.pop(key, None)
        self._known.add(key)
        self._queue.put(Operation(self.kind, key, value))
        return key

    def _forget(self, key: Key) -> None:
        self.malformed.pop(key, None)
        if self._known.discard(key):
            self._queue.put(Operation(self.kind, key, None))

    def knows(self, key: Key) -> bool:
        """Whether the object exists, as far as it has been heard."""
        return key in self._known

    def reject(self, key: Key, reason: str) -> None:
        """Report an object that cannot be used, once per reason."""
        MALFORMED.labels(self.kind).inc()
        if self.malformed.get(key) == reason:
            return
        if len(self.malformed) < 10_000:
            self.malformed[key] = reason
        name = "/".join(filter(None, key))
        logger.warning("%s %s is malformed and skipped: %s", self.noun, name, reason)


def _key_of(raw: bytes | msgspec.Raw) -> Key | None:
    try:
        metadata = _decode_name(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (metadata.namespace, metadata.name) if metadata.name else None
