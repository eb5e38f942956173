"""Patterns and CEL rules of definitions: what they refuse, in which words, and that none holds the API."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

import pytest

from apiserver.documents.fielderrors import FieldErrors
from lab.api.custom import patterns, rules
from lab.api.custom.expressions import ENGINE
from lab.api.custom.validation import validate
from tests.lab.api.process import LabApi
from tests.lab.api.test_custom_resources import DEFINITIONS, definition, establish

POD = "has(self.source.pod) || has(self.destination.pod)"
ONE = "At least one of source.pod or destination.pod must be specified."
END = {
    "type": "object",
    "properties": {"pod": {"type": "object"}, "ip": {"type": "string"}},
    "x-kubernetes-validations": [
        {"rule": "!(has(self.pod) && has(self.ip))", "message": "At most one of 'pod' or 'ip' may be set"}
    ],
}
CAPTURE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["number"],
            "properties": {
                "source": END,
                "destination": END,
                "number": {"type": "integer"},
                "gateway": {
                    "type": "string",
                    "x-kubernetes-validations": [
                        {"rule": "self == oldSelf", "message": "gateway is immutable"}
                    ],
                },
                "bridges": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"bridgeName": {"type": "string"}}},
                    "x-kubernetes-validations": [
                        {
                            "rule": "oldSelf.all(o, self.exists(s, s.bridgeName == o.bridgeName))",
                            "message": "bridgeName is immutable",
                        }
                    ],
                },
            },
            "x-kubernetes-validations": [{"rule": POD, "message": ONE}],
        }
    },
}


def told(schema: dict[str, Any], value: Any, old: Any = None) -> list[str]:
    errors = FieldErrors()
    rules.validate(schema, value, old, errors)
    return [str(error) for error in errors]


@pytest.fixture(scope="module")
def captures(api: LabApi) -> LabApi:
    establish(api, definition("Capture", CAPTURE))
    api.namespace("captures")
    return api


PATH = "/apis/example.com/v1/namespaces/captures/captures"
GIVEN: list[tuple[dict[str, Any], list[str]]] = [
    ({"source": {"pod": {}}, "number": 1}, []),
    ({"number": 1}, [f'spec: Invalid value: "object": no such key: source evaluating rule: {ONE}']),
    ({"source": {"ip": "a"}, "destination": {}, "number": 1}, [f'spec: Invalid value: "object": {ONE}']),
    (
        {"source": {"pod": {}, "ip": "a"}, "number": 1},
        ["spec.source: Invalid value: \"object\": At most one of 'pod' or 'ip' may be set"],
    ),
    (
        {"source": {"pod": {}}},
        [
            "spec.number: Required value",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was "
            "invalid; correct the existing errors to complete validation",
        ],
    ),
]


@pytest.mark.parametrize(("spec", "refused"), GIVEN)
def test_rules_speak_as_kube_apiserver_does(
    captures: LabApi, spec: dict[str, Any], refused: list[str]
) -> None:
    answer = captures.post(PATH, {"metadata": {"name": "given"}, "spec": spec})
    if not refused:
        assert answer.status == 201
        captures.delete(f"{PATH}/given")
        return
    assert answer.status == 422
    causes = [f"{cause['field']}: {cause['message']}" for cause in answer.json["details"]["causes"]]
    assert causes == refused


def test_rules_about_the_old_value(captures: LabApi) -> None:
    spec = {"source": {"pod": {}}, "number": 1, "gateway": "10.0.0.1", "bridges": [{"bridgeName": "a"}]}
    captures.create(PATH, {"metadata": {"name": "st"}, "spec": spec})
    one = f"{PATH}/st"
    answer = captures.merge(one, {"spec": {"gateway": "10.0.0.2"}})
    assert answer.status == 422
    assert answer.json["message"] == (
        'Capture.example.com "st" is invalid: spec.gateway: Invalid value: "string": gateway is immutable'
    )
    answer = captures.merge(one, {"spec": {"bridges": [{"bridgeName": "b"}]}})
    assert "bridgeName is immutable" in answer.json["message"]
    assert (
        captures.merge(one, {"spec": {"bridges": [{"bridgeName": "b"}, {"bridgeName": "a"}]}}).status == 200
    )
    assert captures.merge(one, {"spec": {"gateway": None}}).status == 200  # gone: nothing to compare
    assert captures.merge(one, {"metadata": {"labels": {"a": "b"}}}).status == 200


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "number"}, 2, "self > 1.5 && self < 2.5"),
        (
            {"type": "string"},
            "a,b",
            "self.split(',').size() == 2 && self.matches('^a') && self.contains(',')",
        ),
        ({"type": "integer"}, 3, "self in [1, 2, 3] && self % 2 == 1"),
        (
            {"type": "object", "properties": {"a-b": {"type": "string"}, "namespace": {"type": "string"}}},
            {"a-b": "x", "namespace": "n"},
            "self.a__dash__b == 'x' && self.__namespace__ == 'n'",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"k": 1, "l/m": 2},
            "self.all(key, self[key] > 0) && 'l/m' in self",
        ),
        ({"type": "array", "items": {"type": "integer"}}, [1, 2], "self.map(x, x * 2).exists_one(x, x == 4)"),
        ({"type": "string"}, "1h", "duration(self) < duration('2h')"),
    ],
)
def test_expressions(schema: dict[str, Any], value: Any, expected: str) -> None:
    assert told({**schema, rules.KEY: [{"rule": expected}]}, value) == []
    refused = told({**schema, rules.KEY: [{"rule": f"!({expected})"}]}, value)
    assert refused == [f'<nil>: Invalid value: "{schema["type"]}": failed rule: !({expected})']


def test_reasons_paths_and_computed_messages() -> None:
    rule = {"rule": "self < 3", "messageExpression": "'not ' + string(self)", "message": "small ones"}
    schema = {"type": "object", "properties": {"n": {"type": "integer", rules.KEY: [rule]}}}
    assert told(schema, {"n": 4}) == ['n: Invalid value: "integer": not 4']
    rule["reason"] = "FieldValueForbidden"
    assert told(schema, {"n": 4}) == ["n: Forbidden: not 4"]
    whole = {"type": "object", rules.KEY: [{"rule": "has(self.n)", "fieldPath": ".n", "message": "needed"}]}
    assert told(whole, {}) == ['n: Invalid value: "object": needed']


def test_items_of_keyed_lists_have_an_old_value_and_others_have_none() -> None:
    items = {
        "type": "object",
        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        rules.KEY: [{"rule": "self.v >= oldSelf.v", "message": "grows"}],
    }
    keyed = {
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    }
    old = [{"k": "a", "v": 5}, {"k": "b", "v": 1}]
    new = [{"k": "b", "v": 2}, {"k": "a", "v": 4}, {"k": "c", "v": 0}]
    assert told(keyed, new, old) == ['[1]: Invalid value: "object": grows']
    assert told({"type": "array", "items": items}, new, old) == []


# --- definitions ---


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            {"type": "string", "pattern": "(?=a)"},
            "must be a valid regular expression, but isn't: error parsing",
        ),
        ({"type": "string", "pattern": "(a{1000}){1000}"}, "must be a valid regular expression, but isn't"),
        ({"type": "string", rules.KEY: [{"rule": "self +"}]}, "compilation failed: "),
        ({"type": "string", rules.KEY: [{"rule": "nobody(self)"}]}, "undeclared reference to 'nobody'"),
        ({"type": "string", rules.KEY: [{"rule": ""}]}, "rule is not specified"),
        ({"type": "string", rules.KEY: [{"rule": "true", "reason": "Odd"}]}, 'Unsupported value: "Odd"'),
    ],
)
def test_definitions_with_what_cannot_be_read_are_refused(
    api: LabApi, part: dict[str, Any], words: str
) -> None:
    schema = {"type": "object", "properties": {"a": part}}
    answer = api.post(DEFINITIONS, definition("Unreadable", schema))
    assert answer.status == 422
    assert words in answer.json["message"]


# --- nothing holds the process ---


def test_a_pattern_takes_linear_time() -> None:
    began = time.monotonic()
    assert not patterns.matches("^(a+)+$", "a" * 100_000 + "!")
    assert patterns.matches("(a|aa)+$", "a" * 100_000)
    for format_ in ("duration", "email", "hostname", "uri", "cidr", "date-time", "mac"):
        validate({"type": "string", "format": format_}, "1" * 100_000, "x", FieldErrors())
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "rule",
    [
        "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d >= 0))))",
        f"['{'a' * 4000}']" + ".map(x, x + x)" * 24 + "[0].size() > 0",
        "self.map(a, self).all(b, b == self + self || b == self)",
    ],
    ids=["iterations", "memory", "time"],
)
def test_an_expensive_rule_is_refused_and_the_next_one_is_answered(rule: str) -> None:
    schema = {"type": "array", "items": {"type": "integer"}, rules.KEY: [{"rule": rule}]}
    refused = told(schema, list(range(9000)))
    assert len(refused) == 1
    assert "budget" in refused[0] or "cost limit" in refused[0]
    assert ENGINE.compile(["self == 1"]) == [None]


def test_the_api_answers_while_a_rule_runs_out_of_its_time(api: LabApi) -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    slow = {
        "type": "object",
        "properties": {"n": numbers, "m": numbers},
        rules.KEY: [{"rule": "self.n.all(a, !(a in self.m))"}],
    }
    establish(api, definition("Slow", slow))
    path = f"{api.namespace('slow')}/".replace("/api/v1/", "/apis/example.com/v1/") + "slows"
    body = {"metadata": {"name": "x"}, "n": list(range(9000)), "m": list(range(-200_000, 0))}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(api.post, path, body)
        waits = []
        while not writing.done():
            began = time.monotonic()
            assert api.get("/livez").status == 200
            waits.append(time.monotonic() - began)
        answer = writing.result()
    assert answer.status == 422
    assert "running out of cost budget" in answer.json["message"]
    assert max(waits) < 0.9  # generous: the rule alone takes its whole second
    assert api.post(path, {**body, "n": [1], "m": []}).status == 201
