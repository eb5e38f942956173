"""CustomResourceDefinitions and what they bring: schemas, columns, status, versions, their end."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from apiserver.documents.fielderrors import FieldErrors
from lab.api.custom import columns
from lab.api.custom.schema import apply_defaults, prune
from lab.api.custom.validation import validate
from lab.api.kinds.table import parse_time
from tests.lab.api.process import LabApi, eventually

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def establish(api: LabApi, definition: dict[str, Any]) -> None:
    name = definition["metadata"]["name"]
    assert api.post(DEFINITIONS, definition).status in (201, 409)

    def established() -> bool:
        conditions = api.get(f"{DEFINITIONS}/{name}").json.get("status", {}).get("conditions", [])
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    eventually(established)


def definition(kind: str, schema: dict[str, Any], **version: Any) -> dict[str, Any]:
    plural = kind.lower() + "s"
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


# --- Antrea's definitions (recorded answers: tests/openapi) ---


@pytest.fixture(scope="module")
def antrea(api: LabApi) -> LabApi:
    for plural in ("antreaagentinfos", "antreacontrollerinfos"):
        establish(api, yaml.safe_load((ROOT / f"openapi/crds/{plural}.yaml").read_text()))
    return api


def test_columns_of_controller_info(antrea: LabApi) -> None:
    path = "/apis/crd.antrea.io/v1beta1/antreacontrollerinfos"
    body = {
        "metadata": {"name": "antrea-controller"},
        "version": "v2.7.0",
        "controllerConditions": [
            {"type": "ControllerHealthy", "status": "True", "lastHeartbeatTime": "2001-01-01T00:00:00Z"}
        ],
        "connectedAgentNum": 4,
        "nodeRef": {"kind": "Node", "name": "node-1"},
        "networkPolicyControllerInfo": {"networkPolicyNum": 9},
    }
    antrea.create(path, body)
    table = antrea.get(path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}).json
    assert [(c["name"], c["type"], c["priority"]) for c in table["columnDefinitions"]] == [
        ("Name", "string", 0),
        ("Healthy", "string", 0),
        ("Last Heartbeat", "date", 0),
        ("Version", "string", 1),
        ("Connected Agents", "integer", 1),
        ("Node", "string", 1),
        ("Num Network Policies", "integer", 2),
    ]
    cells = table["rows"][0]["cells"]
    assert cells[:2] + cells[3:] == ["antrea-controller", "True", "v2.7.0", 4, "node-1", 9]
    assert cells[2].endswith("y") or "y" in cells[2]


# --- life of a definition ---


def test_a_definition_lives_and_ends_with_its_objects(api: LabApi) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    establish(api, definition("Living", schema))
    api.namespace("living")
    path = "/apis/example.com/v1/namespaces/living/livings"
    api.create(path, {"metadata": {"name": "a"}, "spec": {"n": 1}})
    found = {entry["name"] for entry in api.get("/apis/example.com/v1").json["resources"]}
    assert "livings" in found
    held = api.create(path, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    assert held["kind"] == "Living"

    api.delete(f"{DEFINITIONS}/livings.example.com")
    eventually(lambda: api.get(f"{path}/a").status == 404)
    assert api.get(f"{DEFINITIONS}/livings.example.com").status == 200
    api.merge(f"{path}/held", {"metadata": {"finalizers": None}})
    eventually(lambda: api.get(f"{DEFINITIONS}/livings.example.com").status == 404)
    assert api.get(path).status == 404


def test_status_is_a_subresource_where_it_is_declared(api: LabApi) -> None:
    parts = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": parts, "status": parts}}
    establish(api, definition("Split", schema, subresources={"status": {}}))
    path = "/apis/example.com/v1/namespaces/default/splits"
    made = api.create(path, {"metadata": {"name": "s"}, "spec": {"a": 1}, "status": {"b": 1}})
    assert "status" not in made
    assert api.merge(f"{path}/s", {"status": {"b": 2}}).json["metadata"]["generation"] == 1
    written = api.merge(f"{path}/s/status", {"spec": {"a": 5}, "status": {"b": 3}}).json
    assert (written["spec"], written["status"], written["metadata"]["generation"]) == ({"a": 1}, {"b": 3}, 1)
    assert api.merge(f"{path}/s", {"spec": {"a": 2}}).json["metadata"]["generation"] == 2


def test_updates_of_custom_resources_name_their_version(api: LabApi) -> None:
    establish(api, definition("Strict", {"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
    path = "/apis/example.com/v1/namespaces/default/stricts"
    made = api.create(path, {"metadata": {"name": "s"}})
    body = {"metadata": {"name": "s"}, "a": 1}
    refused = api.put(f"{path}/s", body)
    assert refused.status == 422
    assert (
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        in refused.json["message"]
    )
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert api.put(f"{path}/s", body).status == 200
    patch = api.request("PATCH", f"{path}/s", {}, media="application/strategic-merge-patch+json")
    assert patch.status == 415
    assert patch.json["message"].endswith(
        "accepted media types include: application/json-patch+json, application/merge-patch+json, "
        "application/apply-patch+yaml"
    )


def test_two_versions_share_their_objects(api: LabApi) -> None:
    body = definition("Twin", {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    body["spec"]["versions"].append({**body["spec"]["versions"][0], "name": "v1beta1", "storage": False})
    establish(api, body)
    api.create("/apis/example.com/v1beta1/namespaces/default/twins", {"metadata": {"name": "t"}, "a": 1})
    seen = api.get("/apis/example.com/v1/namespaces/default/twins/t").json
    assert (seen["apiVersion"], seen["a"]) == ("example.com/v1", 1)


def test_a_name_that_is_taken(api: LabApi) -> None:
    first = definition("Taken", {"type": "object"})
    establish(api, first)
    second = definition("Other", {"type": "object"})
    second["spec"]["names"]["kind"] = "Taken"
    api.create(DEFINITIONS, second)

    def refused() -> Any:
        conditions = api.get(f"{DEFINITIONS}/others.example.com").json["status"]["conditions"]
        return {c["type"]: (c["status"], c["reason"]) for c in conditions}

    wanted = {"NamesAccepted": ("False", "NameConflict"), "Established": ("False", "NotAccepted")}
    eventually(lambda: refused() == wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"group": "nodots"},
            'spec.group: Invalid value: "nodots": should be a domain with at least one dot',
        ),
        ({"scope": "Galaxy"}, 'spec.scope: Unsupported value: "Galaxy"'),
        ({"versions": []}, "must have exactly one version marked as storage version"),
        ({"names": {"plural": "wrong", "kind": "Bads"}}, 'must be spec.names.plural+"."+spec.group'),
    ],
)
def test_bad_definitions(api: LabApi, change: dict[str, Any], message: str) -> None:
    body = definition("Bad", {"type": "object"})
    body["spec"] |= change
    answer = api.post(DEFINITIONS, body)
    assert answer.status == 422
    assert message in answer.json["message"]


# --- schemas ---

WORDS = "x in body "
VALIDATION: list[tuple[dict[str, Any], Any, list[str]]] = [
    ({"type": "string"}, 1, [f'x: Invalid value: "integer": {WORDS}must be of type string: "integer"']),
    ({"type": "integer"}, 1.5, [f'x: Invalid value: "number": {WORDS}must be of type integer: "number"']),
    ({"type": "number"}, 1, []),
    ({"type": "boolean"}, "true", [f'x: Invalid value: "string": {WORDS}must be of type boolean: "string"']),
    ({"type": "string", "nullable": True}, None, []),
    ({"type": "string"}, None, [f'x: Invalid value: "null": {WORDS}must be of type string: "null"']),
    ({"x-kubernetes-int-or-string": True}, "80%", []),
    ({"type": "string", "enum": ["a", "b"]}, "c", ['x: Unsupported value: "c": supported values: "a", "b"']),
    ({"type": "string", "pattern": "^a$"}, "b", [f"x: Invalid value: \"b\": {WORDS}should match '^a$'"]),
    ({"type": "string", "maxLength": 2}, "abc", ["x: Too long: may not be more than 2 bytes"]),
    (
        {"type": "string", "minLength": 2},
        "a",
        [f'x: Invalid value: "a": {WORDS}should be at least 2 chars long'],
    ),
    (
        {"type": "string", "minLength": 2, "pattern": "^a+$"},
        "b",
        [f'x: Invalid value: "b": {WORDS}should be at least 2 chars long'],
    ),
    ({"type": "string", "format": "duration"}, "1h30m", []),
    ({"type": "string", "format": "duration"}, "2 days", []),
    (
        {"type": "string", "format": "duration"},
        "yesterday",
        [f'x: Invalid value: "yesterday": {WORDS}must be of type duration: "yesterday"'],
    ),
    (
        {"type": "string", "format": "ipv4"},
        "::1",
        [f'x: Invalid value: "::1": {WORDS}must be of type ipv4: "::1"'],
    ),
    (
        {"type": "integer", "minimum": 1},
        0,
        [f"x: Invalid value: 0: {WORDS}should be greater than or equal to 1"],
    ),
    (
        {"type": "integer", "maximum": 9},
        10,
        [f"x: Invalid value: 10: {WORDS}should be less than or equal to 9"],
    ),
    (
        {"type": "array", "maxItems": 1, "items": {"type": "string"}},
        ["a", "b"],
        ["x: Too many: 2: must have at most 1 item"],
    ),
    (
        {"type": "array", "items": {"type": "string"}},
        ["a", 1],
        ['x[1]: Invalid value: "integer": x[1] in body must be of type string: "integer"'],
    ),
    (
        {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        ["a", "a"],
        ['x[1]: Duplicate value: "a"'],
    ),
    ({"type": "object", "required": ["a"]}, {}, ["x.a: Required value"]),
    (
        {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
        "",
        [
            '<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found none valid',
            f'x: Invalid value: "": {WORDS}must be of type ipv4: ""',
        ],
    ),
    (
        {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {},
        ['<nil>: Invalid value: "": "x" must validate at least one schema (anyOf)', "x.a: Required value"],
    ),
    (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"k": "v"},
        ['x.k: Invalid value: "string": x.k in body must be of type integer: "string"'],
    ),
]


@pytest.mark.parametrize(("schema", "value", "expected"), VALIDATION)
def test_values_against_schemas(schema: dict[str, Any], value: Any, expected: list[str]) -> None:
    errors = FieldErrors()
    validate(schema, value, "x", errors)
    assert [str(error) for error in errors] == expected


def test_pruning_and_defaulting() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "list": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}},
                    },
                    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                    "deep": {
                        "type": "object",
                        "default": {},
                        "properties": {"b": {"type": "integer", "default": 2}},
                    },
                },
            }
        },
    }
    value = {
        "spec": {"list": [{"z": 1}, {"a": "y"}], "open": {"any": 1}, "map": {"k": "v"}, "extra": 1},
        "top": 1,
    }
    assert prune(schema, value) == ["spec.list[0].z", "spec.extra", "top"]
    apply_defaults(schema, value)
    assert value == {
        "spec": {"list": [{"a": "x"}, {"a": "y"}], "open": {"any": 1}, "map": {"k": "v"}, "deep": {"b": 2}}
    }


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        (".spec.list[0].n", ["x"]),
        (".spec.list[*].n", ["x", "y"]),
        ('.spec.list[?(@.n=="y")].v', [2]),
        (".spec.list[?(@.n=='y')].v", [2]),
        (".spec.none.deeper", []),
        (".metadata.labels.a\\.b/c", ["l"]),
        (".metadata['name']", ["m"]),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    obj = {
        "metadata": {"name": "m", "labels": {"a.b/c": "l"}},
        "spec": {"a": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]},
    }
    assert columns.find(path, obj) == found


def test_a_path_that_is_not_understood() -> None:
    with pytest.raises(columns.PathError):
        columns.parse(".spec..deep")


def test_cells() -> None:
    now = parse_time("2026-01-02T00:00:00Z")
    assert now is not None
    given = [
        ("date", "2026-01-01T00:00:00Z"),
        ("date", "x"),
        ("integer", 2.0),
        ("integer", "2"),
        ("string", None),
        ("string", 60),
        ("string", {"namespace": "n", "name": "p"}),
    ]
    cells = [columns.cell(kind, [value], now) for kind, value in given]
    assert cells == ["24h", "<invalid>", 2, None, None, "60", '{"name":"p","namespace":"n"}']
