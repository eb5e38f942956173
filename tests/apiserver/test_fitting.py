# ruff: noqa: E501 -- a table
"""Objects that do not fit their kind's schema: what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from apis.schemas import definition_name, definitions
from apiserver.fitting import Fitting, Misfit

API = "controlplane.antrea.io/v1beta2"
FITS: dict[str, Any] = {
    "metadata": {"name": "x", "labels": {"a": "b"}, "generation": 1},
    "rules": [{"direction": "In", "services": [{"port": 80}, {"port": "http"}], "priority": -1}],
    "priority": 1.5,
}


def check(document: dict[str, Any]) -> list[str]:
    fitting = Fitting(definitions())
    fitting.check(definition_name(API, "NetworkPolicy"), document)
    return fitting.unknown


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({}, []),
        ({"kind": "NetworkPolicy", "apiVersion": API, "rules": None}, []),
        ({"colour": "red"}, ["colour"]),
        ({"metadata": {"name": "x", "colour": "red"}}, ["metadata.colour"]),
        ({"rules": [{}, {"from": {"colour": {}}}]}, ["rules[1].from.colour"]),
        ({f"c{n}": n for n in range(200)}, [f"c{n}" for n in range(100)]),
    ],
)
def test_unknown_fields_are_named(change: dict[str, Any], unknown: list[str]) -> None:
    assert check({**FITS, **change}) == unknown


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rules": "x"}, "string into Go struct field NetworkPolicy.rules of type []v1beta2.NetworkPolicyRule"),
        ({"rules": [5]}, "number into Go struct field NetworkPolicy.rules of type v1beta2.NetworkPolicyRule"),
        ({"rules": [{"priority": "x"}]}, "string into Go struct field NetworkPolicyRule.rules.priority of type int32"),
        ({"rules": [{"priority": 2**31}]}, "number 2147483648 into Go struct field NetworkPolicyRule.rules.priority of type int32"),
        ({"rules": [{"priority": 1.5}]}, "number 1.5 into Go struct field NetworkPolicyRule.rules.priority of type int32"),
        ({"rules": [{"enableLogging": 1}]}, "number into Go struct field NetworkPolicyRule.rules.enableLogging of type bool"),
        ({"rules": [{"services": [{"port": []}]}]}, "array into Go struct field Service.rules.services.port of type int32"),
        ({"priority": "x"}, "string into Go struct field NetworkPolicy.priority of type float64"),
        ({"metadata": {"name": 5}}, "number into Go struct field ObjectMeta.metadata.name of type string"),
        ({"metadata": {"labels": {"a": 5}}}, "number into Go struct field ObjectMeta.metadata.labels of type string"),
        ({"appliedToGroups": [True]}, "bool into Go struct field NetworkPolicy.appliedToGroups of type string"),
    ],
)  # fmt: skip
def test_wrong_types_are_told_in_gos_words(change: dict[str, Any], what: str) -> None:
    with pytest.raises(Misfit) as refused:
        check({**FITS, **change})
    assert str(refused.value) == f"json: cannot unmarshal {what}"
