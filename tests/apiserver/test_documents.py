"""What clients write: create, update, patch, delete, by the rules of a Kubernetes API."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.apiserver.cluster import CONFIGMAPS, PODS, WIDGETS, make_cluster, widget
from tests.apiserver.conftest import Serve

MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


async def call(
    session: aiohttp.ClientSession, method: str, path: str, body: Any = None, **more: Any
) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | more.pop("headers", {})
    data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
    async with session.request(method, path, data=data, headers=headers, **more) as response:
        return response.status, await response.json(content_type=None)


async def created(session: aiohttp.ClientSession, **spec: Any) -> dict[str, Any]:
    status, answer = await call(session, "POST", WIDGETS, widget(**spec))
    assert status == 201, answer
    return answer


async def test_create_fills_in_what_the_server_knows(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = widget(color="red")
    body["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"}
    body["status"] = {"phase": "Wishful"}
    status, answer = await call(session, "POST", WIDGETS, body)
    assert status == 201
    metadata = answer["metadata"]
    assert metadata["uid"] not in ("", "mine")
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] > "2020"
    assert int(metadata["resourceVersion"]) > 0
    assert answer["spec"] == {"color": "red", "size": 1}
    assert "status" not in answer
    assert (await call(session, "GET", f"{WIDGETS}/w"))[1] == answer


async def test_generated_names(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = widget()
    body["metadata"] = {"generateName": "w-"}
    names = {(await call(session, "POST", WIDGETS, body))[1]["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("w-") and len(name) == 7 for name in names)


@pytest.mark.parametrize(
    ("change", "code", "reason", "text"),
    [
        ({"metadata": {"name": "w"}}, 409, "AlreadyExists", 'widgets.example.com "w" already exists'),
        ({"metadata": {"name": "Bad_Name"}}, 422, "Invalid", "metadata.name: Invalid value"),
        ({"metadata": {}}, 422, "Invalid", "metadata.name: Required value: name or generateName is required"),
        (
            {"metadata": {"name": "x", "namespace": "other"}},
            400,
            "BadRequest",
            "does not match the namespace",
        ),
        (
            {"metadata": {"name": "x", "resourceVersion": "5"}},
            400,
            "BadRequest",
            "resourceVersion should not be set",
        ),
        (
            {"metadata": {"name": "x", "labels": {"a b": "c"}}},
            422,
            "Invalid",
            "metadata.labels: Invalid value",
        ),
        (
            {"metadata": {"name": "x", "labels": {"a": 1}}},
            400,
            "BadRequest",
            "cannot be handled as a Widget: metadata.labels.a must be of type string, not int",
        ),
        (
            {"spec": {"size": 0}, "metadata": {"name": "x"}},
            422,
            "Invalid",
            "spec.size: Invalid value: 0: must be positive",
        ),
        ({"spec": 5, "metadata": {"name": "x"}}, 400, "BadRequest", "cannot be handled as a Widget"),
        ({"kind": "Gadget", "metadata": {"name": "x"}}, 400, "BadRequest", "is registered for version"),
        ({"apiVersion": "example.com/v2"}, 400, "BadRequest", "is registered for version"),
        ({"metadata": []}, 400, "BadRequest", "metadata"),
    ],
)
async def test_create_refuses(serve: Serve, change: Any, code: int, reason: str, text: str) -> None:
    session = await serve(make_cluster()[0])
    await created(session)
    status, answer = await call(session, "POST", WIDGETS, widget("x") | change)
    assert (status, answer["kind"], answer["reason"]) == (code, "Status", reason)
    assert text in answer["message"]
    if code == 422:
        assert answer["details"]["causes"][0]["field"]


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        ("{", "application/json", 400),
        ("null", "application/json", 400),
        ("[1]", "application/json", 400),
        ("a: [b", "application/yaml", 400),
        ("kind: Widget\nmetadata: {name: y}\nspec: {size: 3}\n", "application/yaml", 201),
        ("x", "text/plain", 415),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"k8s\0\xff\xff\xff", "application/vnd.kubernetes.protobuf", 415),
        ("[" * 5000, "application/json", 400),
        ("{a: " * 3000, "application/yaml", 400),
        ("[" * 300_000, "application/yaml", 400),
        ('{"metadata":' * 100_000, "application/json", 400),
    ],
)
async def test_bodies(serve: Serve, body: Any, content_type: str, code: int) -> None:
    session = await serve(make_cluster()[0])
    status, answer = await call(session, "POST", WIDGETS, body, headers={"Content-Type": content_type})
    assert status == code, answer


async def test_a_put_needs_the_version_it_was_read_at(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    first = await created(session)
    second = first | {"spec": {"size": 2}}
    status, answer = await call(session, "PUT", f"{WIDGETS}/w", second)
    assert (status, answer["metadata"]["generation"]) == (200, 2)
    status, answer = await call(session, "PUT", f"{WIDGETS}/w", second)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["message"].startswith(
        'Operation cannot be fulfilled on widgets.example.com "w": the object has been modified'
    )
    del second["metadata"]["resourceVersion"]
    status, answer = await call(session, "PUT", f"{WIDGETS}/w", second)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")


async def test_an_update_without_a_change_is_no_event(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    first = await created(session)
    version = server.stores.version
    status, answer = await call(session, "PUT", f"{WIDGETS}/w", first)
    assert (status, answer) == (200, first)
    status, _ = await call(session, "PATCH", f"{WIDGETS}/w", {"spec": {"size": 1}}, headers=MERGE)
    assert status == 200
    assert server.stores.version == version


async def test_spec_and_status_are_written_apart(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    first = await created(session)
    wanted = first | {"status": {"phase": "Ready"}, "spec": {"size": 9}}
    status, answer = await call(session, "PUT", f"{WIDGETS}/w/status", wanted)
    assert (status, answer["status"], answer["spec"]) == (200, {"phase": "Ready"}, {"size": 1})
    assert answer["metadata"]["generation"] == 1
    patch = {"status": {"phase": "Gone"}, "spec": {"size": 9}}
    status, answer = await call(session, "PATCH", f"{WIDGETS}/w", patch, headers=MERGE)
    assert (status, answer["status"], answer["spec"]) == (200, {"phase": "Ready"}, {"size": 9})
    assert answer["metadata"]["generation"] == 2
    assert (await call(session, "GET", f"{WIDGETS}/w/status"))[1] == answer


async def test_immutable_fields_and_uids(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    await created(session, color="red")
    status, answer = await call(session, "PATCH", f"{WIDGETS}/w", {"spec": {"color": "blue"}}, headers=MERGE)
    assert (status, answer["details"]["causes"]) == (
        422,
        [
            {
                "reason": "FieldValueInvalid",
                "message": 'Invalid value: "blue": field is immutable',
                "field": "spec.color",
            }
        ],
    )
    status, answer = await call(
        session, "PATCH", f"{WIDGETS}/w", {"metadata": {"uid": "other"}}, headers=MERGE
    )
    assert (status, answer["reason"]) == (409, "Conflict")
    status, answer = await call(session, "PATCH", f"{WIDGETS}/w", {"metadata": {"name": "v"}}, headers=MERGE)
    assert (status, answer["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("validation", "code", "warned"),
    [("Strict", 400, False), ("Warn", 201, True), ("Ignore", 201, False), ("", 201, True)],
)
async def test_unknown_fields(serve: Serve, validation: str, code: int, warned: bool) -> None:
    session = await serve(make_cluster()[0])
    body = json.dumps(widget(size=2, shape="round"))
    query = f"?fieldValidation={validation}" if validation else ""
    headers = {"Content-Type": "application/json"}
    async with session.post(WIDGETS + query, data=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == code
        assert response.headers.getall("Warning", []) == (
            ['299 - "unknown field \\"spec.shape\\""'] if warned else []
        )
    if code == 201:
        assert answer["spec"] == {"size": 2}
    else:
        assert 'strict decoding error: unknown field "spec.shape"' in answer["message"]


async def test_warnings_cannot_forge_headers(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = json.dumps(widget(**{"x\r\nSet-Cookie: a=b": 1, 'q"\\': 2, "ü" * 400: 3}))
    async with session.post(WIDGETS, data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 201
        assert "Set-Cookie" not in response.headers
        assert len(response.headers.getall("Warning")) == 3


async def test_built_in_kinds_are_checked_by_the_table_of_their_fields(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i", "imagex": "j"}]}}
    status, answer = await call(session, "POST", f"{PODS}?fieldValidation=Strict", body)
    assert (status, answer["message"]) == (
        400,
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.containers[0].imagex"',
    )


async def test_dry_run_changes_nothing(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    await created(session)
    version = server.stores.version
    assert (await call(session, "POST", f"{WIDGETS}?dryRun=All", widget("x")))[0] == 201
    assert (await call(session, "DELETE", f"{WIDGETS}/w?dryRun=All"))[0] == 200
    patch = {"spec": {"size": 4}}
    status, answer = await call(session, "PATCH", f"{WIDGETS}/w?dryRun=All", patch, headers=MERGE)
    assert (status, answer["spec"]["size"]) == (200, 4)
    assert server.stores.version == version
    status, answer = await call(session, "POST", f"{WIDGETS}?dryRun=Some", widget("x"))
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "dryRun")


async def test_delete_answers_a_status_with_the_uid(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    first = await created(session)
    status, answer = await call(session, "DELETE", f"{WIDGETS}/w")
    assert (status, answer["status"], answer["details"]) == (
        200,
        "Success",
        {"name": "w", "group": "example.com", "kind": "widgets", "uid": first["metadata"]["uid"]},
    )
    status, answer = await call(session, "DELETE", f"{WIDGETS}/w")
    assert (status, answer["message"]) == (404, 'widgets.example.com "w" not found')


async def test_delete_preconditions(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    first = await created(session)
    for conditions in ({"uid": "other"}, {"resourceVersion": "1"}):
        status, answer = await call(session, "DELETE", f"{WIDGETS}/w", {"preconditions": conditions})
        assert (status, answer["reason"]) == (409, "Conflict")
        assert "Precondition failed" in answer["message"]
    metadata = first["metadata"]
    conditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert (await call(session, "DELETE", f"{WIDGETS}/w", {"preconditions": conditions}))[0] == 200


async def test_finalizers_hold_an_object(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = widget()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await call(session, "POST", WIDGETS, body)
    status, answer = await call(session, "DELETE", f"{WIDGETS}/w")
    assert (status, answer["kind"]) == (200, "Widget")
    assert answer["metadata"]["deletionTimestamp"]
    again = (await call(session, "DELETE", f"{WIDGETS}/w"))[1]
    assert again["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": None, "deletionTimestamp": None}}
    assert (await call(session, "PATCH", f"{WIDGETS}/w", patch, headers=MERGE))[0] == 200
    assert (await call(session, "GET", f"{WIDGETS}/w"))[0] == 404


async def test_grace_periods(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    await created(session, grace=30)
    _, answer = await call(session, "DELETE", f"{WIDGETS}/w")
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 30
    _, answer = await call(session, "DELETE", f"{WIDGETS}/w?gracePeriodSeconds=10")
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 10
    _, answer = await call(session, "DELETE", f"{WIDGETS}/w", {"gracePeriodSeconds": 60})
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 10
    assert (await call(session, "DELETE", f"{WIDGETS}/w?gracePeriodSeconds=0"))[1]["kind"] == "Status"
    assert (await call(session, "GET", f"{WIDGETS}/w"))[0] == 404


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Orphan", ["orphan"]), ("Foreground", ["foregroundDeletion"]), ("Background", None)],
)
async def test_propagation_policies_become_finalizers(serve: Serve, policy: str, finalizers: Any) -> None:
    session = await serve(make_cluster()[0])
    await created(session)
    _, answer = await call(session, "DELETE", f"{WIDGETS}/w", {"propagationPolicy": policy})
    assert answer.get("metadata", {}).get("finalizers") == finalizers
    assert answer["kind"] == ("Widget" if finalizers else "Status")
    assert (await call(session, "DELETE", f"{WIDGETS}/w", {"propagationPolicy": "Sideways"}))[0] in (404, 422)


@pytest.mark.parametrize(
    "options",
    [
        {"preconditions": "uid"},
        {"preconditions": {"uid": 5}},
        {"dryRun": -1},
        {"gracePeriodSeconds": "5"},
        {"gracePeriodSeconds": 2**62},
        {"orphanDependents": 1},
        {"propagationPolicy": ["Orphan"]},
    ],
)
async def test_delete_options_of_the_wrong_types_are_refused(serve: Serve, options: Any) -> None:
    session = await serve(make_cluster()[0])
    await created(session)
    status, answer = await call(session, "DELETE", f"{WIDGETS}/w", options)
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert "DeleteOptions" in answer["message"]
    assert (await call(session, "DELETE", f"{WIDGETS}/w?gracePeriodSeconds={2**62}"))[0] == 400
    assert (await call(session, "GET", f"{WIDGETS}/w"))[0] == 200


async def test_deletecollection_takes_selectors(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        body = {"metadata": {"name": name, "labels": {"color": color}}, "data": {}}
        await call(session, "POST", CONFIGMAPS, body)
    status, answer = await call(session, "DELETE", f"{CONFIGMAPS}?labelSelector=color%3Dred")
    assert (status, answer["kind"]) == (200, "ConfigMapList")
    assert sorted(item["metadata"]["name"] for item in answer["items"]) == ["a", "c"]
    _, left = await call(session, "GET", CONFIGMAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


async def test_patches_by_content_type(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    await call(session, "POST", CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    path = f"{CONFIGMAPS}/c"
    _, answer = await call(session, "PATCH", path, {"data": {"b": "2", "a": None}}, headers=MERGE)
    assert answer["data"] == {"b": "2"}
    operations = [
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "move", "from": "/data/b", "path": "/data/c"},
    ]
    _, answer = await call(session, "PATCH", path, operations, headers=JSON_PATCH)
    assert answer["data"] == {"c": "2"}
    _, answer = await call(session, "PATCH", path, {"data": {"d": "3"}}, headers=STRATEGIC)
    assert answer["data"] == {"c": "2", "d": "3"}
    status, answer = await call(session, "PATCH", path, operations, headers=JSON_PATCH)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert (await call(session, "PATCH", path, {}, headers={"Content-Type": "application/json"}))[0] == 415
    assert (await call(session, "PATCH", f"{WIDGETS}/w", {}, headers=STRATEGIC))[0] == 415
    assert (await call(session, "PATCH", f"{CONFIGMAPS}/none", {}, headers=MERGE))[0] == 404


async def test_methods_and_places_that_do_not_exist(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    for method, path, code in (
        ("POST", f"{WIDGETS}/w", 405),
        ("PUT", WIDGETS, 405),
        ("POST", "/apis/example.com/v1/widgets", 405),
        ("GET", "/apis/example.com/v1/widgets/w", 404),
        ("GET", f"{WIDGETS}/w/scale", 404),
        ("POST", f"{WIDGETS}/w/status", 405),
        ("GET", "/apis/example.com/v2/widgets", 404),
        ("GET", "/apis/nowhere.example/v1/widgets", 404),
    ):
        status, _ = await call(session, method, path, {} if method != "GET" else None)
        assert status == code, (method, path)


def test_programs_write_through_the_registry() -> None:
    _, registry = make_cluster()
    widgets = registry.kinds["widgets.example.com"]
    created = registry.create(widgets, {"metadata": {"name": "w", "namespace": "ns"}, "spec": {"size": 3}})
    seen: list[Any] = []
    registry.observe(lambda kind, old, new: seen.append((kind, old is not None, new is not None)))

    def grow(document: dict[str, Any], _version: int) -> dict[str, Any]:
        document["spec"]["size"] += 1
        return document

    updated = registry.update(widgets, "ns", "w", grow, unconditional=True)
    assert updated.version > created.version
    assert created.document["spec"]["size"] == 3  # what was stored is never changed in place
    current = registry.get(widgets.resource, "ns", "w")
    assert current is not None
    assert current["spec"]["size"] == 4
    _, gone = registry.delete(widgets, "ns", "w")
    assert gone
    assert seen == [(widgets, True, True), (widgets, True, False)]
    saved = {"metadata": {"name": "w", "namespace": "ns", "uid": "kept"}, "spec": {"size": 5}}
    registry.restore(widgets.resource, saved, updated.version)
    loaded = registry.stored(widgets.resource, "ns", "w")
    assert loaded is not None
    assert (loaded.record.uid, loaded.version) == ("kept", updated.version)
    assert seen[2:] == [(widgets, False, True)]
