"""Names of rules are hashes of Go's encoding of the rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apis.gojson import marshal
from controller.admission.policies import naming
from controller.admission.policies.objects import ClusterNetworkPolicySpec, Rule
from tests.controller.admission.replay import recording, webhooks

FOO = {"podSelector": {"matchLabels": {"foo2": "bar2"}}}


@pytest.mark.parametrize(
    ("rule", "encoded"),
    [
        ({"action": "Drop"}, '{"action":"Drop","enableLogging":false}'),
        ({"action": "Drop", "enableLogging": True}, '{"action":"Drop","enableLogging":true}'),
        (
            {"action": "Allow", "to": [FOO]},
            '{"action":"Allow","to":[{"podSelector":{"matchLabels":{"foo2":"bar2"}}}],"enableLogging":false}',
        ),
        # Set is set for pointers, zero or not; numbers, texts and lists without content are left out.
        (
            {
                "action": "Allow",
                "ports": [{"port": 0, "endPort": 0, "protocol": ""}],
                "logLabel": "",
                "to": [],
            },
            '{"action":"Allow","ports":[{"protocol":"","port":0,"endPort":0}],"enableLogging":false}',
        ),
        (
            {"action": "Allow", "protocols": [{"icmp": {"icmpType": 0}}, {"igmp": {"groupAddress": ""}}]},
            '{"action":"Allow","protocols":[{"icmp":{"icmpType":0}},{"igmp":{}}],"enableLogging":false}',
        ),
        # Keys of maps are sorted; the key and operator of an expression are always there.
        (
            {
                "action": "Pass",
                "from": [
                    {
                        "namespaceSelector": {
                            "matchExpressions": [{"operator": "Exists", "key": "k", "values": []}],
                            "matchLabels": {"b": "2", "a": "1"},
                        },
                        "ipBlock": {"except": []},
                    }
                ],
            },
            '{"action":"Pass","from":[{"ipBlock":{"cidr":""},"namespaceSelector":{"matchLabels":'
            '{"a":"1","b":"2"},"matchExpressions":[{"key":"k","operator":"Exists"}]}}],"enableLogging":false}',
        ),
        (
            {"action": "Allow", "logLabel": "ü<&>\u2028\u2029\x7f\t\x01"},
            '{"action":"Allow","enableLogging":false,'
            '"logLabel":"ü\\u003c\\u0026\\u003e\\u2028\\u2029\x7f\\t\\u0001"}',
        ),
    ],
)
def test_a_rule_is_encoded_as_go_does(rule: dict[str, Any], encoded: str) -> None:
    assert marshal(msgspec.convert(rule, Rule)) == encoded


@pytest.mark.parametrize(
    ("direction", "rule", "name"),
    [
        ("egress", {"action": "Allow", "to": [FOO]}, "egress-allow-44b2575"),
        ("ingress", {"action": "Allow", "from": [FOO]}, "ingress-allow-be87b58"),
        ("ingress", {"action": "Drop"}, "ingress-drop-742ade5"),
    ],
)
def test_names_that_antrea_gives(direction: str, rule: dict[str, Any], name: str) -> None:
    assert naming.name(direction, msgspec.convert(rule, Rule)) == name


def test_a_name_changes_with_the_content_and_not_with_the_order_of_keys() -> None:
    def name(**fields: Any) -> str:
        return naming.name("ingress", msgspec.convert({"action": "Allow", **fields}, Rule))

    assert name(logLabel="a", ports=[{"port": 1, "endPort": 2}]) == name(
        ports=[{"endPort": 2, "port": 1}], logLabel="a"
    )
    assert name(ports=[{"port": 1}]) != name(ports=[{"port": "1"}])


def test_only_what_is_missing_is_filled_in() -> None:
    spec = {"tier": "t", "ingress": [{"action": "Drop", "name": "n"}], "egress": [{"action": "Drop"}]}
    assert naming.patch(msgspec.convert(spec, ClusterNetworkPolicySpec)) == [
        {"op": "replace", "path": "/spec/egress/0/name", "value": "egress-drop-742ade5"}
    ]


async def test_a_rule_without_an_action_is_left_to_the_schema() -> None:
    """Upstream's handler ends the connection on it."""
    [case] = [c for c in recording("mutate-policies")["cases"] if c["name"] == "mutate-rule-without-action"]
    async with webhooks({}) as served:
        assert await served.review(case["path"], case["request"]) == {
            "allowed": True,
            "patch": [{"op": "replace", "path": "/spec/tier", "value": "application"}],
        }
