"""Admission webhooks: which writes they see, what they may do, and what is said when they do not answer."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.api.process import LabApi, eventually
from tests.lab.api.test_custom_resources import definition, establish
from tests.lab.api.webhook import WebhookServer, patched

GROUP = "/apis/admissionregistration.k8s.io/v1"
VALIDATING = f"{GROUP}/validatingwebhookconfigurations"
MUTATING = f"{GROUP}/mutatingwebhookconfigurations"
CONFIGMAPS = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}]
ALLOW = {"allowed": True}


@pytest.fixture(scope="module")
def server(api: LabApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookServer]:
    running = WebhookServer(tmp_path_factory.mktemp("hooks"), "hooks.default.svc")
    running.publish(api)
    yield running
    running.stop()


@pytest.fixture
def hooks(api: LabApi, server: WebhookServer) -> Iterator[Hooks]:
    """Configurations of the test's own, for the objects of a namespace of its own."""
    made = Hooks(api, server)
    yield made
    made.remove()


class Hooks:
    count = 0

    def __init__(self, api: LabApi, server: WebhookServer) -> None:
        Hooks.count += 1
        self.api = api
        self.server = server
        self.namespace = f"hooked-{Hooks.count}"
        self.path = api.namespace(self.namespace) + "/configmaps"
        self.made: list[str] = []
        server.asked.clear()
        server.handlers.clear()
        server.delay = 0

    def add(self, where: str, name: str, rules: list[dict[str, Any]] | None = None, **spec: Any) -> None:
        hook = {
            "name": f"{name}.example.com",
            "clientConfig": self.server.config(f"/{name}"),
            "rules": rules or CONFIGMAPS,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            **spec,
        }
        self.api.create(where, {"metadata": {"name": f"{name}-{Hooks.count}"}, "webhooks": [hook]})
        self.made.append(f"{where}/{name}-{Hooks.count}")

    def remove(self) -> None:
        for path in self.made:
            self.api.delete(path)

    def post(self, name: str = "c", **body: Any) -> Any:
        return self.api.post(self.path, {"metadata": {"name": name, **body.pop("metadata", {})}, **body})


def test_a_denial_is_in_kube_apiservers_words(hooks: Hooks) -> None:
    hooks.server.handlers["/deny"] = lambda _: {
        "allowed": False,
        "status": {"message": "no tier foo"},
    }
    hooks.add(VALIDATING, "deny")
    answer = hooks.post()
    assert answer.status == 400
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'admission webhook "deny.example.com" denied the request: no tier foo',
        "code": 400,
    }
    assert hooks.api.get(f"{hooks.path}/c").status == 404

    hooks.server.handlers["/deny"] = lambda _: {
        "allowed": False,
        "status": {"code": 409, "reason": "Conflict"},
    }
    answer = hooks.post()
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"].endswith("denied the request: Conflict")

    hooks.server.handlers["/deny"] = lambda _: {"allowed": False}
    assert hooks.post().json["message"].endswith("denied the request without explanation")


def test_the_question_is_kube_apiservers(hooks: Hooks) -> None:
    hooks.server.handlers["/look"] = lambda _: {**ALLOW, "warnings": ["look out"]}
    hooks.add(VALIDATING, "look")
    assert hooks.post(data={"a": "1"}).warnings == ['299 - "look out"']
    hooks.api.merge(f"{hooks.path}/c?fieldManager=me&dryRun=All", {"data": {"a": "2"}})
    hooks.api.delete(f"{hooks.path}/c", {"gracePeriodSeconds": 0})
    create, update, delete = hooks.server.of("/look?timeout=10s")
    uid = create.pop("uid")
    made = create.pop("object")
    assert create == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "c",
        "namespace": hooks.namespace,
        "operation": "CREATE",
        "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    assert uid != update["uid"]
    assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"a": "1"})
    assert made["metadata"]["uid"]
    assert (update["operation"], update["dryRun"]) == ("UPDATE", True)
    assert (update["object"]["data"], update["oldObject"]["data"]) == ({"a": "2"}, {"a": "1"})
    assert update["options"]["fieldManager"] == "me"
    assert (delete["operation"], delete["object"], delete["oldObject"]["data"]) == (
        "DELETE",
        None,
        {"a": "1"},
    )
    assert delete["options"]["gracePeriodSeconds"] == 0


def test_mutating_hooks_change_what_is_stored_and_later_ones_see_it(hooks: Hooks) -> None:
    def second(request: dict[str, Any]) -> dict[str, Any]:
        return patched({"op": "add", "path": "/data/b", "value": request["object"]["data"]["a"] + "!"})

    hooks.server.handlers["/a-first"] = lambda _: patched({"op": "add", "path": "/data", "value": {"a": "1"}})
    hooks.server.handlers["/b-second"] = second
    hooks.server.handlers["/check"] = lambda _: ALLOW
    hooks.add(MUTATING, "b-second")
    hooks.add(MUTATING, "a-first")
    hooks.add(VALIDATING, "check")
    answer = hooks.post()
    assert answer.status == 201
    assert answer.json["data"] == {"a": "1", "b": "1!"}
    (checked,) = hooks.server.of("/check?timeout=10s")
    assert checked["object"]["data"] == {"a": "1", "b": "1!"}


