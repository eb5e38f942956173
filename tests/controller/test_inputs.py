"""From raw objects to the stores inside one process: malformed ones, new lists, slices, markers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.envelope import WatchFrame
from apis.record import Change
from apiserver.stores import Stores
from computation.graph import Graph
from controller import kubernetes
from controller.api.stats import PolicyStatistics
from controller.inputs import Input, Keys, Queue
from controller.markers import Markers
from controller.pump import Pump
from controller.realization import Realization
from tests.controller.objects import Object, allow_from, namespace, pod, policy


def raw(document: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(document).encode())


def with_uid(document: Object) -> Object:
    metadata = document["metadata"]
    uid = f"uid-{metadata.get('namespace', '')}-{metadata['name']}"
    return {**document, "metadata": {**metadata, "uid": uid, "generation": 1}}


class Controller:
    """The middle of antrea-controller, without its ends."""

    def __init__(self) -> None:
        self.stores = Stores()
        self.queue = Queue()
        self.inputs = kubernetes.inputs(self.queue)
        self.statistics = PolicyStatistics()
        self.marked: list[tuple[str, str]] = []
        self.markers = Markers(
            lambda node, _namespace, name, _uid: self.marked.append((node, name)), self.inputs["pods"].knows
        )
        self.batches: list[list[Change]] = []
        graph = Graph()
        self.pump = Pump(
            graph,
            self.queue,
            self.inputs,
            kubernetes.applications(graph, self.statistics),
            self._publish,
            self.markers.settled,
        )

    def _publish(self, changes: list[Change]) -> None:
        self.batches.append(changes)
        self.stores.publish(changes)

    async def list(self, **objects: list[Object]) -> None:
        for kind, source in self.inputs.items():
            await source.list_started()
            await source.list_page([raw(with_uid(item)) for item in objects.get(kind, [])])
            await source.list_finished()

    async def event(self, kind: str, type_: str, document: Any) -> None:
        body = document if isinstance(document, bytes) else bytes(raw(with_uid(document)))
        await self.inputs[kind].events([WatchFrame(type_, body)])
        await self.settle()

    async def settle(self) -> None:
        async with asyncio.timeout(10):
            while self.queue.operations or self.queue.wake.is_set():
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)

    def members(self, store: str) -> list[str]:
        """The names of the Pods in all groups of a store."""
        return sorted(
            member["pod"]["name"]
            for _, stored in self.stores.items(store)
            for member in json.loads(_body(stored.record)).get("groupMembers", [])
        )


def _body(record: Any) -> bytes:
    from apis.record import Media

    return bytes(record.encode(Media.JSON, None, "1"))


@pytest_asyncio.fixture
async def controller() -> AsyncIterator[Controller]:
    made = Controller()
    task = asyncio.create_task(made.pump.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


def shop() -> dict[str, list[Object]]:
    return {
        "namespaces": [namespace("shop")],
        "pods": [
            pod("shop", "web", "n1", "10.0.0.1", app="web"),
            pod("shop", "cli", "n2", "10.0.0.2", app="cli"),
        ],
        "networkpolicies": [
            policy("shop", "np", {"matchLabels": {"app": "web"}}, ingress=[allow_from(app="cli")])
        ],
    }


async def test_nothing_is_published_before_every_list_is_complete(controller: Controller) -> None:
    sources = controller.inputs
    for kind in ("namespaces", "nodes", "pods"):
        await sources[kind].list_started()
        await sources[kind].list_page([raw(with_uid(item)) for item in shop().get(kind, [])])
        await sources[kind].list_finished()
    await controller.settle()
    assert not controller.pump.synced.is_set()
    assert controller.batches == []
    await sources["networkpolicies"].list_started()
    await sources["networkpolicies"].list_page([raw(with_uid(shop()["networkpolicies"][0]))])
    await sources["networkpolicies"].list_finished()
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    assert {change.resource for batch in controller.batches for change in batch} == {
        "addressgroups", "appliedtogroups", "networkpolicies",
    }  # fmt: skip
    assert sorted(controller.markers.known("n1")) == [("shop", "web", "uid-shop-web")]


async def test_a_new_list_takes_away_what_is_no_longer_on_it(controller: Controller) -> None:
    await controller.list(**shop())
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    assert controller.members("addressgroups") == ["cli"]
    objects = shop()
    objects["pods"] = objects["pods"][:1]
    await controller.list(**objects)
    await controller.settle()
    assert controller.members("addressgroups") == []
    assert list(controller.markers.known("n2")) == []
    objects["networkpolicies"] = []
    await controller.list(**objects)
    await controller.settle()
    assert [controller.stores.count(name) for name in ("networkpolicies", "addressgroups")] == [0, 0]


async def test_a_new_list_of_the_same_objects_changes_nothing(controller: Controller) -> None:
    await controller.list(**shop())
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    controller.batches.clear()
    await controller.list(**shop())
    await controller.settle()
    assert controller.batches == []


MALFORMED = [
    ("pods", {"metadata": {"namespace": "shop", "name": "web"}, "spec": "text"}),
    ("pods", {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"nodeName": "n1"},
              "status": {"podIPs": [{"ip": "not an address"}]}}),
    ("networkpolicies", {"metadata": {"namespace": "shop", "name": "np", "uid": "u"},
                         "spec": {"podSelector": {"matchExpressions": [{"key": "a",
                                                                         "operator": "Near"}]}}}),
    ("networkpolicies", {"metadata": {"namespace": "shop", "name": "np", "uid": "u"},
                         "spec": {"podSelector": {"matchLabels": {"a": 5}}}}),
    ("namespaces", {"metadata": {"name": "shop", "labels": ["a"]}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "document"), MALFORMED, ids=[str(n) for n in range(len(MALFORMED))])
async def test_a_malformed_object_is_named_and_skipped_and_the_rest_goes_on(
    kind: str, document: Object, controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    await controller.list(**shop())
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    before = controller.members("addressgroups"), controller.members("appliedtogroups")
    with caplog.at_level(logging.WARNING):
        await controller.event(kind, "MODIFIED", json.dumps(document).encode())
    name = "/".join(filter(None, (document["metadata"].get("namespace"), document["metadata"]["name"])))
    assert f"{name} is malformed and skipped" in caplog.text
    assert (controller.members("addressgroups"), controller.members("appliedtogroups")) == before
    await controller.event("pods", "ADDED", pod("shop", "cli-2", "n1", "10.0.0.3", app="cli"))
    assert controller.members("addressgroups") == ["cli", "cli-2"]
    assert controller.inputs[kind].malformed, "what is skipped at present can be looked up"


async def test_a_malformed_object_on_a_list_is_not_taken_for_deleted(controller: Controller) -> None:
    objects = shop()
    await controller.list(**objects)
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    objects["pods"][1]["spec"] = "text"
    await controller.list(**objects)
    await controller.settle()
    assert controller.members("addressgroups") == ["cli"]


NAMES = [
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "podIPs",
    "ip",
    "podSelector",
    "ingress",
    "from",
    "nodeName",
    "uid",
]
NEARLY_OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=15,
)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80) | NEARLY_OBJECTS.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["pods", "namespaces", "nodes", "networkpolicies"]),
    st.sampled_from(["ADDED", "MODIFIED", "DELETED"]),
)  # fmt: skip
def test_no_bytes_end_the_inputs_or_the_pump(data: bytes, kind: str, type_: str) -> None:
    async def scenario() -> None:
        controller = Controller()
        task = asyncio.create_task(controller.pump.run())
        await controller.list(**shop())
        await asyncio.wait_for(controller.pump.synced.wait(), 5)
        await controller.inputs[kind].events([WatchFrame(type_, data)])
        await controller.settle()
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(scenario())
    finally:
        logging.disable(logging.NOTSET)


async def test_a_marker_follows_what_follows_from_its_pod(controller: Controller) -> None:
    await controller.list(**shop())
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    controller.marked.clear()
    seen: list[str] = []
    mark = controller.markers._mark
    controller.markers._mark = lambda *pod: (seen.append("marker"), mark(*pod))
    controller.pump._publish = lambda changes: (seen.append("changes"), controller._publish(changes))  # type: ignore[assignment]
    await controller.event("pods", "ADDED", pod("shop", "web-2", "n1", app="web"))
    assert seen == ["changes", "marker"]
    assert controller.marked == [("n1", "web-2")]
    await controller.event("pods", "MODIFIED", pod("shop", "web-2", "n1", "10.0.0.9", app="web"))
    assert controller.marked == [("n1", "web-2")], "once for each Pod"
    await controller.event("pods", "ADDED", pod("shop", "waiting", "", app="web"))
    assert controller.marked == [("n1", "web-2")], "a Pod without a node concerns no node yet"


async def test_a_large_batch_leaves_the_loop_free_between_slices(controller: Controller) -> None:
    await controller.list(**shop())
    await asyncio.wait_for(controller.pump.synced.wait(), 5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    many = [
        pod("shop", f"p{n}", f"n{n % 9}", f"10.1.{n // 250}.{n % 250}", app=f"a{n % 40}") for n in range(6000)
    ]
    started = time.perf_counter()
    for position in range(0, len(many), 500):
        await controller.inputs["pods"].events(
            [WatchFrame("ADDED", bytes(raw(with_uid(item)))) for item in many[position : position + 500]]
        )
    await controller.settle()
    spent = time.perf_counter() - started
    counting.cancel()
    # Neither 6,000 objects nor their batch is one step: the others had their turns meanwhile.
    assert turns > spent / 0.1


def test_keys_are_a_set_of_pairs() -> None:
    keys, other = Keys(), Keys()
    for pair in (("a", "x"), ("a", "y"), ("", "node")):
        keys.add(pair)
    other.add(("a", "x"))
    assert ("a", "x") in keys
    assert ("b", "x") not in keys
    assert sorted(filter(None, keys.without(other))) == [("", "node"), ("a", "y")]
    assert keys.discard(("a", "y"))
    assert not keys.discard(("a", "y"))


async def test_full_queues_make_lists_wait() -> None:
    queue = Queue(high=3)
    source = Input("namespaces", "Namespace", lambda data: msgspec.json.decode(data, type=_Named), queue)
    await source.list_started()
    page = asyncio.create_task(source.list_page([raw(namespace(f"n{n}")) for n in range(5)]))
    await asyncio.sleep(0.01)
    assert not page.done()
    queue.operations.clear()
    queue.taken()
    await asyncio.wait_for(page, 5)


class _Meta(msgspec.Struct):
    name: str
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Meta


def test_statistics_belong_to_policies_that_exist() -> None:
    statistics = PolicyStatistics()
    statistics.exists("shop", "np", "u1")
    traffic = {"packets": 3, "bytes": 300, "sessions": 1}
    for uid in ("u1", "unknown", "u1"):
        statistics.add([{"networkPolicy": {"uid": uid}, "trafficStats": traffic}])
    found = statistics.get("shop", "np")
    assert found is not None
    assert found["trafficStats"] == {"packets": 6, "bytes": 600, "sessions": 2}
    statistics.exists("shop", "np", "u2")
    found = statistics.get("shop", "np")
    assert found is not None
    assert found["trafficStats"] == {}, "a policy made anew counts anew"
    statistics.gone("shop", "np")
    assert statistics.all("") == []


def test_realization_is_kept_per_generation_and_node() -> None:
    realization = Realization()
    realization.report("p", [{"nodeName": "n1", "generation": 1}, {"nodeName": "n2", "generation": 2}])
    realization.report(
        "p", [{"nodeName": "n3", "generation": 2, "realizationFailure": True, "message": "no"}]
    )
    span = frozenset({"n1", "n2", "n3"})
    assert realization.summary("p", span, 2).phase == "Realizing"
    realization.report("p", [{"nodeName": "n1", "generation": 2}])
    assert (realization.summary("p", span, 2).current, realization.summary("p", span, 2).phase) == (
        2,
        "Failed",
    )
    assert realization.summary("p", frozenset({"n1", "n2"}), 2).phase == "Realized"
    assert realization.summary("unknown", frozenset(), 1).phase == "Realized"
