"""The oracle itself, by tables whose answers are known. Numbers are those of the project's list of cases."""

from __future__ import annotations

import pytest

from tests.computation.manifests import Manifest, namespace, namespaces, pod, pods, policy
from tests.computation.oracle import Oracle


def cluster() -> list[Manifest]:
    """Pods a, b, c in x, y, z, all on one node but the c's; addresses 10.0.<namespace>.<pod>."""
    made = [namespace(each, {"ns": each}) for each in "xyz"]
    for row, each in enumerate("xyz"):
        for column, letter in enumerate("abc"):
            made.append(
                pod(
                    letter,
                    {"pod": letter},
                    namespace=each,
                    node="node-2" if letter == "c" else "node-1",
                    ips=(f"10.0.{row}.{column + 1}", f"fd00::{row}:{column + 1}"),
                    ports=((80 if letter == "a" else 8080, "http", "TCP"),),
                )
            )
    made.append(pod("host", namespace="x", node="node-1", ips=("192.0.2.1",), host_network=True))
    return made


def deny(direction: str, **applied: str) -> Manifest:
    return policy(namespace="x", applied=applied, types=[direction])


def from_(*peers: Manifest, ports: list[Manifest] | None = None, **applied: str) -> Manifest:
    rule: Manifest = {"from": list(peers)} if peers else {}
    if ports:
        rule["ports"] = ports
    return policy(namespace="x", applied=applied, types=["Ingress"], ingress=[rule])


def to(*peers: Manifest, ports: list[Manifest] | None = None, **applied: str) -> Manifest:
    rule: Manifest = {"to": list(peers)} if peers else {}
    if ports:
        rule["ports"] = ports
    return policy(namespace="x", applied=applied, types=["Egress"], egress=[rule])


TCP80 = ("TCP", 80)
# case, policy, source, destination, (protocol, port), allowed
VERDICTS: list[tuple[str, Manifest | None, str, str, tuple[str, int], bool]] = [
    ("no policy", None, "x/a", "y/b", TCP80, True),
    ("128 denied", deny("Ingress"), "y/a", "x/a", TCP80, False),
    ("128 to itself", deny("Ingress"), "x/a", "x/a", TCP80, True),
    ("128 from the pod's own node", deny("Ingress"), "x/host", "x/a", TCP80, True),
    ("128 from another node", deny("Ingress"), "x/host", "x/c", TCP80, False),
    ("128 others are not isolated", deny("Ingress"), "x/a", "y/a", TCP80, True),
    ("egress denied", deny("Egress"), "x/a", "y/a", TCP80, False),
    ("egress denied, from the others", deny("Egress"), "y/a", "x/a", TCP80, True),
    ("types without rules and without names", policy(namespace="x"), "y/a", "x/a", TCP80, True),
    ("129 the number of the name", from_(ports=[{"port": "http"}]), "y/a", "x/a", TCP80, True),
    ("129 the number of another pod", from_(ports=[{"port": "http"}]), "y/a", "x/b", TCP80, False),
    ("129 its own number", from_(ports=[{"port": "http"}]), "y/a", "x/b", ("TCP", 8080), True),
    ("130 any TCP port", from_(ports=[{"protocol": "TCP"}]), "y/a", "x/a", ("TCP", 9999), True),
    ("130 not UDP", from_(ports=[{"protocol": "TCP"}]), "y/a", "x/a", ("UDP", 9999), False),
    ("131 inside", from_(ports=[{"port": 81, "endPort": 83}]), "y/a", "x/a", ("TCP", 83), True),
    ("131 below", from_(ports=[{"port": 81, "endPort": 83}]), "y/a", "x/a", TCP80, False),
    ("131 above", from_(ports=[{"port": 81, "endPort": 83}]), "y/a", "x/a", ("TCP", 84), False),
    ("SCTP", from_(ports=[{"protocol": "SCTP", "port": 80}]), "y/a", "x/a", ("SCTP", 80), True),
    ("pods of the same namespace", from_(pods(pod="b")), "x/b", "x/a", TCP80, True),
    ("pods of another namespace", from_(pods(pod="b")), "y/b", "x/a", TCP80, False),
    ("a namespace", from_(namespaces(ns="y")), "y/c", "x/a", TCP80, True),
    ("both", from_({**pods(pod="b"), **namespaces(ns="y")}), "y/b", "x/a", TCP80, True),
    ("both, one fails", from_({**pods(pod="b"), **namespaces(ns="y")}), "y/a", "x/a", TCP80, False),
    ("either", from_(pods(pod="b"), namespaces(ns="y")), "y/a", "x/a", TCP80, True),
    ("a block", from_({"ipBlock": {"cidr": "10.0.1.0/24"}}), "y/a", "x/a", TCP80, True),
    (
        "an exception",
        from_({"ipBlock": {"cidr": "10.0.1.0/24", "except": ["10.0.1.1/32"]}}),
        "y/a",
        "x/a",
        TCP80,
        False,
    ),
    (
        "an exception of one peer, allowed by another",
        from_({"ipBlock": {"cidr": "10.0.1.0/24", "except": ["10.0.1.1/32"]}}, namespaces(ns="y")),
        "y/a",
        "x/a",
        TCP80,
        True,
    ),
    ("egress to a named port", to(ports=[{"port": "http"}]), "x/a", "y/b", ("TCP", 8080), True),
    ("egress to another number", to(ports=[{"port": "http"}]), "x/a", "y/b", TCP80, False),
    (
        "egress by address cannot resolve a name",
        to({"ipBlock": {"cidr": "10.0.1.0/24"}}, ports=[{"port": "http"}]),
        "x/a",
        "y/b",
        ("TCP", 8080),
        False,
    ),
    ("the applied-to selector", from_(namespaces(ns="y"), pod="a"), "z/a", "x/b", TCP80, True),
]


