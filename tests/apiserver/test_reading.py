"""Reading: selectors, pages, forms of answers, compression."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from apis.envelope import unwrap
from apis.meta import v1 as meta
from apis.record import Change
from apiserver.documents.record import Document
from tests.apiserver.cluster import CONFIGMAPS, PODS, make_cluster, put
from tests.apiserver.conftest import Serve
from tests.apiserver.test_documents import call

WATCH_LIST = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def fill(server: Any, count: int, size: int = 1) -> None:
    for number in range(count):
        metadata = {
            "name": f"c{number:03}",
            "namespace": "ns",
            "labels": {"parity": "even" if number % 2 == 0 else "odd"},
        }
        document = Document({"metadata": metadata, "data": {"value": "x" * size}})
        server.stores.publish([Change("configmaps", None, document)])


async def test_pages_are_of_one_moment(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    fill(server, 10)
    _, page = await call(session, "GET", f"{CONFIGMAPS}?limit=4")
    assert page["metadata"]["remainingItemCount"] == 6
    version = page["metadata"]["resourceVersion"]
    # What happens in between is not part of this list.
    await call(session, "DELETE", f"{CONFIGMAPS}/c009")
    await call(session, "POST", CONFIGMAPS, {"metadata": {"name": "c0055"}, "data": {}})
    await call(session, "PUT", f"{CONFIGMAPS}/c007", {"metadata": {"name": "c007"}, "data": {"value": "new"}})
    names = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        _, page = await call(session, "GET", f"{CONFIGMAPS}?limit=4&continue={token}")
        assert page["metadata"]["resourceVersion"] == version
        names += [item["metadata"]["name"] for item in page["items"]]
        for item in page["items"]:
            assert item["data"]["value"] == "x"
    assert names == [f"c{number:03}" for number in range(10)]


async def test_a_token_whose_past_is_forgotten_is_expired(serve: Serve) -> None:
    server, _ = make_cluster()
    server.stores.history._max_entries = 5
    session = await serve(server)
    fill(server, 10)
    _, page = await call(session, "GET", f"{CONFIGMAPS}?limit=4")
    for number in range(10):
        await call(session, "DELETE", f"{CONFIGMAPS}/c{number:03}")
        # Lists that are being read in pages are kept, but only the last few.
        await call(session, "GET", f"{CONFIGMAPS}?limit=1")
    status, answer = await call(
        session, "GET", f"{CONFIGMAPS}?limit=4&continue={page['metadata']['continue']}"
    )
    assert (status, answer["reason"]) == (410, "Expired")


@pytest.mark.parametrize("token", ["x", "!!!", "eyJ9", "e30", "AAAA"])
async def test_a_token_that_is_none(serve: Serve, token: str) -> None:
    session = await serve(make_cluster()[0])
    assert (await call(session, "GET", f"{CONFIGMAPS}?continue={token}"))[0] == 400


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("labelSelector=a%3D1", ["p1"]),
        ("labelSelector=a%21%3D1", ["p2", "p3"]),
        ("labelSelector=a", ["p1", "p2"]),
        ("labelSelector=%21a", ["p3"]),
        ("labelSelector=a+in+(1,2),b", ["p2"]),
        ("labelSelector=a+notin+(1)", ["p2", "p3"]),
        ("labelSelector=a%3E1", ["p2"]),
        ("labelSelector=", ["p1", "p2", "p3"]),
        ("fieldSelector=metadata.name%3Dp2", ["p2"]),
        ("fieldSelector=metadata.name%21%3Dp2", ["p1", "p3"]),
        ("fieldSelector=status.phase%3DRunning", ["p1"]),
        ("fieldSelector=status.phase%3DRunning,metadata.name%3Dp2", []),
        ("fieldSelector=metadata.namespace%3Dns", ["p1", "p2", "p3"]),
        ("fieldSelector=metadata.namespace%3Dother", []),
    ],
)
async def test_selectors(serve: Serve, selector: str, names: list[str]) -> None:
    server, registry = make_cluster()
    session = await serve(server)
    for name, labels, phase in (
        ("p1", {"a": "1"}, "Running"),
        ("p2", {"a": "2", "b": ""}, ""),
        ("p3", {}, ""),
    ):
        body = {"metadata": {"name": name, "namespace": "ns", "labels": labels}, "status": {"phase": phase}}
        put(registry, "pods", body)
    for path in (PODS, "/api/v1/pods"):
        _, answer = await call(session, "GET", f"{path}?{selector}")
        assert [item["metadata"]["name"] for item in answer["items"]] == names
    seen = []
    async with session.get(f"{PODS}?{WATCH_LIST}&{selector}") as response:
        while (event := json.loads(await response.content.readline()))["type"] != "BOOKMARK":
            seen.append(event["object"]["metadata"]["name"])
    assert sorted(seen) == names


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("labelSelector=a%3D%3D%3Db", "unable to parse requirement: found '=', expected: identifier"),
        ("labelSelector=-a%3Db", "unable to parse requirement: the name part of the key '-a' must have"),
        ("labelSelector=a+in+()x", "unable to parse requirement: found 'x', expected: ','"),
        ("fieldSelector=a", "invalid selector: 'a'; can't understand 'a'"),
        ("fieldSelector=a%3Db%3Dc", "invalid field selector: unescaped character in value: 61"),
        ("fieldSelector=spec.color%3Dred", "field label not supported: spec.color"),
    ],
)
async def test_selectors_that_are_none(serve: Serve, selector: str, text: str) -> None:
    session = await serve(make_cluster()[0])
    status, answer = await call(session, "GET", f"{PODS}?{selector}")
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert answer["message"].startswith(text)


async def test_labels_that_change_move_objects_in_and_out_of_a_watch(serve: Serve) -> None:
    server, registry = make_cluster()
    session = await serve(server)
    _, listed = await call(session, "GET", PODS)
    version = listed["metadata"]["resourceVersion"]
    for labels in ({"a": "1"}, {"a": "1", "b": "2"}, {}, {"a": "1"}):
        put(registry, "pods", {"metadata": {"name": "p", "namespace": "ns", "labels": labels}})
    path = f"{PODS}?watch=1&timeoutSeconds=1&labelSelector=a%3D1&resourceVersion={version}"
    async with session.get(path) as response:
        events = [json.loads(line) for line in (await response.read()).decode().splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_yaml_and_pretty(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    fill(server, 1)
    _, plain = await call(session, "GET", f"{CONFIGMAPS}/c000")
    async with session.get(f"{CONFIGMAPS}/c000", headers={"Accept": "application/yaml"}) as response:
        assert response.headers["Content-Type"] == "application/yaml"
        assert yaml.safe_load(await response.text()) == plain
    async with session.get(f"{CONFIGMAPS}/c000?pretty=true") as response:
        text = await response.text()
        assert text.startswith('{\n  "kind"')
        assert json.loads(text) == plain


async def test_tables_and_metadata(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    fill(server, 2)
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    _, table = await call(session, "GET", f"{CONFIGMAPS}?limit=1", headers=headers)
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Created At"]
    assert table["rows"][0]["cells"][0] == "c000"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["metadata"]["continue"]
    for media in ("application/json", "application/vnd.kubernetes.protobuf"):
        accept = f"{media};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        async with session.get(CONFIGMAPS, headers={"Accept": accept}) as response:
            body = await response.read()
        if media == "application/json":
            found = json.loads(body)
        else:
            found = meta.decode_kind("PartialObjectMetadataList", unwrap(body).raw)
        assert [item["metadata"]["name"] for item in found["items"]] == ["c000", "c001"]


@pytest.mark.parametrize(("size", "compressed"), [(1000, False), (200_000, True)])
async def test_large_answers_are_compressed(serve: Serve, size: int, compressed: bool) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    fill(server, 1, size)
    async with session.get(CONFIGMAPS, headers={"Accept-Encoding": "gzip"}) as response:
        assert (response.headers.get("Content-Encoding") == "gzip") is compressed
        assert len((await response.json())["items"][0]["data"]["value"]) == size


async def test_versions_of_the_future_and_of_another_process(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    status, answer = await call(session, "GET", f"{CONFIGMAPS}?resourceVersion={server.stores.version + 9}")
    assert (status, answer["reason"]) == (504, "Timeout")
    assert "Too large resource version" in answer["message"]
    assert (await call(session, "GET", f"{CONFIGMAPS}?resourceVersion=5"))[0] == 200
    assert (await call(session, "GET", f"{CONFIGMAPS}?resourceVersion=abc"))[0] == 422
    assert (await call(session, "GET", f"{CONFIGMAPS}?watch=1&resourceVersion=5"))[0] == 410


async def test_watch_lists_end_with_an_annotated_bookmark(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    fill(server, 2)
    async with session.get(f"{CONFIGMAPS}?{WATCH_LIST}&timeoutSeconds=1") as response:
        events = [json.loads(line) for line in (await response.read()).decode().splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"] == {
        "resourceVersion": str(server.stores.version),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
