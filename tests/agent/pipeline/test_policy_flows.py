"""Rules as flows: what the recordings do not show."""

from __future__ import annotations

import pytest

from agent.model import Action, Direction, NodeConfig, ServicePort
from agent.openflow.codec.text import format_match
from agent.pipeline.building import Builder
from agent.pipeline.cookies import Category
from agent.pipeline.policy_flows import BLOCK, RuleFlows, service_matches
from agent.pipeline.tables import Layout
from tests.agent.pipeline.nodes import DUAL, IPV6, NODE1, rule

IN, OUT = Direction.INGRESS, Direction.EGRESS


def lines(node: NodeConfig, policy_rule: object, number: int | None) -> list[str]:
    layout = Layout.for_node(node)
    flows = RuleFlows(Builder(layout, 1, Category.NETWORK_POLICY), node).rule(policy_rule, number)  # type: ignore[arg-type]
    return sorted(flow.format(layout.names).split("table=", 1)[1] for flow in flows)


def test_without_ports_there_are_two_clauses() -> None:
    assert lines(NODE1, rule("r", IN, ["10.0.0.1"], [7]), 5) == [
        "IngressMetric, priority=200,ct_state=+new,ct_label=0x5/0xffffffff,ip "
        "actions=goto_table:ConntrackCommit",
        "IngressMetric, priority=200,ct_state=-new,ct_label=0x5/0xffffffff,ip "
        "actions=goto_table:ConntrackCommit",
        "IngressRule, priority=190,conj_id=5,ip actions=set_field:0x5->reg6,"
        "ct(commit,table=IngressMetric,zone=65520,exec(set_field:0x5/0xffffffff->ct_label))",
        "IngressRule, priority=200,ip,nw_src=10.0.0.1 actions=conjunction(5,1/2)",
        "IngressRule, priority=200,reg1=0x7 actions=conjunction(5,2/2)",
    ]


def test_each_family_has_its_own_action_zone_and_matches() -> None:
    found = lines(DUAL, rule("r", OUT, ["10.77.1.3", "fd00:77:1::3"], ["::/0"], (ServicePort("UDP", 53),)), 2)
    assert [line for line in found if line.startswith("EgressRule")] == [
        "EgressRule, priority=190,conj_id=2,ip actions=set_field:0x2->reg5,"
        "ct(commit,table=EgressMetric,zone=65520,exec(set_field:0x200000000/0xffffffff00000000->ct_label))",
        "EgressRule, priority=190,conj_id=2,ipv6 actions=set_field:0x2->reg5,"
        "ct(commit,table=EgressMetric,zone=65510,exec(set_field:0x200000000/0xffffffff00000000->ct_label))",
        "EgressRule, priority=200,ip,nw_src=10.77.1.3 actions=conjunction(2,1/3)",
        "EgressRule, priority=200,ipv6 actions=conjunction(2,2/3)",
        "EgressRule, priority=200,ipv6,ipv6_src=fd00:77:1::3 actions=conjunction(2,1/3)",
        "EgressRule, priority=200,udp,tp_dst=53 actions=conjunction(2,3/3)",
        "EgressRule, priority=200,udp6,tp_dst=53 actions=conjunction(2,3/3)",
    ]


def test_addresses_of_a_family_that_the_node_does_not_use_match_nothing() -> None:
    policy_rule = rule("r", OUT, ["10.77.1.3"], ["10.0.0.0/8", "0.0.0.0/0"], isolated=["10.77.1.3"])
    assert [line for line in lines(IPV6, policy_rule, 2) if "nw_" in line or ",ip " in line] == []


def test_isolation_alone() -> None:
    assert lines(NODE1, rule("r", OUT, isolated=["10.77.1.3", "fd00::3"], action=None), None) == [
        "EgressDefaultRule, priority=200,ip,nw_src=10.77.1.3 actions=drop"
    ]


def test_ids_of_a_later_block_have_clauses_of_their_own() -> None:
    """A flow shared by more than 4,000 conjunctions would not fit into a message."""
    clauses = [
        line
        for line in lines(NODE1, rule("r", IN, ["10.0.0.1"], [7], (ServicePort("TCP", 80),)), 5 * BLOCK + 1)
        if "conjunction(" in line
    ]
    number = 5 * BLOCK + 1
    assert clauses == [
        f"IngressRule, priority=200,ip,reg11=0/0x5,nw_src=10.0.0.1 actions=conjunction({number},1/3)",
        f"IngressRule, priority=200,reg1=0x7,reg11=0/0x5 actions=conjunction({number},2/3)",
        f"IngressRule, priority=200,tcp,reg11=0/0x5,tp_dst=80 actions=conjunction({number},3/3)",
    ]


@pytest.mark.parametrize("action,priority", [(Action.DROP, None), (Action.PASS, 100), (Action.ALLOW, 14500)])
def test_rules_of_antrea_native_policies_are_refused(action: Action, priority: int | None) -> None:
    with pytest.raises(ValueError, match="cannot enforce yet"):
        lines(NODE1, rule("r", IN, ["10.0.0.1"], [7], action=action, priority=priority), 2)


@pytest.mark.parametrize(
    "service,version,expected",
    [
        (ServicePort(), 4, ["ip"]),
        (ServicePort(), 6, ["ipv6"]),
        (ServicePort("TCP"), 4, ["tcp"]),
        (ServicePort("TCP", 80), 6, ["tcp6,tp_dst=80"]),
        (ServicePort("UDP", 8000, 8003), 4, ["udp,tp_dst=0x1f40/0xfffc"]),
        (
            ServicePort("TCP", 80, src_port=1, src_end_port=2),
            4,
            ["tcp,tp_src=1,tp_dst=80", "tcp,tp_src=2,tp_dst=80"],
        ),
        (ServicePort("SCTP", 9000), 4, ["sctp,tp_dst=9000"]),
        (ServicePort("ICMP", icmp_type=8, icmp_code=0), 4, ["icmp,icmp_type=8,icmp_code=0"]),
        (ServicePort("ICMP"), 6, ["icmp6"]),
        (ServicePort("IGMP"), 4, ["ip,nw_proto=2"]),
        (ServicePort("IGMP"), 6, []),
        (ServicePort("unheard of", 80), 4, ["tcp,tp_dst=80"]),
    ],
)
def test_services(service: ServicePort, version: int, expected: list[str]) -> None:
    assert [format_match(match) for match in service_matches(service, version)] == expected
