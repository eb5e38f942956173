"""Any path, any options, any body: an answer with a Status, never a failure of the server's own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.apiserver.cluster import CONFIGMAPS, PODS, WIDGETS, make_cluster, put, widget
from tests.apiserver.conftest import Serve

PATHS = [
    CONFIGMAPS,
    f"{CONFIGMAPS}/c",
    f"{WIDGETS}/w",
    f"{WIDGETS}/w/status",
    PODS,
    "/api/v1/namespaces",
    "/apis",
    "/openapi/v3/api/v1",
    "/readyz",
]
odd = st.text(max_size=8) | st.sampled_from(
    ["0", "-1", "true", "abc", "999999999999999999999", "a=b", "a in (", "=", "%"]
)
OPTIONS = [
    *("limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector"),
    *("sendInitialEvents", "allowWatchBookmarks", "includeObject", "pretty", "dryRun", "fieldValidation"),
    *("fieldManager", "force", "gracePeriodSeconds", "propagationPolicy", "exclude", "verbose"),
]
queries = st.dictionaries(st.sampled_from(OPTIONS), odd, max_size=4)
accepts = st.sampled_from(
    [
        "*/*",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "text/plain;q=0.1,;;,application/json;as=",
    ]
)
NAMES = ["metadata", "spec", "status", "data", "name", "$patch", "size", "containers", "x"]
scalars = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(-9, 9) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
METADATA = [
    "labels",
    "annotations",
    "finalizers",
    "generateName",
    "managedFields",
    "ownerReferences",
    "namespace",
]
METADATA += [
    "uid",
    "resourceVersion",
    "deletionTimestamp",
    "generation",
    "$deleteFromPrimitiveList/finalizers",
]
maps = st.dictionaries(st.text(max_size=3), values, max_size=2)
metadata = st.dictionaries(st.sampled_from(METADATA), values | maps | st.lists(maps, max_size=2), max_size=4)
operations = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": st.sampled_from(
            ["", "/metadata", "/metadata/labels", "/metadata/name", "/data", "/data/a", "/spec/size"]
        ),
    },
    optional={"value": values | maps, "from": st.sampled_from(["/metadata", "/data", "/spec"])},
)
DELETION = ["preconditions", "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "dryRun"]
TYPES = [
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
fuzz = settings(
    max_examples=40,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # shrinking over HTTP takes minutes; a failure names all it needs
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzz
@given(data=st.data())
async def test_reading(serve: Serve, data: st.DataObject) -> None:
    server, registry = make_cluster()
    session = await serve(server)
    put(registry, "configmaps", {"metadata": {"name": "c", "namespace": "ns", "labels": {"a": "b"}}})
    for _ in range(5):
        path, query, accept = data.draw(st.sampled_from(PATHS)), data.draw(queries), data.draw(accepts)
        if data.draw(st.booleans()):
            query |= {"watch": "1", "timeoutSeconds": "1"}
        async with session.get(path, params=query, headers={"Accept": accept}) as response:
            assert response.status != 500, await response.text()
            await asyncio.wait_for(
                response.content.readany() if response.status == 200 else response.read(), 5
            )


@fuzz
@given(data=st.data())
async def test_writing(serve: Serve, data: st.DataObject) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    headers = {"Content-Type": "application/json"}
    await session.post(WIDGETS, data=json.dumps(widget()), headers=headers)
    body: Any = {"metadata": {"name": "c"}, "data": {"a": "b"}}
    await session.post(CONFIGMAPS, data=json.dumps(body), headers=headers)
    for _ in range(10):
        path, name = data.draw(st.sampled_from([(CONFIGMAPS, "c"), (WIDGETS, "w"), (PODS, "p")]))
        method = data.draw(st.sampled_from(["POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"]))
        kind = TYPES[0]
        document = {"metadata": {"name": name} | data.draw(metadata)}
        document |= data.draw(st.dictionaries(st.sampled_from(NAMES[1:]), values | maps, max_size=3))
        body = document
        if method == "PATCH":
            kind = data.draw(st.sampled_from(TYPES[2:]))
            if kind == "application/json-patch+json":
                body = data.draw(st.lists(operations, max_size=3))
        elif method == "DELETE":
            body = data.draw(st.none() | st.dictionaries(st.sampled_from(DELETION), values, max_size=2))
        if method != "POST":
            path += f"/{name}" + data.draw(st.sampled_from(["", "", "/status"]))
        query = data.draw(st.just({}) | queries) | ({"fieldManager": "f"} if "apply" in kind else {})
        headers = {"Content-Type": kind}
        async with session.request(
            method, path, params=query, data=json.dumps(body), headers=headers
        ) as response:
            text = await response.text(errors="replace")
            assert response.status != 500, (method, path, body, headers, query, text)
    for path in (CONFIGMAPS, WIDGETS, PODS, "/api/v1/namespaces"):
        for accept in (
            "application/json",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            "application/yaml",
        ):
            async with session.get(path, headers={"Accept": accept}) as response:
                assert response.status == 200, await response.text()
