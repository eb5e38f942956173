"""Random policy sets over nine pods in three namespaces, with the changes that follow them.

A *set* is a list of steps; each step is a list of operations on the Kubernetes API, and after each step the
reachability of every pair of pods is compared, cell by cell, between the oracle and real packets. Everything
follows from the seed and the pods' addresses, so a failing set can be run again.

Every third set is *rich*: it always holds two policies that select one pod, an ipBlock with except, a named
port that means a different number on each pod, and a port range.
"""

from __future__ import annotations

import copy
import ipaddress
import random
from dataclasses import dataclass, field
from typing import Any

Manifest = dict[str, Any]

NAMESPACES = ("x", "y", "z")
PODS = ("a", "b", "c")
PORTS = (80, 81, 82)
SERVE = {"a": 80, "b": 81, "c": 82}  # the named port "serve" is another number on each pod
TEAMS = {"x": "red", "y": "red", "z": "blue"}
TIERS = {"a": "front", "b": "back", "c": "back"}


@dataclass
class World:
    """What the generator must know of the running lab: each pod's addresses, IPv4 first."""

    addresses: dict[tuple[str, str], list[str]]


@dataclass
class Operation:
    """``apply`` (create or replace), ``delete``, or ``label`` (a pod's labels, None removes one)."""

    verb: str
    namespace: str
    name: str
    manifest: Manifest | None = None
    labels: dict[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verb} {self.namespace}/{self.name} {self.labels or ''}".rstrip()


@dataclass
class PolicySet:
    seed: int
    rich: bool
    steps: list[list[Operation]]
    probes: list[tuple[str, int]]  # (protocol, port), probed after each step


def namespace_manifest(name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"ns": name, "team": TEAMS[name]}},
    }


def pod_manifest(namespace: str, name: str, node: str | None = None) -> Manifest:
    """A pod that answers on TCP and UDP 80 to 82 and on SCTP 80; ``serve`` and ``serve-udp`` are named."""
    ports: list[Manifest] = []
    for number in PORTS:
        for protocol in ("TCP", "UDP"):
            port: Manifest = {"containerPort": number, "protocol": protocol}
            if number == SERVE[name]:
                port["name"] = "serve" if protocol == "TCP" else "serve-udp"
            ports.append(port)
    ports.append({"containerPort": 80, "protocol": "SCTP"})
    spec: Manifest = {"containers": [{"name": "serve", "image": "serve", "ports": ports}]}
    if node is not None:
        spec["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"pod": name, "tier": TIERS[name]}},
        "spec": spec,
    }


