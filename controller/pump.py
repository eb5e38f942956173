"""From the inputs' queue through the computation into the stores, never longer than a slice at a time.

Idle, a change is on its way to the watchers in the next turn of the event loop. Busy, the queue grows while
one batch is being computed, the next batch is larger, and events of one object coalesce. No turn of the loop
is held longer than ``SLICE``: loading, computing and publishing are cut into slices, because between them
the process must answer probes and feed watches. A batch is computed whole before any of it is published; if
publishing takes more than a slice, who comes meanwhile waits for the end of the batch.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from apis.record import Change
from computation.errors import MalformedObject
from controller.inputs import Input, Key, Operation, Queue
from runtime import log, metrics

logger = log.get("controller.pump")

SLICE = 0.005  # seconds; the promise is 20 ms for everything that one turn of the loop does
# What is published in one call: each change weighs 4 and the nodes that it concerns.
WEIGHT = 512
COLLECT_AFTER = (10_000, 10, 10)  # for gc.set_threshold
SETTLED = 256  # states of Pods reported in one call

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

    def steps(self) -> Iterator[Change | None]: ...


Publish = Callable[[list[Change]], object]


class Pump:
    """Owns the graph: nobody else calls it.

    ``apply`` has a function (key, value or None) per kind of operation. ``settled`` is called after each
    batch with the states of Pods that were in it: everything that follows from them has been published.
    ``together`` is entered while a batch is published in several parts.
    """

    def __init__(
        self,
        graph: Graph,
        queue: Queue,
        inputs: Mapping[str, Input],
        apply: Mapping[str, Callable[[Key, Any], None]],
        publish: Publish,
        settled: Callable[[list[Operation]], None],
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._graph = graph
        self._queue = queue
        self._inputs = inputs
        self._apply = apply
        self._publish = publish
        self._settled = settled
        self._together = together
        self._until = 0.0  # when the present slice is over, whichever part of the work it began with
        self.synced = asyncio.Event()  # everything of the first lists is in the stores

    async def run(self) -> None:
        """Never returns; cancel it."""
        await self._load()
        while True:
            await self._queue.wake.wait()
            self._queue.wake.clear()
            if self._queue.operations:
                await self._batch()
                await asyncio.sleep(0)  # requests that waited for the end of the batch look now

    async def _load(self) -> None:
        """Take inputs until every first list is complete, and only then compute: once, not per page."""
        started = time.perf_counter()
        # Nearly everything that is made now lives as long as the process: the collector would only walk
        # through it again and again, 100 ms at a time, and find nothing.
        gc.disable()
        pods: list[Operation] = []
        while True:
            self._until = time.perf_counter() + SLICE
            await self._take(pods)
            await self._report(pods)
            pods.clear()
            if all(source.listed for source in self._inputs.values()) and not self._queue.operations:
                break
            await self._queue.wake.wait()
            self._queue.wake.clear()
        # Nobody is served yet, and the first state is large: what is computed is published at once.
        await self._publish_all(self._graph.steps())
        gc.freeze()
        # A thousand nodes that connect make a million objects that stay; by Python's own thresholds the
        # collector would walk through all of them a hundred times meanwhile.
        gc.set_threshold(*COLLECT_AFTER)
        gc.enable()
        self.synced.set()
        counts = ", ".join(f"{source.received} {kind}" for kind, source in self._inputs.items())
        logger.info("Computed the first state from %s in %.2f s", counts, time.perf_counter() - started)

    async def _batch(self) -> None:
        started = time.perf_counter()
        self._until = started + SLICE
        taken: list[Operation] = []
        await self._take(taken)
        changes = await self._compute()
        with self._together():
            await self._publish_all(changes)
        await self._report(taken)
        FLUSHES.inc()
        FLUSH_SECONDS.observe(time.perf_counter() - started)

    async def _take(self, taken: list[Operation]) -> None:
        """Feed what is queued now to the graph; what arrives meanwhile belongs to the next batch."""
        operations = self._queue.operations
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
            if time.perf_counter() > self._until:
                self._queue.taken()
                await self._pause()
        self._queue.taken()

    async def _compute(self) -> list[Change]:
        changes: list[Change] = []
        for step in self._graph.steps():
            if step is not None:
                changes.append(step)
            if time.perf_counter() > self._until:
                await self._pause()
        return changes

    async def _publish_all(self, steps: Iterable[Change | None]) -> None:
        part: list[Change] = []
        weight = 0
        for step in steps:
            if step is not None:
                part.append(step)
                weight += _weight(step)
                if weight >= WEIGHT:
                    self._send(part)
                    part, weight = [], 0
            if time.perf_counter() > self._until:
                self._send(part)
                part, weight = [], 0
                await self._pause()
        self._send(part)

    def _send(self, changes: list[Change]) -> None:
        if not changes:
            return
        self._publish(changes)
        for resource, count in Counter([change.resource for change in changes]).items():
            CHANGES.labels(resource).inc(count)

    async def _pause(self) -> None:
        """After a slice that was filled: let others run.

        Such work makes objects by the ten thousand, and nearly all of them stay. Python's collector would
        walk through all that were made since it was last told to leave them alone, for 100 ms and more at a
        time, and find nothing: what goes here goes by its reference count. In quiet times it works as always.
        """
        gc.freeze()
        await asyncio.sleep(0)
        self._until = time.perf_counter() + SLICE

    async def _report(self, pods: list[Operation]) -> None:
        """What follows from these Pods is in the stores."""
        for start in range(0, len(pods), SETTLED):
            if time.perf_counter() > self._until:
                await self._pause()
            self._settled(pods[start : start + SETTLED])


def _weight(change: Change) -> int:
    new = change.new if change.new is not None else change.old
    span = new.span if new is not None else None
    return 4 + (len(span) if span else 0)
