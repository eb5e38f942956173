"""client-go's reflector, which is in every informer, on the aggregated groups behind a real kube-apiserver.

Its cache has to hold what the API lists, whatever happens: with streamed lists and with list and watch, in
JSON and in protobuf, with selectors, after a version has expired, and after the controller was killed.
"""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from client.errors import ApiError
from tests.controller.control_plane import ControlPlane, eventually
from tests.kubernetes import binaries, inputs
from tests.kubernetes.clients import Line, Reflector, reflector
from tests.kubernetes.cluster import Cluster

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(binaries.go() is None, reason="the clients are built with Go"),
]

GROUP = "controlplane.antrea.io/v1beta2"
WATCHABLE = (
    "addressgroups",
    "appliedtogroups",
    "networkpolicies",
    "egressgroups",
    "supportbundlecollections",
)
MODES = [
    pytest.param(form, streamed, id=f"{encoding}-{'watch-list' if streamed else 'list-and-watch'}")
    for form, encoding in (("dynamic", "json"), ("metadata", "protobuf"))
    for streamed in (True, False)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with inputs.filled(shared_cluster, tmp_path_factory.mktemp("controller")) as started:
        yield started


def policy(name: str, app: str, **spec: Any) -> Line:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec},
    }


async def put(plane: ControlPlane, document: Line) -> None:
    await plane.kube.request("PUT", inputs.path(document), body=document)


async def remove(plane: ControlPlane, document: Line) -> None:
    await plane.kube.request("DELETE", inputs.path(document))


@asynccontextmanager
async def created(plane: ControlPlane, *documents: Line) -> AsyncIterator[None]:
    """Policies that are there meanwhile; whoever deletes one of them earlier may."""
    for document in documents:
        await plane.kube.create(inputs.path(document, collection=True), document)
    try:
        yield
    finally:
        for document in documents:
            with suppress(ApiError):
                await remove(plane, document)
        await eventually(lambda: _is(lambda: _count(plane), inputs.POLICIES), "they are gone")


async def listed(plane: ControlPlane, resource: str, form: str = "dynamic", **query: str) -> dict[str, Line]:
    """What the API lists, as the cache of a client holds it."""
    document = await plane.json(f"/apis/{GROUP}/{resource}", **query)
    kind = document["kind"].removesuffix("List")
    if form == "metadata":
        return {item["metadata"]["name"]: item["metadata"] for item in document["items"]}
    typed = {"kind": kind, "apiVersion": document["apiVersion"]}
    return {item["metadata"]["name"]: {**typed, **item} for item in document["items"]}


def cached(client: Reflector, form: str) -> dict[str, Line]:
    if form == "metadata":
        return {name: found["metadata"] for name, found in client.cache.items()}
    return client.cache


def told_of(client: Reflector, kind: str, name: str) -> bool:
    return any(line.get("cache") == kind and line.get("name") == name for line in client.lines)


@pytest.mark.parametrize(("form", "streamed"), MODES)
async def test_the_cache_follows_every_watchable_resource(
    plane: ControlPlane, form: str, streamed: bool
) -> None:
    assert plane.cluster is not None
    async with AsyncExitStack() as stack:
        clients = {
            resource: await stack.enter_async_context(
                reflector(plane.cluster, f"{GROUP}/{resource}", "--form", form, watch_list=streamed)
            )
            for resource in WATCHABLE
        }
        for resource, client in clients.items():
            await client.until(
                lambda client=client: client.cache_replaced and client.calls("watch"),
                "the first state is there",
            )
            assert cached(client, form) == await listed(plane, resource, form)
            check_beginning(client, streamed)

        await drive(plane, clients)
        for resource, client in clients.items():
            expected = await listed(plane, resource, form)
            await client.until(
                lambda client=client, expected=expected: cached(client, form) == expected,
                f"the cache of {resource} equals the list",
            )
            assert all("error" not in line and line.get("event") != "ERROR" for line in client.lines)


def check_beginning(client: Reflector, streamed: bool) -> None:
    """How the first state came: one watch that sends it, or a list and a watch from its version."""
    lists, (first, *_) = client.calls("list"), client.calls("watch")
    options = first["options"]
    assert options["allowWatchBookmarks"] is True
    if streamed:
        assert lists == []
        assert (options["sendInitialEvents"], options["resourceVersionMatch"]) == (True, "NotOlderThan")
        events = client.events()
        (end,) = [line for line in events if line["event"] == "BOOKMARK" and "initialEventsEnd" in line]
        assert end["initialEventsEnd"] == "true"
        assert {line["event"] for line in events[: events.index(end)]} <= {"ADDED"}
        (replaced,) = [line for line in client.lines if line.get("cache") == "replace"]
        assert replaced["resourceVersion"] == end["resourceVersion"]
    else:
        (listing,) = lists
        assert options["resourceVersion"] == listing["resourceVersion"] != ""
        assert "sendInitialEvents" not in options