def test_what_a_mutating_hook_makes_is_validated(hooks: Hooks) -> None:
    hooks.server.handlers["/bad"] = lambda _: patched(
        {"op": "add", "path": "/data", "value": {"no good": "1"}}
    )
    hooks.add(MUTATING, "bad")
    answer = hooks.post()
    assert answer.status == 422
    assert "data[no good]" in answer.json["message"]


def test_a_hook_may_wish_to_be_asked_again(hooks: Hooks) -> None:
    hooks.server.handlers["/a-again"] = lambda _: ALLOW
    hooks.server.handlers["/b-change"] = lambda _: patched(
        {"op": "add", "path": "/data", "value": {"a": "1"}}
    )
    hooks.add(MUTATING, "a-again", reinvocationPolicy="IfNeeded")
    hooks.add(MUTATING, "b-change")
    assert hooks.post().status == 201
    seen = [request["object"].get("data") for request in hooks.server.of("/a-again?timeout=10s")]
    assert seen == [None, {"a": "1"}]
    assert len(hooks.server.of("/b-change?timeout=10s")) == 1


# --- failures ---


def test_a_hook_that_cannot_be_called(hooks: Hooks) -> None:
    nobody = {"service": {"name": "nobody", "namespace": "default", "path": "/validate/tier"}}
    hooks.add(VALIDATING, "gone", clientConfig=nobody, timeoutSeconds=5)
    words = (
        'failed calling webhook "gone.example.com": failed to call webhook: '
        'Post "https://nobody.default.svc:443/validate/tier?timeout=5s": '
    )
    answer = hooks.post()
    assert answer.status == 500
    assert answer.json["message"] == f'Internal error occurred: {words}service "nobody" not found'
    assert answer.json["reason"] == "InternalError"

    services = "/api/v1/namespaces/default/services"
    hooks.api.create(services, {"metadata": {"name": "nobody"}, "spec": {"ports": [{"port": 443}]}})
    assert hooks.post().json["message"].endswith(f'{words}no endpoints available for service "nobody"')
    hooks.api.delete(f"{services}/nobody")
    spec = {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": 443}]}
    hooks.api.create(services, {"metadata": {"name": "nobody"}, "spec": spec})
    assert "dial tcp 127.0.0.1:443: connect: connection refused" in hooks.post().json["message"]
    hooks.api.delete(f"{services}/nobody")

    hooks.api.merge(hooks.made[0], {"webhooks": None})
    assert hooks.post().status == 201


def test_a_failure_is_ignored_where_the_policy_says_so(hooks: Hooks) -> None:
    hooks.add(VALIDATING, "absent", failurePolicy="Ignore")  # the server knows no such path
    assert hooks.post().status == 201
    hooks.add(VALIDATING, "missing")
    assert hooks.post("d").json["message"] == (
        'Internal error occurred: failed calling webhook "missing.example.com": failed to call webhook: '
        "the server could not find the requested resource"
    )


def test_a_hook_that_is_too_slow(hooks: Hooks) -> None:
    hooks.server.handlers["/slow"] = lambda _: ALLOW
    hooks.server.delay = 2
    hooks.add(VALIDATING, "slow", timeoutSeconds=1)
    url = f"https://hooks.default.svc:{hooks.server.port}/slow?timeout=1s"
    assert hooks.post().json["message"].endswith(f'Post "{url}": context deadline exceeded')


def test_a_certificate_of_nobody_we_trust(hooks: Hooks, tmp_path: pathlib.Path) -> None:
    other = WebhookServer(tmp_path, "hooks.default.svc")
    other.stop()
    config = {**hooks.server.config("/tls"), "caBundle": other.bundle}
    hooks.add(VALIDATING, "tls", clientConfig=config)
    assert (
        hooks.post()
        .json["message"]
        .endswith("tls: failed to verify certificate: x509: certificate signed by unknown authority")
    )


@pytest.mark.parametrize(
    ("where", "response", "words"),
    [
        (
            VALIDATING,
            {"allowed": True, "uid": "x"},
            'received invalid webhook response: expected response.uid="',
        ),
        (
            VALIDATING,
            patched({"op": "remove", "path": "/data"}),
            "validating webhook may not return response.patch",
        ),
        (MUTATING, {"allowed": True, "patch": "W10="}, "response.patch but not response.patchType"),
        (MUTATING, {"allowed": True, "patch": "!", "patchType": "JSONPatch"}, "is no JSON patch"),
        (MUTATING, patched({"op": "remove", "path": "/nothing"}), "is missing"),
    ],
)
def test_answers_that_are_none(hooks: Hooks, where: str, response: dict[str, Any], words: str) -> None:
    hooks.server.handlers["/odd"] = lambda _: response
    hooks.add(where, "odd")
    answer = hooks.post()
    assert answer.status == 500
    assert words in answer.json["message"]


# --- which writes ---


def test_selectors_operations_and_conditions(hooks: Hooks) -> None:
    for name in ("labelled", "updates", "elsewhere", "conditional", "status", "cluster"):
        hooks.server.handlers[f"/{name}"] = lambda _: ALLOW
    rule = CONFIGMAPS[0]
    hooks.add(VALIDATING, "labelled", objectSelector={"matchLabels": {"a": "b"}})
    hooks.add(VALIDATING, "updates", [{**rule, "operations": ["UPDATE"]}])
    hooks.add(VALIDATING, "elsewhere", namespaceSelector={"matchLabels": {"no": "where"}})
    hooks.add(
        VALIDATING,
        "conditional",
        matchConditions=[{"name": "named", "expression": "object.metadata.name == 'labelled'"}],
    )
    hooks.add(VALIDATING, "status", [{**rule, "resources": ["configmaps/status", "*/scale"]}])
    hooks.add(VALIDATING, "cluster", [{**rule, "scope": "Cluster"}])
    hooks.post("plain")
    hooks.post("labelled", metadata={"labels": {"a": "b"}})
    hooks.api.merge(f"{hooks.path}/labelled", {"metadata": {"labels": None}})  # the old one has the label
    seen = {
        name: [request["name"] for request in hooks.server.of(f"/{name}?timeout=10s")]
        for name in ("labelled", "updates", "elsewhere", "conditional", "status", "cluster")
    }
    assert seen == {
        "labelled": ["labelled", "labelled"],
        "updates": ["labelled"],
        "elsewhere": [],
        "conditional": ["labelled", "labelled"],
        "status": [],
        "cluster": [],
    }


def test_equivalent_versions_of_custom_resources(hooks: Hooks) -> None:
    body = definition("Likewise", {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    first = body["spec"]["versions"][0]
    body["spec"]["versions"].append({**first, "name": "v2", "storage": False})
    establish(hooks.api, body)
    rule = {
        "apiGroups": ["example.com"],
        "apiVersions": ["v1"],
        "resources": ["likewises"],
        "operations": ["*"],
    }
    for name in ("equivalent", "exact"):
        hooks.server.handlers[f"/{name}"] = lambda _: ALLOW
    hooks.add(VALIDATING, "equivalent", [rule])
    hooks.add(VALIDATING, "exact", [rule], matchPolicy="Exact")
    path = f"/apis/example.com/v2/namespaces/{hooks.namespace}/likewises"
    eventually(lambda: hooks.api.get(path).status == 200)
    hooks.api.create(path, {"metadata": {"name": "t"}})
    (seen,) = hooks.server.of("/equivalent?timeout=10s")
    assert seen["object"]["apiVersion"] == "example.com/v1"
    assert (seen["kind"]["version"], seen["requestKind"]["version"]) == ("v1", "v2")
    assert hooks.server.of("/exact?timeout=10s") == []


def test_namespaces_are_selected_by_their_own_labels(hooks: Hooks) -> None:
    def label(request: dict[str, Any]) -> dict[str, Any]:
        labels = {**request["object"]["metadata"]["labels"], "antrea.io/metadata.name": request["name"]}
        return patched({"op": "replace", "path": "/metadata/labels", "value": labels})

    hooks.server.handlers["/label"] = label
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"], "operations": ["CREATE"]}
    hooks.add(MUTATING, "label", [rule], namespaceSelector={"matchLabels": {"wants": "label"}})
    body = {"metadata": {"name": "wanting", "labels": {"wants": "label"}}}
    made = hooks.api.create("/api/v1/namespaces", body)
    assert made["metadata"]["labels"]["antrea.io/metadata.name"] == "wanting"
    (asked,) = hooks.server.of("/label?timeout=10s")
    assert (asked["name"], asked["namespace"]) == ("wanting", "wanting")
    other = hooks.api.create("/api/v1/namespaces", {"metadata": {"name": "unwanting"}})
    assert "antrea.io/metadata.name" not in other["metadata"]["labels"]


def test_a_write_that_was_outrun_while_it_was_reviewed_is_made_again(hooks: Hooks) -> None:
    hooks.post()
    begun = threading.Event()

    def slowly(request: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        return ALLOW

    hooks.server.handlers["/slowly"] = slowly
    hooks.server.delay = 0.2
    hooks.add(VALIDATING, "slowly", objectSelector={"matchLabels": {"slow": "yes"}})
    answers: list[Any] = []

    def write() -> None:
        patch = {"metadata": {"labels": {"slow": "yes"}}}
        answers.append(hooks.api.merge(f"{hooks.path}/c", patch))

    thread = threading.Thread(target=write)
    thread.start()
    eventually(lambda: hooks.server.of("/slowly?timeout=10s"))
    assert hooks.api.merge(f"{hooks.path}/c", {"data": {"fast": "1"}}).status == 200
    thread.join(10)
    assert answers[0].status == 200
    assert answers[0].json["data"] == {"fast": "1"}
    assert answers[0].json["metadata"]["labels"] == {"slow": "yes"}
    assert len(hooks.server.of("/slowly?timeout=10s")) == 2
