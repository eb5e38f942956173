"""From the inputs' queue through the computation into the stores, never longer than a slice at a time.

Idle, a change is on its way to the watchers in the next turn of the event loop. Busy, the queue grows while
one batch is being computed, the next batch is larger, and events of one object coalesce. No turn of the loop
is held longer than ``SLICE``: loading, computing and publishing are cut into slices, because between them
the process must answer probes and feed watches.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from apis.record import Change
from computation.errors import MalformedObject
from controller.inputs import Input, Key, Operation, Queue
from runtime import log, metrics

logger = log.get("controller.pump")

CHUNK = 64  # changes published in one call: watchers see these at once
SLICE = 0.008  # seconds; the promise is 20 ms for everything that one turn of the loop does

FLUSHES = metrics.Counter(
    "antrea_controller_flushes_total", "Batches of inputs computed and published.", registry=metrics.REGISTRY
)
CHANGES = metrics.Counter(
    "antrea_controller_changes_total",
    "Changes published to the stores.",
    ["resource"],
    registry=metrics.REGISTRY,
)
FLUSH_SECONDS = metrics.Histogram(
    "antrea_controller_flush_seconds",
    "From the first input of a batch to its last change in the stores.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 20),
    registry=metrics.REGISTRY,
)


class Graph(Protocol):
    """What the pump needs of computation.graph.Graph."""

    def flush(self) -> Iterator[Change]: ...


Publish = Callable[[list[Change]], object]


class Pump:
    """Owns the graph: nobody else calls it.

    ``apply`` has a function (key, value or None) per kind of operation. ``settled`` is called after each
    batch with the states of Pods that were in it: everything that follows from them has been published.
    """

    def __init__(
        self,
        graph: Graph,
        queue: Queue,
        inputs: Mapping[str, Input],
        apply: Mapping[str, Callable[[Key, Any], None]],
        publish: Publish,
        settled: Callable[[list[Operation]], None],
    ) -> None:
        self._graph = graph
        self._queue = queue
        self._inputs = inputs
        self._apply = apply
        self._publish = publish
        self._settled = settled
        self.synced = asyncio.Event()  # everything of the first lists is in the stores

    async def run(self) -> None:
        """Never returns; cancel it."""
        await self._load()
        while True:
            await self._queue.wake.wait()
            self._queue.wake.clear()
            if self._queue.operations:
                await self._batch()

    async def _load(self) -> None:
        """Take inputs until every first list is complete, and only then compute: once, not per page."""
        started = time.perf_counter()
        # Nearly everything that is made now lives as long as the process: the collector would only walk
        # through it again and again, 100 ms at a time, and find nothing.
        gc.disable()
        pods: list[Operation] = []
        while True:
            await self._take(pods)
            self._settled(pods)
            pods.clear()
            if all(source.listed for source in self._inputs.values()) and not self._queue.operations:
                break
            await self._queue.wake.wait()
            self._queue.wake.clear()
        await self._flush()
        gc.freeze()
        gc.enable()
        self.synced.set()
        counts = ", ".join(f"{source.received} {kind}" for kind, source in self._inputs.items())
        logger.info("Computed the first state from %s in %.2f s", counts, time.perf_counter() - started)

    async def _batch(self) -> None:
        started = time.perf_counter()
        taken: list[Operation] = []
        await self._take(taken)
        await self._flush()
        self._settled(taken)
        FLUSHES.inc()
        FLUSH_SECONDS.observe(time.perf_counter() - started)

    async def _take(self, taken: list[Operation]) -> None:
        """Feed what is queued now to the graph; what arrives meanwhile belongs to the next batch."""
        operations = self._queue.operations
        deadline = time.perf_counter() + SLICE
        for _ in range(len(operations)):
            operation = operations.popleft()
            try:
                self._apply[operation.kind](operation.key, operation.value)
            except MalformedObject as error:
                self._inputs[operation.kind].reject(operation.key, f"{error.field}: {error.problem}")
            except Exception as error:
                # Whatever one object does to the computation, the others go on.
                logger.exception("Computing %s %s failed", operation.kind, "/".join(operation.key))
                self._inputs[operation.kind].reject(operation.key, str(error) or type(error).__name__)
            else:
                if operation.kind == "pods" and operation.value is not None:
                    taken.append(operation)
            if time.perf_counter() > deadline:
                self._queue.taken()
                await asyncio.sleep(0)
                deadline = time.perf_counter() + SLICE
        self._queue.taken()

    async def _flush(self) -> None:
        changes: list[Change] = []
        deadline = time.perf_counter() + SLICE
        for change in self._graph.flush():
            changes.append(change)
            if len(changes) >= CHUNK:
                self._send(changes)
                changes = []
            if time.perf_counter() > deadline:
                self._send(changes)
                changes = []
                await asyncio.sleep(0)
                deadline = time.perf_counter() + SLICE
        self._send(changes)

    def _send(self, changes: list[Change]) -> None:
        if not changes:
            return
        self._publish(changes)
        for resource, count in Counter(change.resource for change in changes).items():
            CHANGES.labels(resource).inc(count)