async def drive(plane: ControlPlane, clients: dict[str, Reflector]) -> None:
    """A policy comes, changes what it selects and whom it admits, and goes; so do its groups."""
    peers = [{"from": [{"podSelector": {"matchLabels": {"app": "driven"}}}]}]
    await plane.kube.create(
        inputs.path(policy("driven", "front"), collection=True), policy("driven", "front")
    )
    name = (await plane.json("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/driven"))[
        "metadata"
    ]["uid"]
    policies = clients["networkpolicies"]
    await policies.until(lambda: told_of(policies, "add", name), "the new policy is in the cache")
    await put(plane, policy("driven", "front", ingress=peers))
    await policies.until(lambda: told_of(policies, "update", name), "its change is in the cache")
    groups = clients["addressgroups"]
    (group,) = await groups.until(
        lambda: [line["name"] for line in groups.lines if line.get("cache") == "add"], "its group is there"
    )
    await remove(plane, policy("driven", "front"))
    await policies.until(lambda: told_of(policies, "delete", name), "the policy is gone")
    await groups.until(lambda: told_of(groups, "delete", group), "its group is gone")


@pytest.mark.parametrize("streamed", [True, False], ids=["watch-list", "list-and-watch"])
async def test_selectors_count_on_list_and_watch(plane: ControlPlane, streamed: bool) -> None:
    assert plane.cluster is not None
    async with AsyncExitStack() as stack:

        async def following(resource: str, *arguments: str) -> Reflector:
            client = await stack.enter_async_context(
                reflector(plane.cluster, f"{GROUP}/{resource}", *arguments, watch_list=streamed)  # type: ignore[arg-type]
            )
            await client.until(lambda: client.cache_replaced, "the first state is there")
            return client

        on_one = await following("appliedtogroups", "--field", "nodeName=node-1")
        on_three = await following("appliedtogroups", "--field", "nodeName=node-3")
        labelled = await following("addressgroups", "--label", "app=web")
        unlabelled = await following("addressgroups", "--label", "app!=web")
        name = next(iter(unlabelled.cache))
        named = await following("addressgroups", "--field", f"metadata.name={name}")

        assert on_one.cache == await listed(plane, "appliedtogroups", fieldSelector="nodeName=node-1")
        assert labelled.cache == {}
        assert unlabelled.cache == await listed(plane, "addressgroups")
        assert named.cache.keys() == {name}

        # A pod leaves a group's selector on one node and comes back: whole objects, no patches.
        before = dict(on_one.cache)
        await label(plane, "front-1", "elsewhere")
        changed = await listed(plane, "appliedtogroups", fieldSelector="nodeName=node-1")
        await eventually(lambda: _differs(plane, before), "the change is computed")
        changed = await listed(plane, "appliedtogroups", fieldSelector="nodeName=node-1")
        await on_one.until(lambda: on_one.cache == changed, "the cache of node-1 equals the list")
        await label(plane, "front-1", "front")
        await on_one.until(lambda: _members(on_one.cache) == _members(before), "the pod is back")
        assert {line["kind"] for line in on_one.events()} == {"AppliedToGroup"}
        # Node-3 was told nothing: what it sees of the groups has not changed.
        three = await listed(plane, "appliedtogroups", fieldSelector="nodeName=node-3")
        assert _members(on_three.cache) == _members(three)
        assert {line["event"] for line in on_three.events()} <= {"ADDED", "BOOKMARK"}


async def label(plane: ControlPlane, pod: str, app: str) -> None:
    await plane.kube.request(
        "PATCH",
        f"/api/v1/namespaces/shop/pods/{pod}",
        body={"metadata": {"labels": {"app": app}}},
        content_type="application/merge-patch+json",
    )


def _members(groups: dict[str, Line]) -> dict[str, list[str]]:
    return {
        name: sorted(json.dumps(member, sort_keys=True) for member in group.get("groupMembers", ()))
        for name, group in groups.items()
    }


async def _differs(plane: ControlPlane, before: dict[str, Line]) -> bool:
    return _members(await listed(plane, "appliedtogroups", fieldSelector="nodeName=node-1")) != _members(
        before
    )


async def test_lists_come_in_pages(plane: ControlPlane) -> None:
    assert plane.cluster is not None
    resource = f"{GROUP}/addressgroups"
    async with reflector(plane.cluster, resource, "--page", "1", watch_list=False) as client:
        await client.until(lambda: client.cache_replaced, "the first state is there")
        pages = client.calls("list")
        assert [(page["items"], page["more"], page["remaining"]) for page in pages] == [
            (1, True, 2), (1, True, 1), (1, False, None),
        ]  # fmt: skip
        assert len({page["resourceVersion"] for page in pages}) == 1
        assert client.cache == await listed(plane, "addressgroups")


