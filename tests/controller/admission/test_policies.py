"""Refusals of policies of which there is no recording; the messages are those of Antrea v2.7."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apiserver.admission import AdmissionRequest, GroupVersionKind, GroupVersionResource, Verdict
from apiserver.auth import ANONYMOUS
from controller.admission.policies.objects import ClusterNetworkPolicySpec
from controller.admission.policies.rules import PolicyRules, warnings

SELECTOR = {"podSelector": {"matchLabels": {"app": "a"}}}
SERVICE = {"service": {"name": "s", "namespace": "ns1"}}
IGMP = {"igmp": {"igmpType": 17}}


def rule(**fields: Any) -> dict[str, Any]:
    return {"action": "Allow", "name": "r1", **fields}


def spec(**fields: Any) -> dict[str, Any]:
    """A policy that is applied to some Pods, unless the fields say otherwise."""
    given = {"priority": 5, "appliedTo": [SELECTOR], **fields}
    return {key: value for key, value in given.items() if value is not None}


def ingress(**fields: Any) -> dict[str, Any]:
    return spec(ingress=[rule(**fields)])


def egress(**fields: Any) -> dict[str, Any]:
    return spec(egress=[rule(**fields)])


def refusal(document: dict[str, Any], *, layer7: bool = True) -> str | None:
    rules = PolicyRules({"application", "baseline"}.__contains__, nowhere, layer7=layer7)
    return rules.refusal(msgspec.convert(document, ClusterNetworkPolicySpec))


async def nowhere(tier: str) -> bool:
    return False


NODE_BLOCK = {"nodeSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}
MULTICAST = {"ipBlock": {"cidr": "224.0.0.0/8"}}

REFUSED = {
    "applied to something in both places": (
        spec(ingress=[rule(appliedTo=[SELECTOR])]),
        "appliedTo should not be set in both spec and rules",
    ),
    "applied to both, though only in one rule": (
        spec(ingress=[rule(appliedTo=[SELECTOR]), rule(name="r2")]),
        "appliedTo should not be set in both spec and rules",
    ),
    "nodeSelector beside another": (
        spec(appliedTo=[{"nodeSelector": {}, "podSelector": {}}]),
        "nodeSelector cannot be set with other peers in appliedTo",
    ),
    "group before nodeSelector": (
        spec(appliedTo=[{"nodeSelector": {}, "group": "g"}]),
        "group cannot be set with other peers in appliedTo",
    ),
    "serviceAccount beside service": (
        spec(appliedTo=[{"serviceAccount": {"name": "a", "namespace": "b"}, **SERVICE}]),
        "serviceAccount cannot be set with other peers in appliedTo",
    ),
    "a policy with egress rules applied to a Service": (
        spec(appliedTo=[SERVICE], egress=[rule()]),
        "egress rule cannot be applied to Services",
    ),
    "a rule's list that mixes Services and others": (
        spec(appliedTo=None, ingress=[rule(appliedTo=[SERVICE, SELECTOR])]),
        "a rule/policy cannot be applied to Services and other peers at the same time",
    ),
    "a peer of a Service's policy that is more than an address": (
        spec(appliedTo=[SERVICE], ingress=[rule(**{"from": [{**MULTICAST, "scope": "Cluster"}]})]),
        "a rule/policy that is applied to Services can only use ipBlock to select workloads",
    ),
    "toServices beside an empty list of ports": (
        egress(ports=[], toServices=[{"name": "s", "namespace": "n"}]),
        "`toServices` cannot be used with `to`, `ports` or `protocols`",
    ),
    "a label of sameLabels that is no key": (
        ingress(**{"from": [{"namespaces": {"sameLabels": ["tier", "a b"]}}]}),
        "Invalid label key in sameLabels rule: a b",
    ),
    "an address block without an address": (
        egress(to=[{"ipBlock": {}}]),
        "field 'cidr' is required in an ipBlock",
    ),
    "a part outside of the block": (
        egress(to=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]),
        "except CIDR 11.0.0.0/16 is not a strict subset of CIDR 10.0.0.0/8",
    ),
    "an IPv6 part outside of the block": (
        egress(to=[{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48", "fd00::/48"]}}]),
        "except CIDR fd00::/48 is not a strict subset of CIDR 2001:db8::/32",
    ),
    "an egress peer with nodeSelector and another": (
        egress(to=[NODE_BLOCK]),
        "nodeSelector cannot be set with other peers in rules",
    ),
    "an egress peer with serviceAccount and another": (
        egress(to=[{"serviceAccount": {"name": "a", "namespace": "b"}, "fqdn": "a.com"}]),
        "serviceAccount cannot be set with other peers in rules",
    ),
    "a key whose name is too long": (
        ingress(**{"from": [{"podSelector": {"matchLabels": {"a" * 64: "x"}}}]}),
        f"Invalid label key: {'a' * 64}: name part must be no more than 63 bytes",
    ),
    "a key with an empty prefix": (
        ingress(**{"from": [{"podSelector": {"matchLabels": {"/a": "x"}}}]}),
        "Invalid label key: /a: prefix part must be non-empty",
    ),
    "a value that is too long": (
        ingress(**{"from": [{"podSelector": {"matchLabels": {"a": "x" * 64}}}]}),
        f"Invalid label value: {'x' * 64}: must be no more than 63 bytes",
    ),
    "multicast rejected": (
        egress(action="Reject", to=[MULTICAST]),
        "multicast does not support action Pass or Reject",
    ),
    "multicast with the action refused before the mixture": (
        egress(action="Pass", to=[MULTICAST, {"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        "multicast does not support action Pass or Reject",
    ),
    "multicast beside a Namespace selector": (
        egress(to=[{**MULTICAST, "namespaceSelector": {}}]),
        "can not set multicast groupAddress and selectors at the same time",
    ),
    "IGMP that is passed on": (
        egress(action="Pass", protocols=[IGMP]),
        "protocol IGMP does not support Pass or Reject",
    ),
    "IGMP of a group that is none, before its action": (
        ingress(action="Reject", protocols=[{"igmp": {"groupAddress": "fd00::1"}}]),
        "groupAddress fd00::1 is not multicast address",
    ),
    "IGMP with ICMP in one rule": (
        ingress(protocols=[IGMP, {"icmp": {}}]),
        "protocol IGMP can not be used with other protocols or other properties like from, to",
    ),
    "IGMP in ingress, something else in egress": (
        spec(ingress=[rule(protocols=[IGMP])], egress=[rule(name="e", to=[SELECTOR])]),
        "protocol IGMP can not be used with other protocols or other properties like from, to",
    ),
    "layer 7 that is dropped": (
        ingress(action="Drop", l7Protocols=[{"tls": {"sni": "a"}}]),
        "layer 7 protocols only support Allow",
    ),
    "HTTP over ICMP": (
        ingress(l7Protocols=[{"http": {}}], protocols=[{"icmp": {}}]),
        "HTTP protocol can not be used with protocol IGMP or ICMP",
    ),
    "HTTP over a port that is not of TCP": (
        ingress(l7Protocols=[{"http": {}}], ports=[{"port": 80}, {"protocol": "SCTP", "port": 80}]),
        "HTTP protocol can only be used when layer 4 protocol is TCP or unset",
    ),
    "an end before the source port": (
        ingress(ports=[{"sourcePort": 200, "sourceEndPort": 100}]),
        "`sourceEndPort` should be greater than or equal to `sourcePort`",
    ),
    "a rule without a name beside another": (
        spec(ingress=[{"action": "Allow"}], egress=[{"action": "Allow"}]),
        "rules names must be unique within the policy",
    ),
    "Pass in the baseline, whatever its spelling": (
        spec(tier="Baseline", ingress=[rule(action="Pass")]),
        "`Pass` action should not be set for Baseline Tier policy rules",
    ),
}

ACCEPTED = {
    "no rules at all": spec(),
    "a Service and its addresses": spec(
        appliedTo=[SERVICE], ingress=[rule(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})]
    ),
    "a group alone": spec(appliedTo=[{"group": "g"}]),
    "multicast alone": egress(to=[MULTICAST, {"ipBlock": {"cidr": "239.1.1.1/32"}}]),
    "an IPv6 block without a part": egress(to=[{"ipBlock": {"cidr": "fd00::/8", "except": ["fd01::/16"]}}]),
    "a key with a prefix and 63 characters": ingress(
        **{"from": [{"podSelector": {"matchLabels": {"a.example/" + "b" * 63: "c" * 63}}}]}
    ),
    "labels in matchExpressions, which only the schema looks at": ingress(
        **{"from": [{"podSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}]}
    ),
    "ports of a range of one": ingress(
        ports=[{"port": 8, "endPort": 8, "sourcePort": 9, "sourceEndPort": 9}]
    ),
    "a domain name in ingress, which nothing looks at": ingress(**{"from": [{"fqdn": "a b"}]}),
}


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_and_in_which_words(document: dict[str, Any], message: str) -> None:
    found = refusal(document)
    assert found is not None
    assert found.startswith(message) if message.startswith("Invalid label") else found == message


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted(document: dict[str, Any]) -> None:
    assert refusal(document) is None


def test_without_its_gate_layer_7_is_refused_before_anything_else_of_it() -> None:
    message = "layer 7 protocols can only be used when L7NetworkPolicy is enabled"
    assert refusal(ingress(action="Drop", l7Protocols=[{"http": {}}]), layer7=False) == message


def test_the_first_failing_check_in_the_order_of_the_documentation_wins() -> None:
    """A policy with all faults: mending the one that is reported brings up the next."""
    faulty = spec(
        tier="baseline",
        appliedTo=[{"group": "g", "podSelector": {}}],
        egress=[
            rule(
                action="Pass",
                to=[{"fqdn": "a b"}, {"ipBlock": {"cidr": "224.0.0.0/33"}}],
                ports=[{"endPort": 1}],
                l7Protocols=[{"tls": {}}],
            ),
            rule(),
        ],
    )
    block = faulty["egress"][0]["to"][1]["ipBlock"]
    mended = [
        (
            "`Pass` action should not be set for Baseline Tier policy rules",
            lambda: faulty.update(tier="application"),
        ),
        ("rules names must be unique within the policy", lambda: faulty["egress"].pop()),
        ("group cannot be set with other peers in appliedTo", lambda: faulty.update(appliedTo=[SELECTOR])),
        ("invalid CIDR address: 224.0.0.0/33", lambda: block.update(cidr="224.0.0.0/8")),
        ("invalid characters in egress rule fqdn field: a b", lambda: faulty["egress"][0]["to"].pop(0)),
        ("multicast does not support action Pass or Reject", lambda: block.update(cidr="10.0.0.0/8")),
        ("layer 7 protocols only support Allow", lambda: faulty["egress"][0].update(action="Allow")),
        (
            "if `endPort` is specified `port` must be specified",
            lambda: faulty["egress"][0]["ports"][0].update(port=1),
        ),
    ]
    for message, mend in mended:
        assert refusal(faulty) == message
        mend()
    assert refusal(faulty) is None


def test_a_warning_quotes_as_the_kernel_log_never_will() -> None:
    document = spec(
        appliedTo=[{"nodeSelector": {}}],
        ingress=[rule(name='r"1', enableLogging=True, logLabel="thirteenchars")],
    )
    [sentence] = warnings(msgspec.convert(document, ClusterNetworkPolicySpec))
    assert sentence.startswith(
        "LogLabels for Node NetworkPolicies are limited to 12 characters, but the label"
    )
    assert 'label "thirteenchars" for policy rule "r\\"1" exceeds' in sentence


@pytest.mark.parametrize(
    ("in_cluster", "spec", "expected"),
    [
        (False, ingress(), "tier new does not exist"),
        (False, ingress(action="Pass", ports=[{"endPort": 1}]), "tier new does not exist"),
        (True, ingress(), None),
        (True, ingress(ports=[{"endPort": 1}]), "if `endPort` is specified `port` must be specified"),
    ],
)
async def test_a_tier_that_was_made_a_moment_ago_is_looked_up(
    in_cluster: bool, spec: dict[str, Any], expected: str | None
) -> None:
    asked: list[str] = []

    async def look_up(tier: str) -> bool:
        asked.append(tier)
        return in_cluster

    rules = PolicyRules({"application"}.__contains__, look_up, layer7=True)
    verdict = rules(create({**spec, "tier": "new"}))
    assert not isinstance(verdict, Verdict)
    assert (await verdict).message == (expected or "")
    assert asked == ["new"]
    for tier in ("application", "Emergency", ""):
        assert isinstance(rules(create({**spec, "tier": tier})), Verdict)


def create(document: dict[str, Any]) -> AdmissionRequest:
    body = msgspec.json.encode({"metadata": {"name": "p"}, "spec": document})
    return AdmissionRequest(
        uid="1",
        kind=GroupVersionKind("crd.antrea.io", "v1beta1", "ClusterNetworkPolicy"),
        resource=GroupVersionResource("crd.antrea.io", "v1beta1", "clusternetworkpolicies"),
        operation="CREATE",
        namespace="",
        name="p",
        user=ANONYMOUS,
        object=msgspec.Raw(body),
        old=None,
    )
