"""What a Kubernetes NetworkPolicy becomes on the wire. Numbers are those of the project's list of cases."""

from __future__ import annotations

from typing import Any

import pytest

from computation.errors import MalformedObject
from tests.computation.harness import upsert
from tests.computation.manifests import Manifest, namespace, namespaces, pod, pods, policy
from tests.computation.world import World, name

ANY = [{"cidr": {"ip": "AAAAAAAAAAAAAP//AAAAAA=="}}, {"cidr": {"ip": "AAAAAAAAAAAAAAAAAAAAAA=="}}]
ALL_PODS = "946d5846-ff34-5a8c-ab0b-2c6c271b0778"  # namespaceSelector=
DENY_IN = {"direction": "In", "from": {}, "to": {}, "enableLogging": False}
DENY_OUT = {"direction": "Out", "from": {}, "to": {}, "enableLogging": False}
X, Y = pods(app="x"), pods(app="y")


def allow(direction: str, peer: Manifest, services: list[Manifest] | None = None) -> Manifest:
    rule: Manifest = {"direction": direction, "from": {}, "to": {}}
    rule["from" if direction == "In" else "to"] = peer
    if services:
        rule["services"] = services
    return {**rule, "priority": -1, "action": "Allow", "enableLogging": False}


def block(ip: str, length: int, *excepted: tuple[str, int]) -> Manifest:
    made: Manifest = {"cidr": {"ip": ip, "prefixLength": length}}
    if excepted:
        made["except"] = [{"ip": each, "prefixLength": size} for each, size in excepted]
    return made


# case, policy, rules, names of address groups
CASES: list[tuple[str, Manifest, list[Manifest], set[str]]] = [
    (
        "1 a rule without peers and ports",
        policy(types=["Ingress"], ingress=[{}]),
        [allow("In", {"ipBlocks": ANY})],
        set(),
    ),
    (
        "2 egress to a named port",
        policy(types=["Egress"], egress=[{"ports": [{"port": "http"}]}]),
        [allow("Out", {"addressGroups": [ALL_PODS], "ipBlocks": ANY}, [{"protocol": "TCP", "port": "http"}])],
        {ALL_PODS},
    ),
    (
        "3 egress to a number",
        policy(types=["Egress"], egress=[{"ports": [{"port": 80}]}]),
        [allow("Out", {"ipBlocks": ANY}, [{"protocol": "TCP", "port": 80}])],
        set(),
    ),
    (
        "4 ingress to a named port",
        policy(types=["Ingress"], ingress=[{"ports": [{"port": "http"}]}]),
        [allow("In", {"ipBlocks": ANY}, [{"protocol": "TCP", "port": "http"}])],
        set(),
    ),
    ("5 isolated on ingress", policy(types=["Ingress"]), [DENY_IN], set()),
    ("6 isolated on egress", policy(types=["Egress"]), [DENY_OUT], set()),
    (
        "7 both types, one ingress rule",
        policy(types=["Ingress", "Egress"], ingress=[{"from": [X]}]),
        [allow("In", {"addressGroups": [name(X)]}), DENY_OUT],
        {name(X)},
    ),
    ("8 no types, no rules", policy(), [], set()),
    (
        "11 equal peers share a group",
        policy(
            types=["Ingress", "Egress"],
            ingress=[{"from": [{**X, **namespaces(env="e")}]}],
            egress=[{"to": [{**X, **namespaces(env="e")}]}],
        ),
        [
            allow("In", {"addressGroups": [name({**X, **namespaces(env="e")})]}),
            allow("Out", {"addressGroups": [name({**X, **namespaces(env="e")})]}),
        ],
        {name({**X, **namespaces(env="e")})},
    ),
    (
        "12 different peers",
        policy(types=["Ingress"], ingress=[{"from": [X]}, {"from": [Y]}]),
        [allow("In", {"addressGroups": [name(X)]}), allow("In", {"addressGroups": [name(Y)]})],
        {name(X), name(Y)},
    ),
    (
        "13 a range of ports",
        policy(types=["Ingress"], ingress=[{"ports": [{"protocol": "TCP", "port": 1000, "endPort": 1999}]}]),
        [allow("In", {"ipBlocks": ANY}, [{"protocol": "TCP", "port": 1000, "endPort": 1999}])],
        set(),
    ),
    (
        "14 a port without protocol",
        policy(types=["Ingress"], ingress=[{"ports": [{}]}]),
        [allow("In", {"ipBlocks": ANY}, [{"protocol": "TCP"}])],
        set(),
    ),
    (
        "15 ipBlock with except",
        policy(
            types=["Ingress"],
            ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}}]}],
        ),
        [
            allow(
                "In",
                {
                    "ipBlocks": [
                        block("AAAAAAAAAAAAAP//CgAAAA==", 16, ("AAAAAAAAAAAAAP//CgABAA==", 24)),
                    ]
                },
            )
        ],
        set(),
    ),
    (
        "16 a CIDR without length is skipped, its neighbours stay",
        policy(
            types=["Ingress"],
            ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}, {"ipBlock": {"cidr": "10.0.0.7/24"}}, X]}],
        ),
        [allow("In", {"addressGroups": [name(X)], "ipBlocks": [block("AAAAAAAAAAAAAP//CgAABw==", 24)]})],
        {name(X)},
    ),
    (
        "16 a CIDR that cannot be read, alone: the rule matches nothing",
        policy(types=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/x"}}]}]),
        [allow("In", {})],
        set(),
    ),
    (
        "rules of a direction that is not listed are kept",
        policy(types=["Ingress"], egress=[{"to": [X]}]),
        [allow("Out", {"addressGroups": [name(X)]}), DENY_IN],
        {name(X)},
    ),
]


