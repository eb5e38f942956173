"""The middle of antrea-controller (inputs, pump, computation, stores, streams), without HTTP, and how long it
holds its event loop.

A *step* is one run of a callback or of a coroutine up to its next await; a *turn* is everything that the loop
runs before it looks for new work, and so the lag that a timer may see. Both are given in CPU time: what other
processes of the machine take meanwhile is not in them. Streams encode and join their frames as
they do for a client, and throw them away. Used by benchmarks.computation.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import shapes

NODES = [f"Node-{number}" for number in range(shapes.NODES)]
EVENTS = [
    "first load",
    "1,000 nodes join at once",
    "a watch of everything joins",
    "a policy selects all pods",
    "100 JSON watches of its group join",
    "that policy is deleted",
    "a policy selects no namespace yet",
    "all namespaces enter its selector",
    "all namespaces leave it again",
    "1,000 nodes resume all of the history",
    "all pods are listed again",
    "all pods are gone",
]
IDLE = 0.05  # seconds without a step after which everything has settled
Document = dict[str, Any]


class Clock:
    """Times every step of the running loop, which has to be asyncio's own: uvloop's cannot be looked into."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._original = asyncio.events.Handle._run
        self._idle: asyncio.Future[None] | None = None
        self.reset()

    def reset(self) -> None:
        self.steps: list[float] = []
        self.turn = 0.0
        self.begun = self.last = time.perf_counter()
        self._beat_at = time.thread_time()

    def start(self) -> None:
        original, beat, clock, cpu = self._original, self._beat, time.perf_counter, time.thread_time

        def run(handle: Any) -> None:
            begun = cpu()
            original(handle)
            if handle._callback != beat:
                self.steps.append(cpu() - begun)
                self.last = clock()

        asyncio.events.Handle._run = run  # type: ignore[method-assign]
        self._loop.call_soon(beat)

    def _beat(self) -> None:
        now = time.thread_time()
        self.turn = max(self.turn, now - self._beat_at)
        self._beat_at = now
        if self._idle is not None and time.perf_counter() - self.last > IDLE:
            self._idle.set_result(None)
            self._idle = None
        self._loop.call_soon(self._beat)

    async def settled(self) -> dict[str, float]:
        """Wait until nothing runs any more; the figures since the last `reset`, in ms and seconds."""
        self._idle = self._loop.create_future()
        await self._idle
        ordered = sorted(self.steps)
        return {
            "seconds": self.last - self.begun,
            "longest step ms": ordered[-1] * 1000,
            "p99 step ms": ordered[len(ordered) * 99 // 100] * 1000,
            "longest turn ms": self.turn * 1000,
        }


class Controller:
    """Inputs, pump, computation, stores and the streams of as many nodes as wanted."""

    def __init__(self) -> None:
        from apis.record import Media
        from apiserver.events import BodyEncoder
        from apiserver.selection import Selection
        from apiserver.stores import Stores
        from apiserver.stream import Sender
        from apiserver.watcher import Watcher
        from computation.graph import Graph
        from controller import kubernetes
        from controller.api.policies import AGENT_STORES
        from controller.api.stats import PolicyStatistics
        from controller.inputs import Queue
        from controller.markers import Markers
        from controller.pump import Pump

        self._encoder, self._watcher, self._sender = BodyEncoder, Watcher, Sender
        self._selection, self._media = Selection, Media
        self.infos = {info.store: info for info in AGENT_STORES}
        self.stores = Stores()
        queue = Queue()
        self.inputs = kubernetes.inputs(queue)
        graph = Graph()
        markers = Markers(self.stores.mark, self.inputs["pods"].knows)
        applications = kubernetes.applications(graph, PolicyStatistics())
        self.pump = Pump(
            graph, queue, self.inputs, applications, self._publish, markers.settled, self.stores.batch
        )
        self.tasks: list[asyncio.Task[None]] = []
        self.sent = self.initial = 0

    def _publish(self, changes: Any) -> None:
        self.stores.publish(changes)

    def run(self) -> None:
        self.tasks.append(asyncio.create_task(self.pump.run()))

    async def write(self, data: bytes) -> None:
        self.sent += len(data)

    async def join(
        self, node: str, names: list[str], *, name: str = "", json: bool = False, since: int | None = None
    ) -> None:
        """One watch, as a request opens it: of a node, of everything (""), or of one object by its name."""
        watcher = self._watcher(self._selection(node=node, name=name), bookmarks=True, limit=1 << 20)
        infos = {name: self.infos[name] for name in names}
        media = self._media.JSON if json else self._media.PROTOBUF
        encoder = self._encoder(media, infos, node, self.stores.frames)
        await self.stores.turn()
        snapshot = self.stores.watch(names, watcher.selection, since, watcher)
        sender = self._sender(self.stores, watcher, encoder, self.write)
        try:
            await sender.send_initial(snapshot, [encoder.bookmark(self.stores.version, True)])
            self.initial += 1
            await sender.send_changes()
        finally:
            self.stores.unwatch(watcher)

    def connect(self, watches: list[list[str]], since: int | None = None) -> None:
        """All nodes at once, each with so many watches over some stores."""
        for node in NODES:
            for names in watches:
                self.tasks.append(asyncio.create_task(self.join(node, names, since=since)))

    def largest(self) -> str:
        """The name of the address group that has the most members."""
        items = self.stores.items("addressgroups")
        return max(items, key=lambda item: len(item[1].record.members()))[0][1]  # type: ignore[attr-defined]

    async def list(self, kind: str, pages: Any) -> None:
        """A list from the Kubernetes API, page by page, as a reflector hands it over."""
        source = self.inputs[kind]
        await source.list_started()
        for page in pages:
            await source.list_page(page)
        await source.list_finished()

    async def event(self, kind: str, frames: list[Any]) -> None:
        """Events of a watch of the Kubernetes API, as many at a time as one read of a socket brings."""
        for start in range(0, len(frames), 64):
            await self.inputs[kind].events(frames[start : start + 64])


def events(type_: str, documents: list[Document]) -> list[Any]:
    from apis.envelope import WatchFrame

    return [WatchFrame(type_, json.dumps(document).encode()) for document in documents]


class _List(msgspec.Struct):
    items: list[msgspec.Raw]


def pages(directory: Path, kind: str) -> Any:
    for page in shapes.pages(directory, kind):
        yield msgspec.json.decode(page, type=_List).items


def documents(directory: Path, kind: str) -> list[Document]:
    return [json.loads(bytes(item)) for page in pages(directory, kind) for item in page]


def policy(namespace: str, peer: Document) -> Document:
    metadata = {"name": "wide", "namespace": namespace, "uid": "wide", "generation": 1}
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]}
    return {"metadata": metadata, "spec": spec}


