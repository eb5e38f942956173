"""Conversion webhooks: a version of a definition that is not the stored one."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.api.process import LabApi, eventually
from tests.lab.api.test_custom_resources import DEFINITIONS, definition, establish
from tests.lab.api.webhook import Review, WebhookServer

OLD = "/apis/example.com/v1alpha2/pools"
NEW = "/apis/example.com/v1/pools"
SUBNET = {"type": "object", "properties": {"gateway": {"type": "string"}}}
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def schema(spec: dict[str, Any]) -> dict[str, Any]:
    status = {"type": "object", "properties": {"usage": {"type": "integer"}}}
    return {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}, "status": status},
    }


def converted(obj: dict[str, Any], wanted: str) -> dict[str, Any]:
    """v1alpha2 has the gateway in its spec, v1 in a subnet."""
    made = {**obj, "apiVersion": wanted}
    spec = dict(obj.get("spec", {}))
    if wanted.endswith("/v1"):
        spec = {"subnet": {"gateway": spec["gateway"]}} if "gateway" in spec else {}
    else:
        spec = {"gateway": spec["subnet"]["gateway"]} if "subnet" in spec else {}
    return {**made, "spec": spec}


def convert(request: Review) -> Review:
    objects = [converted(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    return {"convertedObjects": objects, "result": {"status": "Success"}}


@pytest.fixture
def server(own_api: LabApi, tmp_path: pathlib.Path) -> Iterator[WebhookServer]:
    running = WebhookServer(tmp_path / "hooks", "hooks.default.svc")
    running.publish(own_api)
    running.handlers["/convert"] = convert
    body = definition("Pool", schema({"subnet": SUBNET}), subresources={"status": {}})
    body["spec"]["scope"] = "Cluster"
    old = {
        "name": "v1alpha2",
        "served": True,
        "storage": False,
        "schema": {"openAPIV3Schema": schema({"gateway": {"type": "string"}})},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Gateway", "type": "string", "jsonPath": ".spec.gateway"}],
    }
    body["spec"]["versions"].append(old)
    webhook = {"clientConfig": running.config("/convert"), "conversionReviewVersions": ["v1"]}
    body["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    establish(own_api, body)
    eventually(lambda: own_api.get(OLD).status == 200)
    yield running
    running.stop()


def test_each_version_is_read_and_written_in_its_own_form(own_api: LabApi, server: WebhookServer) -> None:
    api = own_api
    made = api.create(OLD, {"metadata": {"name": "p"}, "spec": {"gateway": "10.0.0.1"}})
    assert (made["apiVersion"], made["spec"]) == ("example.com/v1alpha2", {"gateway": "10.0.0.1"})
    assert api.get(f"{NEW}/p").json["spec"] == {"subnet": {"gateway": "10.0.0.1"}}
    old = api.get(f"{OLD}/p").json
    assert (old["apiVersion"], old["spec"]) == ("example.com/v1alpha2", {"gateway": "10.0.0.1"})
    assert old["metadata"]["uid"] == made["metadata"]["uid"]

    changed = api.merge(f"{OLD}/p", {"spec": {"gateway": "10.0.0.2"}})
    assert changed.status == 200
    assert changed.json["spec"] == {"gateway": "10.0.0.2"}
    assert api.get(f"{NEW}/p").json["spec"] == {"subnet": {"gateway": "10.0.0.2"}}
    assert api.merge(f"{OLD}/p/status", {"status": {"usage": 3}}).json["status"] == {"usage": 3}
    assert api.get(f"{NEW}/p").json["status"] == {"usage": 3}

    stale = {**made, "spec": {"gateway": "10.0.0.3"}}
    assert api.put(f"{OLD}/p", stale).status == 409
    fresh = api.get(f"{OLD}/p").json
    assert api.put(f"{OLD}/p", {**fresh, "spec": {"gateway": "10.0.0.3"}}).status == 200
    apply = {"apiVersion": "example.com/v1alpha2", "kind": "Pool", "spec": {"gateway": "10.0.0.4"}}
    answer = api.request(
        "PATCH",
        f"{OLD}/p?fieldManager=me&force=true",
        json.dumps(apply).encode(),
        media="application/apply-patch+yaml",
    )
    assert answer.json["spec"] == {"gateway": "10.0.0.4"}
    assert api.delete(f"{OLD}/p").status == 200
    assert api.get(f"{NEW}/p").status == 404


def test_lists_tables_pages_and_watches(own_api: LabApi, server: WebhookServer) -> None:
    api = own_api
    for i in range(3):
        api.create(NEW, {"metadata": {"name": f"p{i}"}, "spec": {"subnet": {"gateway": f"10.0.{i}.1"}}})
    listed = api.get(OLD).json
    assert [item["spec"]["gateway"] for item in listed["items"]] == ["10.0.0.1", "10.0.1.1", "10.0.2.1"]
    rows = api.get(OLD, headers=TABLE).json["rows"]
    assert [row["cells"] for row in rows][0] == ["p0", "10.0.0.1"]
    page = api.get(f"{OLD}?limit=2").json
    rest = api.get(f"{OLD}?limit=2&continue={page['metadata']['continue']}").json
    assert [item["spec"]["gateway"] for item in rest["items"]] == ["10.0.2.1"]

    events = api.events(f"{OLD}?watch=1", 5)
    assert [next(events)[1]["spec"]["gateway"] for _ in range(3)] == ["10.0.0.1", "10.0.1.1", "10.0.2.1"]
    api.merge(f"{NEW}/p1", {"spec": {"subnet": {"gateway": "10.9.9.9"}}})
    api.delete(f"{NEW}/p2")
    assert [(kind, obj["spec"]["gateway"]) for kind, obj in events] == [
        ("MODIFIED", "10.9.9.9"),
        ("DELETED", "10.0.2.1"),
    ]
    since = listed["metadata"]["resourceVersion"]
    (resumed,) = api.events(f"{OLD}?watch=1&resourceVersion={since}", 1)
    assert (resumed[0], resumed[1]["spec"]) == ("MODIFIED", {"gateway": "10.9.9.9"})


def test_the_question_is_a_conversion_review(own_api: LabApi, server: WebhookServer) -> None:
    own_api.create(OLD, {"metadata": {"name": "p"}, "spec": {"gateway": "10.0.0.1"}})
    ((path, review),) = server.asked
    assert path == "/convert?timeout=30s"
    assert (review["kind"], review["apiVersion"]) == ("ConversionReview", "apiextensions.k8s.io/v1")
    assert review["request"]["desiredAPIVersion"] == "example.com/v1"
    (sent,) = review["request"]["objects"]
    assert (sent["kind"], sent["apiVersion"]) == ("Pool", "example.com/v1alpha2")
    own_api.get(f"{NEW}/p")
    assert len(server.asked) == 1  # the stored version needs nobody


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (
            {"result": {"status": "Failure", "message": "no way"}},
            "conversion webhook for example.com/v1alpha2, Kind=Pool failed: no way",
        ),
        (
            {"result": {"status": "Success"}, "convertedObjects": []},
            "conversion webhook for example.com/v1alpha2, Kind=Pool returned 0 objects, expected 1",
        ),
        (
            {
                "result": {"status": "Success"},
                "convertedObjects": [
                    {"apiVersion": "example.com/v1", "kind": "Pool", "metadata": {"name": "other"}}
                ],
            },
            "must not change metadata.name",
        ),
    ],
)
def test_conversions_that_fail(own_api: LabApi, server: WebhookServer, response: Review, words: str) -> None:
    server.handlers["/convert"] = lambda _: response
    answer = own_api.post(OLD, {"metadata": {"name": "p"}, "spec": {"gateway": "10.0.0.1"}})
    assert answer.status == 500
    assert words in answer.json["message"]
    assert answer.json["message"].startswith("Internal error occurred: ")
    assert own_api.get(NEW).json["items"] == []


def test_without_its_webhook_only_the_stored_version_is_there(own_api: LabApi, server: WebhookServer) -> None:
    own_api.create(NEW, {"metadata": {"name": "p"}, "spec": {"subnet": {"gateway": "10.0.0.1"}}})
    del server.handlers["/convert"]
    assert own_api.get(f"{NEW}/p").status == 200
    answer = own_api.get(f"{OLD}/p")
    assert answer.status == 500
    assert (
        "conversion webhook for example.com/v1, Kind=Pool failed: the server could not find"
        in (answer.json["message"])
    )
    (event,) = own_api.events(f"{OLD}?watch=1", 1)
    assert (event[0], event[1]["code"]) == ("ERROR", 500)


@pytest.mark.parametrize(
    ("conversion", "words"),
    [
        ({"strategy": "Webhook"}, "spec.conversion.webhook.clientConfig: Required value"),
        ({"strategy": "Magic"}, 'Unsupported value: "Magic"'),
        (
            {
                "strategy": "Webhook",
                "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v7"]},
            },
            "must include at least one of v1, v1beta1",
        ),
    ],
)
def test_definitions_whose_conversion_cannot_be(api: LabApi, conversion: dict[str, Any], words: str) -> None:
    body = definition("Odd", {"type": "object"})
    body["spec"]["conversion"] = conversion
    answer = api.post(DEFINITIONS, body)
    assert answer.status == 422
    assert words in answer.json["message"]


def test_the_storage_version_stays_while_there_are_objects(own_api: LabApi, server: WebhookServer) -> None:
    one = f"{DEFINITIONS}/pools.example.com"
    body = own_api.get(one).json
    for version in body["spec"]["versions"]:
        version["storage"] = not version["storage"]
    own_api.create(NEW, {"metadata": {"name": "p"}})
    answer = own_api.put(one, body)
    assert answer.status == 403
    assert "delete the objects before another version" in answer.json["message"]
    own_api.delete(f"{NEW}/p")
    assert own_api.put(one, own_api.get(one).json | {"spec": body["spec"]}).status == 200