@pytest.mark.parametrize("manifest, rules, groups", [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_translation(manifest: Manifest, rules: list[Manifest], groups: set[str]) -> None:
    world = World(manifest)
    document = world.policy()
    assert document.get("rules", []) == rules
    assert document["appliedToGroups"] == [name({"podSelector": {}})]
    assert set(world.all.members("addressgroups")) == groups
    assert set(world.all.members("appliedtogroups")) == {name({"podSelector": {}})}
    assert document["sourceRef"] == {
        "type": "K8sNetworkPolicy",
        "namespace": "nsA",
        "name": "p",
        "uid": "uid-p",
    }
    assert document["metadata"] == {"name": "uid-p", "uid": "uid-p", "generation": 1}


def test_a_skipped_peer_is_named() -> None:
    """Case 16: it is not silent."""
    manifest = policy(types=["Ingress"], ingress=[{"from": [X, {"ipBlock": {"cidr": "10.0.0.0"}}]}])
    assert World(manifest).warnings == [
        "NetworkPolicy nsA/p: spec.ingress[0].from[1].ipBlock was skipped: "
        "'10.0.0.0' is not a CIDR: it must be written as address/prefix length"
    ]


LOGGING = [(value, True) for value in ("1", "t", "T", "TRUE", "true", "True")] + [
    (value, False) for value in ("0", "f", "F", "FALSE", "false", "False", "yes", "", " true", None)
]


@pytest.mark.parametrize("annotation, expected", LOGGING)
def test_logging_follows_the_annotation_of_the_namespace(annotation: str | None, expected: bool) -> None:
    """Cases 9 and 10; the order of namespace and policy makes no difference."""
    place = namespace("nsA", logging=annotation)
    manifest = policy(types=["Ingress", "Egress"], ingress=[{"from": [X]}])
    for world in (World(place, manifest), World(manifest, place)):
        assert [rule["enableLogging"] for rule in world.policy()["rules"]] == [expected] * 2
        assert bool(world.warnings) == (annotation in ("yes", "", " true"))


def test_logging_changes_with_the_annotation() -> None:
    world = World(namespace("nsA"), policy(types=["Ingress"]), policy("q", types=["Ingress"]))
    assert len(world.change(namespace("nsA", logging="true"))) == 2
    assert world.change(namespace("nsA", logging="1")) == []  # another spelling of the same
    assert len(world.remove(namespace("nsA"))) == 2


BAD_SELECTOR = {"matchExpressions": [{"key": "app", "operator": "Has", "values": ["x"]}]}
# what is changed in a sound policy, and the field that the error has to name
MALFORMED: list[tuple[Manifest, str]] = [
    ({"spec": {"podSelector": BAD_SELECTOR}}, "spec.podSelector.matchExpressions[0].operator"),
    (
        {"spec": {"podSelector": {}, "ingress": [{"from": [X, {"namespaceSelector": BAD_SELECTOR}]}]}},
        "spec.ingress[0].from[1].namespaceSelector.matchExpressions[0].operator",
    ),
    ({"spec": {"podSelector": {"matchLabels": {"a b": "c"}}}}, "spec.podSelector.matchLabels"),
    ({"spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}}, "spec.ingress[0].from[0]"),
    ({"spec": {"podSelector": {}, "policyTypes": ["In"]}}, "spec.policyTypes"),
    (
        {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 80}, {"port": 70000}]}]}},
        "spec.egress[0].ports[1].port",
    ),
    (
        {"spec": {"podSelector": {}, "egress": [{"ports": [{"protocol": "ICMP"}]}]}},
        "spec.egress[0].ports[0].protocol",
    ),
    ({"metadata": {"name": "p", "namespace": "nsA"}}, "metadata"),
]


@pytest.mark.parametrize("patch, field", MALFORMED, ids=[field for _, field in MALFORMED])
def test_a_malformed_policy_names_its_field_and_changes_nothing(patch: Manifest, field: str) -> None:
    world = World(pod("a", {"app": "x"}), policy(types=["Ingress"], ingress=[{"from": [X]}]), policy("q"))
    broken: dict[str, Any] = {**policy(), **patch}
    with pytest.raises(MalformedObject) as caught:
        upsert(world.graph, broken)
    assert caught.value.field == field
    assert (caught.value.kind, caught.value.namespace, caught.value.name) == ("NetworkPolicy", "nsA", "p")
    assert str(caught.value).startswith("NetworkPolicy nsA/p was left out")
    assert world.flush() == []
    assert len(world.change(policy("r"))) == 1  # everything else goes on


def test_a_malformed_pod_names_its_field_and_changes_nothing() -> None:
    world = World(pod("a", {"app": "x"}), policy(types=["Ingress"], ingress=[{"from": [X]}]))
    with pytest.raises(MalformedObject, match=r"Pod nsA/a was left out: status.podIPs\[1\].ip: 'x'"):
        upsert(world.graph, pod("a", {"app": "x"}, ips=("1.2.3.5", "x")))
    with pytest.raises(MalformedObject, match="name and namespace must be set"):
        upsert(world.graph, pod(""))
    assert world.flush() == []
    assert world.pods("addressgroups", name(X)) == {"a"}