@pytest.mark.parametrize(
    "manifest, source, destination, service, allowed",
    [row[1:] for row in VERDICTS],
    ids=[r[0] for r in VERDICTS],
)
def test_verdicts(
    manifest: Manifest | None, source: str, destination: str, service: tuple[str, int], allowed: bool
) -> None:
    oracle = Oracle([*cluster(), *([manifest] if manifest else [])])
    assert oracle.allowed(source, destination, *service) is allowed


def test_policies_add_up() -> None:
    oracle = Oracle(
        [
            *cluster(),
            policy("one", namespace="x", types=["Ingress"], ingress=[{"from": [namespaces(ns="y")]}]),
            policy("two", namespace="x", types=["Ingress"], ingress=[{"from": [namespaces(ns="z")]}]),
        ]
    )
    assert [oracle.allowed(f"{each}/a", "x/a", "TCP", 80) for each in "xyz"] == [True, True, True]
    assert [oracle.allowed(f"{each}/b", "x/a", "TCP", 80) for each in "xyz"] == [False, True, True]


def test_both_sides_have_to_allow() -> None:
    oracle = Oracle(
        [*cluster(), deny("Egress"), policy("in", namespace="y", types=["Ingress"], ingress=[{}])]
    )
    assert not oracle.allowed("x/a", "y/a", "TCP", 80)
    assert oracle.allowed("z/a", "y/a", "TCP", 80)


def test_families() -> None:
    manifest = from_({"ipBlock": {"cidr": "fd00::/16"}})
    oracle = Oracle([*cluster(), manifest])
    assert [oracle.allowed("y/a", "x/a", "TCP", 80, family) for family in (None, 4, 6)] == [
        False,
        False,
        True,
    ]


def test_changes() -> None:
    oracle = Oracle([*cluster(), deny("Ingress")])
    assert not oracle.allowed("y/a", "x/a", "TCP", 80)
    oracle.delete("NetworkPolicy", "x", "p")
    assert oracle.allowed("y/a", "x/a", "TCP", 80)
