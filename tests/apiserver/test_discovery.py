"""What a server says it has, compared with what Antrea v2.7's controller said of the same resources."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from apis.controlplane import v1beta2
from apis.record import Media
from apiserver.endpoints import Endpoint
from apiserver.resources import ResourceInfo, Subresource
from apiserver.server import ApiServer
from tests.apiserver.cluster import make_cluster
from tests.apiserver.conftest import Serve

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "protocol" / "discovery.json").read_text()
)
ELSEWHERE = {
    "version": "the version belongs to the process",
    "legacy resources as yaml": "compared as data below",
}


def recorded_server() -> ApiServer:
    """Serves whatever the recorded discovery document lists."""
    server = ApiServer(title="Antrea", version={"major": "2", "minor": "7"})
    (document,) = [case["response"]["json"] for case in CASES if case["name"] == "aggregated v2"]
    groups = {item["metadata"]["name"]: item for item in document["items"]}
    for group in ("controlplane.antrea.io", "system.antrea.io", "stats.antrea.io"):
        for version in groups[group]["versions"]:
            for entry in version["resources"]:
                subresources = tuple(
                    Subresource(sub["subresource"], sub["responseKind"]["kind"], tuple(sub["verbs"]))
                    for sub in entry.get("subresources", ())
                )
                info = ResourceInfo(
                    group,
                    version["version"],
                    entry["resource"],
                    entry["responseKind"]["kind"],
                    singular=entry["singularResource"],
                    namespaced=entry["scope"] == "Namespaced",
                    verbs=tuple(entry["verbs"]),
                    media=frozenset({Media.JSON}),
                    subresources=subresources,
                    codec=v1beta2.Codec(),
                )
                server.register(Endpoint(info))
    return server


def normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: normal(v) for k, v in value.items() if k not in ("serverAddress",)}
    return [normal(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_recorded_discovery(serve: Serve, case: dict[str, Any]) -> None:
    if case["name"] in ELSEWHERE:
        pytest.skip(ELSEWHERE[case["name"]])
    session = await serve(recorded_server())
    request, expected = case["request"], case["response"]
    headers = dict(request["headers"])
    if "If-None-Match" in headers:
        accept = {"Accept": headers["Accept"]}
        async with session.get(URL(request["path"], encoded=True), headers=accept) as first:
            headers["If-None-Match"] = first.headers["ETag"]
    async with session.get(URL(request["path"], encoded=True), headers=headers) as response:
        body = await response.read()
        assert response.status == expected["status"]
        if response.status == 304:
            return
        assert response.headers["Content-Type"] == expected["headers"]["Content-Type"]
        assert response.headers["Cache-Control"] == expected["headers"]["Cache-Control"]
        if "json" in expected:
            document = json.loads(body)
            if "paths" in expected["json"]:
                ours, theirs = set(document["paths"]), set(expected["json"]["paths"])
                assert {path for path in theirs if path.startswith("/apis")} <= ours
            else:
                assert normal(document) == normal(expected["json"])
        elif expected.get("body"):
            theirs = base64.b64decode(expected["body"]["base64"])
            if "legacy group list" in case["name"]:
                return  # holds the address of the recording
            assert body == theirs


async def test_discovery_follows_registration(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)

    async def names() -> set[str]:
        accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
        async with session.get("/apis", headers=accept) as response:
            document = await response.json(content_type=None)
        return {e["resource"] for i in document["items"] for v in i["versions"] for e in v["resources"]}

    assert await names() == {"widgets"}
    server.unregister("example.com", "v1", "widgets")
    assert await names() == set()
    async with session.get("/apis/example.com") as response:
        assert response.status == 404
    async with session.get("/api/v1") as response:
        resources = [entry["name"] for entry in (await response.json())["resources"]]
    assert resources == [
        "configmaps",
        "namespaces",
        "namespaces/status",
        "pods",
        "pods/status",
        "services",
        "services/status",
    ]


async def test_other_servers_groups_and_requests(serve: Serve) -> None:
    server, _ = make_cluster()
    item = {
        "metadata": {"name": "far.example"},
        "versions": [{"version": "v1", "resources": [], "freshness": "Current"}],
    }

    async def external() -> list[Any]:
        return [item]

    seen: list[str] = []

    async def fallback(ctx: Any) -> Any:
        seen.append(ctx.info.path)
        if ctx.info.path.startswith("/apis/far.example"):
            from aiohttp import web

            return web.json_response({"from": "afar"})
        return None

    server.discovery.external = external
    server.fallback = fallback
    session = await serve(server)
    async with session.get("/apis") as response:
        groups = [group["name"] for group in (await response.json())["groups"]]
    assert groups == ["example.com", "far.example"]
    for path, code in (
        ("/apis/far.example/v1/things", 200),
        ("/apis/far.example/v1", 200),
        ("/apis/no.example/v1/x", 404),
    ):
        async with session.get(path) as response:
            assert response.status == code, path
    assert "/apis/far.example/v1/things" in seen


async def test_openapi_describes_what_is_registered(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    async with session.get("/openapi/v3") as response:
        index = (await response.json())["paths"]
    assert set(index) == {"api/v1", "apis/example.com/v1"}
    async with session.get(index["apis/example.com/v1"]["serverRelativeURL"]) as response:
        assert "immutable" in response.headers["Cache-Control"]
        document = await response.json()
    schema = document["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "example.com", "version": "v1", "kind": "Widget"}
    ]
    assert schema["properties"]["spec"]["properties"]["size"] == {"type": "integer"}
    patch = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    async with session.get(index["api/v1"]["serverRelativeURL"]) as response:
        core = await response.json()
        tag = response.headers["ETag"]
    async with session.get("/openapi/v3/api/v1", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    container = core["components"]["schemas"]["io.k8s.api.core.v1.Container"]
    assert container["properties"]["env"]["x-kubernetes-patch-merge-key"] == "name"
    async with session.get("/openapi/v2") as response:
        swagger = await response.json()
    assert swagger["swagger"] == "2.0"
    assert "/api/v1/namespaces/{namespace}/pods/{name}" in swagger["paths"]


async def test_every_reference_in_openapi_leads_somewhere(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    for path, prefix in (("/openapi/v3/api/v1", "#/components/schemas/"), ("/openapi/v2", "#/definitions/")):
        async with session.get(path) as response:
            document = await response.json()
        names = document["components"]["schemas"] if "v3" in path else document["definitions"]
        stack: list[Any] = [document]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                if "$ref" in value:
                    assert value["$ref"].startswith(prefix)
                    assert value["$ref"].removeprefix(prefix) in names
                stack += list(value.values())
            elif isinstance(value, list):
                stack += value
