"""Our flows are those of upstream v2.7.0, for whole nodes, line by line.

What differs does so on purpose and is listed in ``DIFFERENCES``; each entry must be needed by some recording.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.model import Direction, NodeConfig, PodInterface, PolicyRule, ServicePort
from agent.pipeline.building import Builder
from agent.pipeline.cookies import Category
from agent.pipeline.desired import Desired
from agent.pipeline.entry import entry_flows
from agent.pipeline.pod_connectivity import ConnectivityFlows
from agent.pipeline.policy_flows import RuleFlows
from agent.pipeline.tables import Layout
from tests.agent.pipeline.nodes import CLI0, CLI1, NODE1, NODE2, OTH1, WEB0, peer, rule

RECORDINGS = Path(__file__).parents[2] / "data/flows"
ROUND = 2  # of the recorded agents

IN, OUT = Direction.INGRESS, Direction.EGRESS
TCP80 = ServicePort("TCP", 80)
EXCEPT = (
    "10.77.128.0/17", "10.77.64.0/18", "10.77.32.0/19", "10.77.16.0/20", "10.77.8.0/21", "10.77.4.0/22",
    "10.77.3.0/24", "10.77.0.0/24", "10.77.1.0/25",
)  # fmt: skip
TCP_OR_DNS = (TCP80, ServicePort("UDP", 53))

# (recording, node) → the rules in force there with the conjunction ids of the recording; None: isolation only
RULES: dict[tuple[str, str], list[tuple[int | None, PolicyRule]]] = {
    ("01-pods", "node1"): [],
    ("01-pods", "node2"): [],
    ("02-knp-ingress-label-port", "node1"): [
        (18, rule("02", IN, ["10.77.2.2", "10.77.1.4"], [1], (TCP80,), isolated=[1])),
    ],
    ("02-knp-ingress-label-port", "node2"): [],
    ("03-knp-egress-ipblock-except", "node1"): [
        (19, rule("03", OUT, ["10.77.1.4"], EXCEPT, TCP_OR_DNS, isolated=["10.77.1.4"])),
    ],
    ("03-knp-egress-ipblock-except", "node2"): [
        (2, rule("03", OUT, ["10.77.2.2"], EXCEPT, TCP_OR_DNS, isolated=["10.77.2.2"])),
    ],
    ("04-knp-default-deny-both", "node1"): [
        (None, rule("04-in", IN, isolated=[1, 2], action=None)),
        (None, rule("04-out", OUT, isolated=["10.77.1.3", "10.77.1.4"], action=None)),
    ],
    ("04-knp-default-deny-both", "node2"): [
        (None, rule("04-in", IN, isolated=[1, 2], action=None)),
        (None, rule("04-out", OUT, isolated=["10.77.2.2", "10.77.2.3"], action=None)),
    ],
    ("05-knp-named-port-endport", "node1"): [
        (
            5,
            rule(
                "05", IN, ["10.77.2.3", "10.77.1.3", "10.77.1.4", "10.77.2.2"], [1],
                (TCP80, ServicePort("TCP", 8000, 8100), ServicePort("SCTP", 9000)), isolated=[1],
            ),
        ),
    ],
    ("05-knp-named-port-endport", "node2"): [],
}  # fmt: skip

NODES: dict[str, tuple[NodeConfig, NodeConfig, tuple[PodInterface, ...]]] = {
    "node1": (NODE1, NODE2, (WEB0, CLI0)),
    "node2": (NODE2, NODE1, (CLI1, OTH1)),
}


def in_tables(*names: str) -> Callable[[str], bool]:
    return lambda line: re.search(r"table=(\w+)", line)[1] in names  # type: ignore[index]


def with_category(category: int, *names: str) -> Callable[[str], bool]:
    return lambda line: f"cookie={ROUND:#x}{category:02x}0000000000," in line and in_tables(*names)(line)


# Lines of the recordings that we do not have: (reason, which).
DIFFERENCES: list[tuple[str, Callable[[str], bool]]] = [
    (
        "AntreaProxy is not built: its tables do not exist",
        in_tables(
            "UnSNAT", "PreRoutingClassifier", "SessionAffinity", "ServiceLB", "EndpointDNAT", "SNATMark",
            "SNAT",
        ),
    ),
    (
        "AntreaProxy is not built: its flows in shared tables",
        with_category(3, "ConntrackState", "L3Forwarding", "Output"),
    ),
    ("Egress is not built: its table does not exist", in_tables("EgressMark")),
    ("Egress is not built: its flows in shared tables", with_category(4, "L3Forwarding")),
    (
        "Antrea-native policies are not built: their tables do not exist",
        in_tables("AntreaPolicyEgressRule", "AntreaPolicyIngressRule"),
    ),
    (
        "packets are not sent to the agent yet: no logging, no reject",
        lambda line: "table=Output," in line and "controller(" in line,
    ),
    (
        "a rule that can never match gets no conjunction, only its isolation",
        lambda line: bool(
            re.search(r"conj_id=[34],|conjunction\([34],[12]/2\)|ct_label=0x[34](0{8})?/", line)
        ),
    ),
]  # fmt: skip

# Where a packet goes instead of a table that does not exist here.
INSTEAD = {
    "UnSNAT": "ConntrackZone",
    "PreRoutingClassifier": "DNAT",
    "AntreaPolicyEgressRule": "EgressRule",
    "EgressMark": "L2ForwardingCalc",
    "SNATMark": "L2ForwardingCalc",
    "SNAT": "L2ForwardingCalc",
    "AntreaPolicyIngressRule": "IngressRule",
}

# Flows that we have and the recordings do not: what §2.1's algorithm yields when the features above are
# absent.
OURS_ALONE = [
    " cookie=0x2000000000000, table=DNAT, priority=0 actions=goto_table:EgressRule",
    *(
        f" cookie=0x2020000000000, table={table}Rule, priority=210,ct_state=-new+{state},ip "
        f"actions=goto_table:{table}Metric"
        for table in ("Egress", "Ingress")
        for state in ("est", "rel")
    ),
]


def recorded(name: str, node: str) -> set[str]:
    return set((RECORDINGS / f"{name}.{node}.flows").read_text().splitlines())


def ours(name: str, which: str) -> set[str]:
    node, other, pods = NODES[which]
    layout = Layout.for_node(node)
    connectivity = ConnectivityFlows(Builder(layout, ROUND, Category.POD_CONNECTIVITY), node)
    policies = RuleFlows(Builder(layout, ROUND, Category.NETWORK_POLICY), node)
    desired = Desired()
    desired.want("entry", list(entry_flows(Builder(layout, ROUND, Category.DEFAULT))))
    desired.want("node", list(connectivity.static()))
    desired.want("policy", list(policies.static()))
    desired.want("peer", list(connectivity.remote_node(peer(other))))
    for pod in pods:
        desired.want(pod.name, list(connectivity.pod(pod)))
    for number, policy_rule in RULES[name, which]:
        desired.want(policy_rule.id, policies.rule(policy_rule, number))
    ports = {pod.ofport: pod.name for pod in pods} | {32769: "antrea-gw0", 32768: "antrea-tun0"}
    flows = [desired.flow(key) for key in list(desired.keys())]
    return {flow.format(layout.names, ports) for flow in flows if flow is not None}


def without_differences(lines: set[str]) -> set[str]:
    kept = {line for line in lines if not any(which(line) for _, which in DIFFERENCES)}
    return {
        re.sub(r"goto_table:(\w+)", lambda found: f"goto_table:{INSTEAD.get(found[1], found[1])}", line)
        for line in kept
    }


@pytest.mark.parametrize("name,node", RULES, ids=[f"{name}-{node}" for name, node in RULES])
def test_as_upstream(name: str, node: str) -> None:
    expected, found = without_differences(recorded(name, node)), ours(name, node)
    assert sorted(found - expected) == sorted(OURS_ALONE)
    assert sorted(expected - found) == []


@pytest.mark.parametrize("reason,which", DIFFERENCES, ids=[reason for reason, _ in DIFFERENCES])
def test_every_difference_is_needed(reason: str, which: Callable[[str], bool]) -> None:
    assert any(which(line) for name, node in RULES for line in recorded(name, node)), reason