class Generator:
    def __init__(self, seed: int, world: World, dual: bool) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.world = world
        self.dual = dual

    # -- selectors ---------------------------------------------------------------------------------

    def pod_selector(self) -> Manifest:
        choice = self.random.randrange(8)
        pod = self.random.choice(PODS)
        if choice == 0:
            return {}
        if choice <= 3:
            return {"matchLabels": {"pod": pod}}
        if choice == 4:
            return {
                "matchExpressions": [{"key": "pod", "operator": "In", "values": self.random.sample(PODS, 2)}]
            }
        if choice == 5:
            return {"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": [pod]}]}
        if choice == 6:
            return {
                "matchExpressions": [
                    {"key": "role", "operator": self.random.choice(["Exists", "DoesNotExist"])}
                ]
            }
        return {
            "matchLabels": {"tier": self.random.choice(["front", "back"])},
            "matchExpressions": [{"key": "role", "operator": "NotIn", "values": ["guest"]}],
        }

    def namespace_selector(self) -> Manifest:
        choice = self.random.randrange(5)
        if choice == 0:
            return {}
        if choice == 1:
            return {"matchLabels": {"team": self.random.choice(["red", "blue"])}}
        if choice == 2:
            return {"matchLabels": {"kubernetes.io/metadata.name": self.random.choice(NAMESPACES)}}
        if choice == 3:
            values = self.random.sample(NAMESPACES, 2)
            return {"matchExpressions": [{"key": "ns", "operator": "In", "values": values}]}
        return {
            "matchExpressions": [
                {"key": "ns", "operator": "NotIn", "values": [self.random.choice(NAMESPACES)]}
            ]
        }

    # -- peers and ports ---------------------------------------------------------------------------

    def ip_block(self, with_except: bool) -> Manifest:
        addresses = self.random.choice(list(self.world.addresses.values()))
        address = ipaddress.ip_address(self.random.choice(addresses if self.dual else addresses[:1]))
        width = address.max_prefixlen
        prefix = self.random.choice([0, width - 16, width - 8, width - 4])
        cidr = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
        block: Manifest = {"cidr": str(cidr)}
        if with_except:
            inside = [
                candidate
                for found in self.world.addresses.values()
                for text in found
                if (candidate := ipaddress.ip_address(text)).version == address.version and candidate in cidr
            ]
            chosen = self.random.sample(inside, min(len(inside), self.random.randint(1, 3)))
            block["except"] = sorted({f"{one}/{width}" for one in chosen})
        return {"ipBlock": block}

    def peer(self) -> Manifest:
        choice = self.random.randrange(6)
        if choice <= 1:
            return {"podSelector": self.pod_selector()}
        if choice == 2:
            return {"namespaceSelector": self.namespace_selector()}
        if choice <= 4:
            return {"podSelector": self.pod_selector(), "namespaceSelector": self.namespace_selector()}
        return self.ip_block(self.random.random() < 0.7)

    def port(self) -> Manifest:
        choice = self.random.randrange(8)
        if choice <= 2:
            return {"protocol": "TCP", "port": self.random.choice(PORTS)}
        if choice == 3:
            return {"protocol": "UDP", "port": self.random.choice(PORTS)}
        if choice == 4:
            return {"protocol": self.random.choice(["TCP", "UDP", "SCTP"])}
        if choice == 5:
            return {"protocol": "TCP", "port": 80, "endPort": self.random.choice([80, 81, 82, 1024])}
        if choice == 6:
            return {"protocol": "TCP", "port": "serve"}
        return self.random.choice(
            [{"protocol": "SCTP", "port": 80}, {"protocol": "UDP", "port": "serve-udp"}]
        )

    def rule(self, direction: str) -> Manifest:
        rule: Manifest = {}
        if self.random.random() < 0.85:
            rule["from" if direction == "ingress" else "to"] = [
                self.peer() for _ in range(self.random.randint(1, 3))
            ]
        if self.random.random() < 0.75:
            rule["ports"] = [self.port() for _ in range(self.random.randint(1, 2))]
        return rule

    # -- policies ----------------------------------------------------------------------------------

    def spec(self, selector: Manifest | None = None) -> Manifest:
        spec: Manifest = {
            "podSelector": self.pod_selector() if selector is None else selector,
            "policyTypes": [],
        }
        kinds = self.random.choice([["Ingress"], ["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        for kind in kinds:
            spec["policyTypes"].append(kind)
            rules = [self.rule(kind.lower()) for _ in range(self.random.choice([0, 1, 1, 1, 2, 3]))]
            if rules:
                spec[kind.lower()] = rules
        return spec

    def policy(self, namespace: str, name: str, spec: Manifest) -> Operation:
        manifest = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        }
        return Operation("apply", namespace, name, manifest)

    def rich_policies(self) -> list[Operation]:
        """Two policies on one pod, with an except, a named port that differs by pod, and a range."""
        namespace = self.random.choice(NAMESPACES)
        target = {"matchLabels": {"pod": self.random.choice(PODS)}}
        first = {
            "podSelector": target,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [self.ip_block(True)], "ports": [{"protocol": "TCP", "port": "serve"}]},
                self.rule("ingress"),
            ],
        }
        second = {
            "podSelector": self.random.choice([target, {}]),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [self.peer()], "ports": [{"protocol": "TCP", "port": 81, "endPort": 82}]}],
            "egress": [
                {
                    "to": [{"namespaceSelector": self.namespace_selector()}],
                    "ports": [{"protocol": "TCP", "port": "serve"}],
                },
                {"to": [self.ip_block(True)]},
            ],
        }
        return [self.policy(namespace, "rich-1", first), self.policy(namespace, "rich-2", second)]

    def generate(self) -> PolicySet:
        rich = self.seed % 3 == 0
        created = self.rich_policies() if rich else []
        for number in range(self.random.randint(1, 3)):
            created.append(self.policy(self.random.choice(NAMESPACES), f"policy-{number}", self.spec()))

        changes: list[Operation] = []
        edited = copy.deepcopy(self.random.choice(created))
        assert edited.manifest is not None
        edited.manifest["spec"] = self.spec(edited.manifest["spec"]["podSelector"])
        changes.append(edited)
        for _ in range(self.random.randint(1, 2)):
            labels: dict[str, str | None] = self.random.choice(
                [
                    {"role": "guest"},
                    {"role": "host"},
                    {"tier": "front"},
                    {"tier": "back"},
                    {"pod": self.random.choice(PODS)},
                ]
            )
            changes.append(
                Operation("label", self.random.choice(NAMESPACES), self.random.choice(PODS), labels=labels)
            )

        last = [
            Operation("delete", gone.namespace, gone.name) for gone in created[: max(1, len(created) // 2)]
        ]
        last.append(self.policy(self.random.choice(NAMESPACES), "late", self.spec()))
        relabelled = [change for change in changes if change.verb == "label"]
        if relabelled:
            back = relabelled[0]
            last.append(
                Operation(
                    "label",
                    back.namespace,
                    back.name,
                    labels={"role": None, "tier": TIERS[back.name], "pod": back.name},
                )
            )

        probes = [("TCP", 80)]
        probes.append(self.random.choice([("TCP", 81), ("TCP", 82)]))
        probes.append(self.random.choice([("UDP", 80), ("UDP", 81), ("SCTP", 80)]))
        return PolicySet(self.seed, rich, [created, changes, last], probes)
