"""NetworkPolicies are refused and completed as kube-apiserver does it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.schema import DecodeError
from lab.api.kinds.networkpolicies import NetworkPolicies
from tests.lab.api.process import LabApi

PATH = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
PORT = "must be between 1 and 65535, inclusive"
SUBSET = "must be a strict subset of `cidr`"
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, "
    "'-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def ingress(**rule: Any) -> dict[str, Any]:
    return {"podSelector": {}, "ingress": [rule]}


def egress(**rule: Any) -> dict[str, Any]:
    return {"podSelector": {}, "egress": [rule]}


def block(cidr: str, *excepted: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(excepted)}}


# spec, what is wrong with it (nothing: it is valid)
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("empty", {"podSelector": {}}, []),
    ("port 0", ingress(ports=[{"port": 0}]), [f"spec.ingress[0].ports[0].port: Invalid value: 0: {PORT}"]),
    (
        "port 65536",
        egress(ports=[{"port": 65536}]),
        [f"spec.egress[0].ports[0].port: Invalid value: 65536: {PORT}"],
    ),
    ("ports 1 and 65535", ingress(ports=[{"port": 1}, {"port": 65535}]), []),
    (
        "protocol",
        ingress(ports=[{"protocol": "ICMP"}]),
        [
            'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: '
            '"TCP", "UDP", "SCTP"'
        ],
    ),
    (
        "endPort below port",
        ingress(ports=[{"port": 80, "endPort": 79}]),
        ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
    ),
    ("endPort equal to port", ingress(ports=[{"port": 80, "endPort": 80}]), []),
    (
        "endPort too high",
        ingress(ports=[{"port": 80, "endPort": 70000}]),
        [f"spec.ingress[0].ports[0].endPort: Invalid value: 70000: {PORT}"],
    ),
    (
        "endPort without port",
        ingress(ports=[{"endPort": 80}]),
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
            "`port` is not specified"
        ],
    ),
    (
        "endPort with a named port",
        ingress(ports=[{"port": "http", "endPort": 80}]),
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
            "`port` is non-numeric"
        ],
    ),
    (
        "port name too long",
        ingress(ports=[{"port": "a-name-that-is-long"}]),
        [
            'spec.ingress[0].ports[0].port: Invalid value: "a-name-that-is-long": must be no '
            "more than 15 characters"
        ],
    ),
    (
        "port name without a letter",
        ingress(ports=[{"port": "80"}]),
        ['spec.ingress[0].ports[0].port: Invalid value: "80": must contain at least one letter (a-z)'],
    ),
    (
        "empty peer",
        ingress(**{"from": [{}]}),
        ["spec.ingress[0].from[0]: Required value: must specify a peer"],
    ),
    (
        "ipBlock and selector",
        egress(to=[{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]),
        ["spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"],
    ),
    ("both selectors", ingress(**{"from": [{"podSelector": {}, "namespaceSelector": {}}]}), []),
    (
        "no CIDR",
        ingress(**{"from": [{"ipBlock": {}}]}),
        ["spec.ingress[0].from[0].ipBlock.cidr: Required value"],
    ),
    (
        "an address is no CIDR",
        ingress(**{"from": [block("10.0.0.1")]}),
        [f'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": {CIDR}'],
    ),
    (
        "prefix too long",
        ingress(**{"from": [block("10.0.0.0/33")]}),
        [f'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0/33": {CIDR}'],
    ),
    ("IPv6", ingress(**{"from": [block("2001:db8::/32", "2001:db8:1::/48")]}), []),
    (
        "except outside",
        ingress(**{"from": [block("10.0.0.0/8", "11.0.0.0/16")]}),
        [f'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": {SUBSET}'],
    ),
    (
        "except equal",
        ingress(**{"from": [block("10.0.0.0/8", "10.0.0.0/8")]}),
        [f'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": {SUBSET}'],
    ),
    (
        "except of the other family",
        ingress(**{"from": [block("10.0.0.0/8", "2001:db8::/48")]}),
        [f'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "2001:db8::/48": {SUBSET}'],
    ),
    (
        "except is no CIDR",
        ingress(**{"from": [block("10.0.0.0/8", "x")]}),
        [f'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "x": {CIDR}'],
    ),
    ("host bits are accepted", ingress(**{"from": [block("10.1.2.3/8", "10.1.2.3/16")]}), []),
    ("leading zeros are accepted", ingress(**{"from": [block("010.0.0.0/8")]}), []),
    (
        "policyTypes",
        {"podSelector": {}, "policyTypes": ["Ingress", "Both"]},
        ['spec.policyTypes[1]: Unsupported value: "Both": supported values: "Ingress", "Egress"'],
    ),
    (
        "three policyTypes",
        {"podSelector": {}, "policyTypes": ["Ingress", "Egress", "Ingress"]},
        [
            'spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: '
            "may not specify more than two policyTypes"
        ],
    ),
    (
        "operator",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Equals", "values": ["b"]}]}},
        [
            'spec.podSelector.matchExpressions[0].operator: Invalid value: "Equals": '
            "not a valid selector operator"
        ],
    ),
    (
        "In without values",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        [
            "spec.podSelector.matchExpressions[0].values: Required value: "
            "must be specified when `operator` is 'In' or 'NotIn'"
        ],
    ),
    (
        "Exists with values",
        ingress(
            **{
                "from": [
                    {
                        "namespaceSelector": {
                            "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
                        }
                    }
                ]
            }
        ),
        [
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values: Forbidden: "
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        ],
    ),
    (
        "label value",
        {"podSelector": {"matchLabels": {"a": "b c"}}},
        [f'spec.podSelector.matchLabels: Invalid value: "b c": {VALUE}'],
    ),
    (
        "value of an expression",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["ok", "b c"]}]}},
        [f'spec.podSelector.matchExpressions[0].values[1]: Invalid value: "b c": {VALUE}'],
    ),
]


def validated(spec: dict[str, Any]) -> list[str]:
    kind, errors = NetworkPolicies(), FieldErrors()
    policy, unknown = kind.decode({"metadata": {"name": "p"}, "spec": copy.deepcopy(spec)})
    assert not unknown
    kind.default(policy)
    kind.validate(policy, errors)
    return [str(error) for error in errors]


@pytest.mark.parametrize(("name", "spec", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_is_wrong_with_a_spec(name: str, spec: dict[str, Any], expected: list[str]) -> None:
    assert validated(spec) == expected


# spec as written, spec as stored
DEFAULTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
    (
        {"podSelector": {}, "egress": [{}]},
        {"podSelector": {}, "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    ),
    (
        {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}], "policyTypes": ["Egress"]},
        {
            "podSelector": {},
            "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
            "policyTypes": ["Egress"],
        },
    ),
    # empty lists and maps vanish, as they do in a cluster: they mean the same as absent
    (
        {"podSelector": {"matchLabels": {}}, "ingress": []},
        {"podSelector": {}, "policyTypes": ["Ingress"]},
    ),
    (
        {"podSelector": {}, "ingress": [{"from": [], "ports": None}]},
        {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]},
    ),
]


@pytest.mark.parametrize(("written", "stored"), DEFAULTS)
def test_what_is_left_out_is_filled_in(written: dict[str, Any], stored: dict[str, Any]) -> None:
    policy, _ = NetworkPolicies().decode({"metadata": {"name": "p"}, "spec": written})
    NetworkPolicies().default(policy)
    assert policy["spec"] == stored


# spec, the decoder's sentence
MALFORMED: list[tuple[dict[str, Any], str]] = [
    (
        {"policyTypes": "Ingress"},
        "json: cannot unmarshal string into Go struct field "
        "NetworkPolicySpec.spec.policyTypes of type []string",
    ),
    (
        {"ingress": [{"ports": [{"port": 99999999999}]}]},
        "json: cannot unmarshal number 99999999999 into Go struct field "
        "NetworkPolicyPort.spec.ingress[0].ports[0].port of type int32",
    ),
    (
        {"ingress": [{"ports": [{"port": 80, "endPort": "90"}]}]},
        "json: cannot unmarshal string into Go struct field "
        "NetworkPolicyPort.spec.ingress[0].ports[0].endPort of type int32",
    ),
    (
        {"podSelector": []},
        "json: cannot unmarshal array into Go struct field "
        "NetworkPolicySpec.spec.podSelector of type v1.LabelSelector",
    ),
]


@pytest.mark.parametrize(("spec", "sentence"), MALFORMED)
def test_wrong_types_are_not_decoded(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DecodeError) as raised:
        NetworkPolicies().decode({"metadata": {"name": "p"}, "spec": spec})
    assert str(raised.value) == sentence


def test_the_answer_names_every_wrong_field(api: LabApi) -> None:
    spec = ingress(ports=[{"port": 0}], **{"from": [{}]})
    answer = api.post(PATH, {"metadata": {"name": "bad"}, "spec": spec})
    assert answer.status == 422
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'NetworkPolicy.networking.k8s.io "bad" is invalid: '
        "[spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
        "spec.ingress[0].from[0]: Required value: must specify a peer]",
        "reason": "Invalid",
        "details": {
            "name": "bad",
            "group": "networking.k8s.io",
            "kind": "NetworkPolicy",
            "causes": [
                {
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: 0: must be between 1 and 65535, inclusive",
                    "field": "spec.ingress[0].ports[0].port",
                },
                {
                    "reason": "FieldValueRequired",
                    "message": "Required value: must specify a peer",
                    "field": "spec.ingress[0].from[0]",
                },
            ],
        },
        "code": 422,
    }


@pytest.mark.parametrize(
    ("wish", "status", "text"),
    [
        ("Strict", 400, 'strict decoding error: unknown field "spec.ingress[0].bogus"'),
        ("Warn", 201, 'unknown field "spec.ingress[0].bogus"'),
        ("Ignore", 201, ""),
    ],
)
def test_unknown_fields(api: LabApi, wish: str, status: int, text: str) -> None:
    name = f"unknown-{wish.lower()}"
    body = {"metadata": {"name": name}, "spec": {"podSelector": {}, "ingress": [{"bogus": 1}]}}
    answer = api.post(f"{PATH}?fieldValidation={wish}", body)
    assert answer.status == status
    if status == 400:
        assert answer.json["message"].endswith(text)
        assert answer.json["reason"] == "BadRequest"
    else:
        assert [warning.replace('\\"', '"') for warning in answer.warnings] == (
            [f'299 - "{text}"'] if text else []
        )
        assert answer.json["spec"]["ingress"] == [{}]


def test_an_ambiguous_cidr_is_warned_of(api: LabApi) -> None:
    body = {"metadata": {"name": "ambiguous"}, "spec": ingress(**{"from": [block("10.1.2.3/8")]})}
    answer = api.post(PATH, body)
    assert answer.status == 201
    assert "is ambiguous in this context (should be" in answer.warnings[0]


def test_a_stored_cidr_stays_editable() -> None:
    """A CIDR that was valid once does not keep an object from being changed."""
    kind = NetworkPolicies()
    old: dict[str, Any] = {"metadata": {"name": "p"}, "spec": ingress(**{"from": [block("10.0.0.0/99")]})}
    new = copy.deepcopy(old)
    new["spec"]["ingress"][0]["from"].append(block("10.0.0.0/98"))
    errors = FieldErrors()
    kind.validate_update(new, old, errors)
    assert [error.field for error in errors] == ["spec.ingress[0].from[1].ipBlock.cidr"]
