"""What every object has: names, versions, generations, status apart from spec, preconditions, patches."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.lab.api.process import LabApi

POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_a_created_object_is_given_identity(api: LabApi) -> None:
    path = api.namespace("identity") + "/configmaps"
    body = config_map("c", a="b")
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    made = api.create(path, body)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["metadata"]["uid"])
    assert made["metadata"]["creationTimestamp"] > "2020"
    assert "generation" not in made["metadata"]
    assert made["metadata"]["namespace"] == "identity"
    assert int(made["metadata"]["resourceVersion"]) > 0
    assert api.get(f"{path}/c").json == made
    assert api.post(path, config_map("c")).json["reason"] == "AlreadyExists"


def test_generated_names(api: LabApi) -> None:
    path = api.namespace("generated") + "/configmaps"
    names = {api.create(path, {"metadata": {"generateName": "pre-"}})["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch("pre-[a-z0-9]{5}", name) for name in names)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"metadata": {"name": "Bad_Name"}}, 422, "a lowercase RFC 1123 subdomain must consist of"),
        ({"metadata": {}}, 422, "metadata.name: Required value: name or generateName is required"),
        (
            {"metadata": {"name": "a", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match",
        ),
        (
            {"metadata": {"name": "a", "labels": {"-x": "y"}}},
            422,
            'metadata.labels: Invalid value: "-x": name part',
        ),
        ({"metadata": {"name": "a", "labels": {"x": 1}}}, 400, "cannot unmarshal number"),
        ({"metadata": {"name": "a", "finalizers": ["no/t/ok"]}}, 422, "metadata.finalizers: Invalid value"),
        ({"metadata": {"name": "a"}, "data": {"k/v": "x"}}, 422, "a valid config key must consist of"),
        ({"kind": "Secret", "metadata": {"name": "a"}}, 400, "cannot be handled as a ConfigMap"),
        ({"apiVersion": "v2", "metadata": {"name": "a"}}, 400, 'is registered for version "v2"'),
        ([], 400, ""),
        ("text", 400, ""),
        (None, 400, ""),
    ],
)
def test_bad_objects_are_refused(api: LabApi, body: Any, status: int, message: str) -> None:
    answer = api.post("/api/v1/namespaces/default/configmaps", body if body is not None else b"{nonsense")
    assert answer.status == status
    assert answer.json["kind"] == "Status"
    assert message in answer.json["message"]


def test_generation_moves_only_with_the_spec(api: LabApi) -> None:
    api.namespace("generation")
    path = POLICIES.format("generation")
    api.create(path, {"metadata": {"name": "p"}, "spec": {"podSelector": {}}})

    def generation(patch: Any) -> int:
        return int(api.merge(f"{path}/p", patch).json["metadata"]["generation"])

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}) == 2
    assert generation({"metadata": {"annotations": {"c": "d"}}}) == 2
    assert generation({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}) == 2


def test_a_write_that_changes_nothing_makes_no_version(api: LabApi) -> None:
    path = api.namespace("nothing") + "/configmaps"
    made = api.create(path, config_map("c", a="b"))
    again = api.put(f"{path}/c", made)
    assert again.json["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_optimistic_concurrency(api: LabApi) -> None:
    path = api.namespace("concurrency") + "/configmaps"
    made = api.create(path, config_map("c", a="1"))
    assert api.put(f"{path}/c", {**made, "data": {"a": "2"}}).status == 200
    late = api.put(f"{path}/c", {**made, "data": {"a": "3"}})
    assert (late.status, late.json["reason"]) == (409, "Conflict")
    assert "the object has been modified" in late.json["message"]
    assert api.put(f"{path}/c", config_map("c", a="4")).json["data"] == {"a": "4"}
    wrong = api.merge(f"{path}/c", {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}})
    assert wrong.status == 409
    uid = {"preconditions": {"uid": "another"}}
    assert "Precondition failed: UID" in api.delete(f"{path}/c", uid).json["message"]


def test_status_and_spec_are_written_apart(api: LabApi) -> None:
    path = api.namespace("status") + "/pods"
    spec = {"containers": [{"name": "c", "image": "x"}]}
    made = api.create(path, {"metadata": {"name": "p"}, "spec": spec, "status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    patched = api.merge(
        f"{path}/p", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}
    ).json
    assert (patched["metadata"]["labels"], patched["status"]["phase"]) == ({"a": "b"}, "Pending")
    change = {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running", "podIP": "10.0.0.9"}}
    running = api.merge(f"{path}/p/status", change).json
    assert (running["metadata"]["labels"], running["status"]["phase"]) == ({"a": "b"}, "Running")
    assert running["metadata"]["generation"] == 1


def test_pods_may_change_little(api: LabApi) -> None:
    path = api.namespace("immutable") + "/pods"
    api.create(path, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    refused = api.merge(f"{path}/p", {"spec": {"hostNetwork": True}})
    assert refused.status == 422
    assert "pod updates may not change fields other than" in refused.json["message"]
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "y"}]
    changed = api.request("PATCH", f"{path}/p", image, media="application/json-patch+json")
    assert changed.json["spec"]["containers"][0]["image"] == "y"
    assert changed.json["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("media", "patch", "ports"),
    [
        ("application/merge-patch+json", {"spec": {"ports": [{"port": 2}]}}, [2]),
        ("application/strategic-merge-patch+json", {"spec": {"ports": [{"port": 2, "name": "b"}]}}, [2, 1]),
        (
            "application/strategic-merge-patch+json",
            {"spec": {"ports": [{"port": 1, "$patch": "delete"}, {"port": 3, "name": "c"}]}},
            [3],
        ),
        ("application/json-patch+json", [{"op": "replace", "path": "/spec/ports/0/port", "value": 9}], [9]),
    ],
)
def test_patches(api: LabApi, media: str, patch: Any, ports: list[int]) -> None:
    path = api.namespace(f"patches-{abs(hash(str(patch)))}") + "/services"
    api.create(path, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1, "name": "a"}]}})
    answer = api.request("PATCH", f"{path}/s", patch, media=media)
    assert answer.status == 200, answer.raw
    assert sorted(port["port"] for port in answer.json["spec"]["ports"]) == sorted(ports)


@pytest.mark.parametrize(
    ("media", "patch", "status"),
    [
        ("application/merge-patch+json", b"[1", 400),
        ("application/merge-patch+json", b"[]", 400),
        ("application/json-patch+json", b'[{"op":"remove","path":"/nowhere"}]', 422),
        ("application/json-patch+json", b'[{"op":"fly"}]', 400),
        ("application/merge-patch+json", b'{"metadata":{"name":"other"}}', 400),
        ("application/merge-patch+json", b'{"metadata":[]}', 400),
        ("application/merge-patch+json", b'{"data":{"a":5}}', 400),
        ("text/plain", b"{}", 415),
    ],
)
def test_bad_patches(api: LabApi, media: str, patch: bytes, status: int) -> None:
    api.post("/api/v1/namespaces/default/configmaps", config_map("patched", a="b"))
    answer = api.request("PATCH", "/api/v1/namespaces/default/configmaps/patched", patch, media=media)
    assert answer.status == status, answer.raw
    assert answer.json["kind"] == "Status"


def test_dry_run_changes_nothing(api: LabApi) -> None:
    path = api.namespace("dry") + "/configmaps"
    answer = api.post(f"{path}?dryRun=All", config_map("c", a="1"))
    assert (answer.status, answer.json["data"]) == (201, {"a": "1"})
    assert api.get(f"{path}/c").status == 404
    api.create(path, config_map("c", a="1"))
    assert api.merge(f"{path}/c?dryRun=All", {"data": {"a": "2"}}).json["data"] == {"a": "2"}
    assert api.delete(f"{path}/c?dryRun=All").status == 200
    assert api.get(f"{path}/c").json["data"] == {"a": "1"}


def test_immutable_fields(api: LabApi) -> None:
    path = api.namespace("fixed")
    api.create(f"{path}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}, "immutable": True})
    assert api.get(f"{path}/secrets/s").json["data"] == {"a": "Yg=="}
    assert api.merge(f"{path}/secrets/s", {"stringData": {"a": "c"}}).status == 422
    assert "field is immutable" in api.merge(f"{path}/secrets/s", {"type": "other"}).json["message"]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/fixed/rolebindings"
    api.create(bindings, {"metadata": {"name": "b"}, "roleRef": role})
    assert "cannot change roleRef" in api.merge(f"{bindings}/b", {"roleRef": {"name": "x"}}).json["message"]


def test_field_and_label_selectors(api: LabApi) -> None:
    path = api.namespace("selected") + "/pods"
    for name, label in (("a", "1"), ("b", "2")):
        spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": f"node-{name}"}
        api.create(path, {"metadata": {"name": name, "labels": {"l": label}}, "spec": spec})

    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.get(f"{path}?{query}").json["items"]]

    assert names("fieldSelector=spec.nodeName%3Dnode-a") == ["a"]
    assert names("fieldSelector=spec.nodeName!%3Dnode-a,status.phase%3DPending") == ["b"]
    assert names("labelSelector=l%20in%20(2,3)") == ["b"]
    assert api.get(f"{path}?fieldSelector=spec.nothing%3D1").status == 400


def test_a_watch_goes_on_where_the_list_ended(api: LabApi) -> None:
    path = api.namespace("watched") + "/configmaps"
    version = api.get(path).json["metadata"]["resourceVersion"]
    api.create(path, config_map("c", a="1"))
    api.merge(f"{path}/c", {"data": {"a": "2"}})
    api.delete(f"{path}/c")
    events = api.watch(f"{path}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dc", 3)
    assert [(kind, obj.get("data")) for kind, obj in events] == [
        ("ADDED", {"a": "1"}),
        ("MODIFIED", {"a": "2"}),
        ("DELETED", {"a": "2"}),
    ]


def test_objects_below_a_missing_namespace(api: LabApi) -> None:
    answer = api.post("/api/v1/namespaces/nowhere/configmaps", config_map("c"))
    assert (answer.status, answer.json["message"]) == (404, 'namespaces "nowhere" not found')