@pytest.mark.parametrize("form", ["dynamic", "metadata"], ids=["json", "protobuf"])
async def test_a_watch_ends_when_its_time_is_over(plane: ControlPlane, form: str) -> None:
    assert plane.cluster is not None
    version = (await plane.json(f"/apis/{GROUP}/networkpolicies"))["metadata"]["resourceVersion"]
    arguments = ("--form", form, "--watch-from", version, "--timeout-seconds", "2")
    async with reflector(plane.cluster, f"{GROUP}/networkpolicies", *arguments) as client:
        call, *events, ended = await client.rest()
    assert call["options"]["timeoutSeconds"] == 2
    assert events == []
    assert 1 < ended["seconds"] < 20


@pytest.mark.parametrize("form", ["dynamic", "metadata"], ids=["json", "protobuf"])
async def test_an_old_version_is_expired(plane: ControlPlane, form: str) -> None:
    assert plane.cluster is not None
    arguments = ("--form", form, "--watch-from", "5")
    async with reflector(plane.cluster, f"{GROUP}/networkpolicies", *arguments) as client:
        first, *_ = await client.rest()
    assert first["error"] == "Expired"


async def test_long_lists_are_compressed_on_demand(plane: ControlPlane) -> None:
    assert plane.cluster is not None
    peers = [{"ipBlock": {"cidr": f"10.{n // 250}.{n % 250}.0/24"}} for n in range(1500)]
    large = [policy(f"large-{n}", "front", ingress=[{"from": peers}]) for n in range(2)]
    async with created(plane, *large):
        await check_compression(plane)


async def check_compression(plane: ControlPlane) -> None:
    assert plane.cluster is not None

    async def blocks() -> int:
        found = await listed(plane, "networkpolicies")
        mine = [found for found in found.values() if found["sourceRef"]["name"].startswith("large-")]
        return sum(len(rule["from"].get("ipBlocks", ())) for found in mine for rule in found["rules"])

    await eventually(lambda: _is(blocks, 3000), "the long policies are computed")
    tls = ssl.create_default_context(cafile=str(plane.cluster.pki / "ca.crt"))
    await inputs.administrator(plane.kube, "compression")
    token = await plane.cluster.token("kube-system", "compression")
    url = f"{plane.cluster.url}/apis/{GROUP}/networkpolicies"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        answers = {}
        for encoding in ("gzip", "identity"):
            headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": encoding}
            async with session.get(url, headers=headers, ssl=tls) as response:
                assert response.status == 200, await response.read()
                answers[encoding] = (response.headers.get("Content-Encoding"), await response.read())
    assert [answers[encoding][0] for encoding in ("gzip", "identity")] == ["gzip", None]
    assert gzip.decompress(answers["gzip"][1]) == answers["identity"][1]
    assert len(answers["gzip"][1]) * 4 < len(answers["identity"][1])

    # Go asks for gzip by itself.
    async with reflector(plane.cluster, f"{GROUP}/networkpolicies", watch_list=False) as client:
        await client.until(lambda: client.cache_replaced, "the first state is there")
        assert client.cache == await listed(plane, "networkpolicies")


async def _is(count: Any, number: int) -> bool:
    return bool(await count() == number)


@pytest.mark.parametrize(("form", "streamed"), MODES)
async def test_a_killed_controller_costs_nothing_but_time(
    plane: ControlPlane, form: str, streamed: bool
) -> None:
    assert plane.cluster is not None
    resource = f"{GROUP}/networkpolicies"
    late, gone = policy("late", "front"), policy("gone", "api")
    async with (
        created(plane, gone),
        reflector(plane.cluster, resource, "--form", form, watch_list=streamed) as client,
    ):
        await client.until(lambda: len(client.cache) == inputs.POLICIES + 1, "the first state is there")
        before = set(client.cache)
        version = (await plane.json(f"/apis/{resource}"))["metadata"]["resourceVersion"]
        await plane.kill("controller")
        await remove(plane, gone)
        await plane.kube.create(inputs.path(late, collection=True), late)
        try:
            await plane.start_controller()
            await eventually(lambda: _is(lambda: _count(plane), inputs.POLICIES + 1), "it is served again")
            expected = await listed(plane, "networkpolicies", form)
            assert len(set(expected) ^ before) == 2
            await client.until(
                lambda: cached(client, form) == expected, "the cache equals the new controller's list"
            )
        finally:
            await remove(plane, late)
    # A version of the process that died is refused, never taken for something else.
    async with reflector(plane.cluster, resource, "--form", form, "--watch-from", version) as client:
        first, *_ = await client.rest()
    assert first["error"] == "Expired"


async def _count(plane: ControlPlane) -> int:
    return len(await listed(plane, "networkpolicies"))