@asynccontextmanager
async def loaded(directory: Path) -> AsyncIterator[tuple[Controller, Clock, dict[str, float]]]:
    clock, controller = Clock(), Controller()
    clock.start()
    controller.run()
    clock.reset()
    await controller.list("nodes", ())
    for kind in shapes.KINDS:
        await controller.list(kind, pages(directory, kind))
    await controller.pump.synced.wait()
    first = await clock.settled()
    yield controller, clock, first
    await leave(controller.tasks)


async def leave(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _steps(directory: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    namespaces = documents(directory, "namespaces")
    home = namespaces[0]["metadata"]["name"]
    everything = ["addressgroups", "appliedtogroups", "networkpolicies"]
    gc.collect()
    gc.freeze()
    async with loaded(directory) as (controller, clock, first):
        rows.append({"event": "first load", **first})

        async def measured(event: str, run: Callable[[], Awaitable[object]]) -> None:
            gc.collect()
            gc.freeze()
            await asyncio.sleep(0)  # what was done so far is a step of its own
            clock.reset()
            await run()
            rows.append({"event": event, **await clock.settled()})

        async def connect() -> None:
            controller.connect([everything])

        async def watch_all() -> None:
            for name in everything:
                controller.tasks.append(asyncio.create_task(controller.join("", [name])))

        def told(kind: str, type_: str, documents: list[Document]) -> Callable[[], Awaitable[object]]:
            frames = events(type_, documents)
            return lambda: controller.event(kind, frames)

        wide = policy(home, {"namespaceSelector": {}})
        team = policy(home, {"namespaceSelector": {"matchLabels": {"team": "a"}}})
        relabelled = [
            {"metadata": {**each["metadata"], "labels": {**each["metadata"]["labels"], "team": "a"}}}
            for each in namespaces
        ]
        await measured("1,000 nodes join at once", connect)
        kept = len(controller.tasks)
        await measured("a watch of everything joins", watch_all)
        await leave(controller.tasks[kept:])
        del controller.tasks[kept:]
        await measured("a policy selects all pods", told("networkpolicies", "ADDED", [wide]))
        largest = controller.largest()

        async def read_as_json() -> None:
            for _ in range(100):
                join = controller.join("", ["addressgroups"], name=largest, json=True)
                controller.tasks.append(asyncio.create_task(join))

        await measured("100 JSON watches of its group join", read_as_json)
        await leave(controller.tasks[kept:])
        del controller.tasks[kept:]
        for event, kind, type_, documents_ in (
            ("that policy is deleted", "networkpolicies", "DELETED", [wide]),
            ("a policy selects no namespace yet", "networkpolicies", "ADDED", [team]),
            ("all namespaces enter its selector", "namespaces", "MODIFIED", relabelled),
            ("all namespaces leave it again", "namespaces", "MODIFIED", namespaces),
        ):
            await measured(event, told(kind, type_, documents_))
        floor = controller.stores.history.floor

        async def resume() -> None:
            controller.connect([everything], since=floor)

        await measured("1,000 nodes resume all of the history", resume)
        await leave(controller.tasks[kept:])
        del controller.tasks[kept:]
        await measured("all pods are listed again", lambda: controller.list("pods", pages(directory, "pods")))
        await measured("all pods are gone", lambda: controller.list("pods", ()))
    assert [row["event"] for row in rows] == EVENTS
    return rows


def memory(field: str) -> float:
    """MB, from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


async def _connect(directory: Path) -> dict[str, Any]:
    async with loaded(directory) as (controller, clock, _):
        before = memory("VmRSS:")
        clock.reset()
        controller.connect([["addressgroups"], ["appliedtogroups"], ["networkpolicies"]])
        result = await clock.settled()
        assert controller.initial == 3 * len(NODES)
        return {**result, "sent MB": controller.sent / 1e6, "growth MB": memory("VmHWM:") - before}


def measure_steps(directory: Path) -> dict[str, Any]:
    return {"rows": asyncio.run(_steps(directory))}


def measure_connect(directory: Path) -> dict[str, Any]:
    return asyncio.run(_connect(directory))
