"""One rule, the groups and the local pods → rules for the datapath, as a table."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from agent.model import Action, OFPort, PolicyRule
from agent.policies import wire
from agent.policies.groups import patched
from agent.policies.objects import Kind, NamedPort
from agent.policies.resolve import group_addresses, resolve, subtract
from tests.agent.policies.support import (
    group_message,
    patch_message,
    pod_interface,
    policy_message,
    store_of,
)

IP = ipaddress.ip_address
NET = ipaddress.ip_network

WEB = {"pod": ("ns", "web"), "ports": [("http", "TCP", 80), ("dns", "UDP", 53)]}
API = {"pod": ("ns", "api"), "ports": [("http", "TCP", 8080)]}
BARE = {"pod": ("ns", "bare")}
REMOTE = {"pod": ("ns", "remote")}  # no interface here

PEERS = {
    "db": [
        {"pod": ("ns", "db1"), "ips": ["10.1.0.1", "fd00::1"], "ports": [("http", "TCP", 80)]},
        {"pod": ("ns", "db2"), "ips": ["10.1.0.2"], "ports": [("http", "TCP", 8080)]},
        {"pod": ("ns", "db3"), "ips": ["10.1.0.3"]},
    ],
    "one": [{"pod": ("ns", "db1"), "ips": ["10.1.0.1"]}],
    "none": [],
}
STORE = store_of(
    pod_interface("ns", "web", 1, "10.0.0.1", "fd00::a"),
    pod_interface("ns", "api", 2, "10.0.0.2"),
    pod_interface("ns", "bare", 3, "10.0.0.3"),
    pod_interface("ns", "pending", 0, "10.0.0.4"),
)


def rules(rule: dict[str, Any], targets: list[dict[str, Any]], families: set[int]) -> list[PolicyRule]:
    policy = wire.policy(policy_message("p1", [rule], ["atg"]))
    groups = {
        name: wire.group(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, name, members))
        for name, members in PEERS.items()
    }
    applied = wire.group(Kind.APPLIED_TO_GROUP, group_message(Kind.APPLIED_TO_GROUP, "atg", targets))
    return resolve(
        policy.rules[0],
        applied.decoded(),
        lambda name: groups[name].decoded(),
        lambda name: group_addresses(groups[name], frozenset(families)),
        STORE.for_pod,
        frozenset(families),
    )


def show(rule: PolicyRule) -> dict[str, Any]:
    """A rule as the table writes it; the id only as what follows the policy's own."""
    return {
        "variant": rule.id.split("/", 3)[3] if rule.id.count("/") > 2 else "",
        "from": {_text(a) for a in rule.sources},
        "to": {_text(a) for a in rule.destinations},
        "ports": [
            f"{s.protocol}/{'' if s.port is None else s.port}{f'-{s.end_port}' if s.end_port else ''}"
            for s in rule.services
        ],
        "allows": rule.action is Action.ALLOW,
        "isolates": {_text(a) for a in rule.isolated},
    }


def _text(address: object) -> str:
    return f"port {address.number}" if isinstance(address, OFPort) else str(address)


def row(
    variant: str = "",
    *,
    source: set[str],
    to: set[str],
    ports: list[str] | None = None,
    isolates: set[str],
    allows: bool = True,
) -> dict[str, Any]:
    return {
        "variant": variant,
        "from": source,
        "to": to,
        "ports": ports or [],
        "allows": allows,
        "isolates": isolates,
    }


In: dict[str, Any] = {"direction": "In"}
Out: dict[str, Any] = {"direction": "Out"}
TCP80 = [("TCP", 80, None)]

CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], set[int], list[dict[str, Any]]]] = {
    "ingress from a group: targets are ports, the other family is left out": (
        {**In, "groups": ["db"], "services": TCP80}, [WEB, API], {4},
        [row(source={"10.1.0.1", "10.1.0.2", "10.1.0.3"}, to={"port 1", "port 2"}, ports=["TCP/80"],
             isolates={"port 1", "port 2"})],
    ),
    "ingress, dual stack": (
        {**In, "groups": ["one", "db"]}, [BARE], {4, 6},
        [row(source={"10.1.0.1", "10.1.0.2", "10.1.0.3", "fd00::1"}, to={"port 3"}, isolates={"port 3"})],
    ),
    "a target without an interface, or whose port has no number yet, is not there": (
        {**In, "groups": ["one"]}, [REMOTE, {"pod": ("ns", "pending")}], {4}, [],
    ),
    "an empty group matches nothing but isolates": (
        {**In, "groups": ["none"], "services": TCP80}, [BARE], {4},
        [row(source=set(), to={"port 3"}, ports=["TCP/80"], isolates={"port 3"})],
    ),
    "the synthetic deny rule only isolates, ingress": (
        {**In, "action": None}, [WEB], {4},
        [row(source=set(), to={"port 1"}, isolates={"port 1"}, allows=False)],
    ),
    "the synthetic deny rule only isolates, egress": (
        {**Out, "action": None}, [WEB], {4, 6},
        [row(source={"10.0.0.1", "fd00::a"}, to=set(), isolates={"10.0.0.1", "fd00::a"}, allows=False)],
    ),
    "egress: targets are addresses": (
        {**Out, "groups": ["one"], "services": TCP80}, [WEB, API], {4},
        [row(source={"10.0.0.1", "10.0.0.2"}, to={"10.1.0.1"}, ports=["TCP/80"],
             isolates={"10.0.0.1", "10.0.0.2"})],
    ),
    "egress of a pod without an address of the node's family": (
        {**Out, "groups": ["one"]}, [API], {6}, [],
    ),
    "any peer is two networks of prefix length 0; the node has one family": (
        {**In, "blocks": [("0.0.0.0/0", []), ("::/0", [])]}, [BARE], {4},
        [row(source={"0.0.0.0/0"}, to={"port 3"}, isolates={"port 3"})],
    ),
    "ipBlock with except, host bits ignored": (
        {**In, "blocks": [("10.9.0.77/24", ["10.9.0.0/26", "10.9.0.128/25"])]}, [BARE], {4},
        [row(source={"10.9.0.64/26"}, to={"port 3"}, isolates={"port 3"})],
    ),
    "ipBlock wholly excepted matches nothing": (
        {**In, "blocks": [("10.9.0.0/24", ["10.0.0.0/8"])]}, [BARE], {4},
        [row(source=set(), to={"port 3"}, isolates={"port 3"})],
    ),
    "ports: a range, a protocol alone, one written twice, a range of one": (
        {**In, "groups": ["one"],
         "services": [("UDP", 5, 9), ("SCTP", None, None), ("UDP", 5, 9), ("TCP", 7, 7)]},
        [BARE], {4},
        [row(source={"10.1.0.1"}, to={"port 3"}, ports=["SCTP/", "TCP/7", "UDP/5-9"], isolates={"port 3"})],
    ),
    "ingress with a named port: targets that call it alike share a rule": (
        {**In, "groups": ["one"], "services": [("TCP", "http", None)]}, [WEB, API, BARE], {4},
        [row("none", source=set(), to={"port 3"}, isolates={"port 3"}, allows=False),
         row("TCP:80", source={"10.1.0.1"}, to={"port 1"}, ports=["TCP/80"], isolates={"port 1"}),
         row("TCP:8080", source={"10.1.0.1"}, to={"port 2"}, ports=["TCP/8080"], isolates={"port 2"})],
    ),
    "a name counts only with its protocol": (
        {**In, "groups": ["one"], "services": [("UDP", "http", None), ("UDP", "dns", None)]}, [WEB], {4},
        [row("UDP:53", source={"10.1.0.1"}, to={"port 1"}, ports=["UDP/53"], isolates={"port 1"})],
    ),
    "a name that does not resolve leaves the numbers": (
        {**In, "groups": ["one"], "services": [("TCP", "http", None), ("TCP", 443, None)]}, [WEB, BARE], {4},
        [row("TCP:443", source={"10.1.0.1"}, to={"port 3"}, ports=["TCP/443"], isolates={"port 3"}),
         row("TCP:80,TCP:443", source={"10.1.0.1"}, to={"port 1"}, ports=["TCP/80", "TCP/443"],
             isolates={"port 1"})],
    ),
    "egress with a named port: by what each destination calls so; none has no rule": (
        {**Out, "groups": ["db"], "services": [("TCP", "http", None)]}, [BARE], {4},
        [row("none", source={"10.0.0.3"}, to=set(), isolates={"10.0.0.3"}, allows=False),
         row("TCP:80", source={"10.0.0.3"}, to={"10.1.0.1"}, ports=["TCP/80"], isolates={"10.0.0.3"}),
         row("TCP:8080", source={"10.0.0.3"}, to={"10.1.0.2"}, ports=["TCP/8080"], isolates={"10.0.0.3"})],
    ),
    "egress with names and numbers to a block: the numbers only": (
        {**Out, "groups": ["one"], "blocks": [("0.0.0.0/0", [])],
         "services": [("TCP", "http", None), ("UDP", 53, None)]}, [BARE], {4},
        [row("none", source={"10.0.0.3"}, to=set(), isolates={"10.0.0.3"}, allows=False),
         row("UDP:53", source={"10.0.0.3"}, to={"0.0.0.0/0", "10.1.0.1"}, ports=["UDP/53"],
             isolates={"10.0.0.3"})],
    ),
    "egress with a name to a block alone: nothing": (
        {**Out, "blocks": [("0.0.0.0/0", [])], "services": [("TCP", "http", None)]}, [BARE], {4},
        [row("none", source={"10.0.0.3"}, to=set(), isolates={"10.0.0.3"}, allows=False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_resolution(case: str) -> None:
    rule, targets, families, expected = CASES[case]
    assert [show(made) for made in rules(rule, targets, families)] == expected


def test_the_id_of_a_rule_keeps_its_meaning() -> None:
    """Same content, same id, whatever else the policy has and in whatever order; other content, other id."""
    one = {**In, "groups": ["one"], "services": TCP80}
    two = {**Out, "groups": ["db"]}
    alone = wire.policy(policy_message("p1", [one], ["a"])).rules[0].id
    both = [rule.id for rule in wire.policy(policy_message("p1", [two, one], ["a"])).rules]
    assert alone in both
    assert len(set(both)) == 2
    assert wire.policy(policy_message("p2", [one], ["a"])).rules[0].id != alone
    changed = {**one, "services": [("TCP", 81, None)]}
    assert wire.policy(policy_message("p1", [changed], ["a"])).rules[0].id != alone
    # Another selection of pods is the same rule with other targets: its conjunction goes on.
    assert wire.policy(policy_message("p1", [one], ["b"])).rules[0].id == alone


def test_a_rule_written_twice_is_one() -> None:
    one = {**In, "groups": ["one"], "services": TCP80}
    assert len(wire.policy(policy_message("p1", [one, one], ["a"])).rules) == 1


def test_two_interfaces_of_one_pod_are_both_covered() -> None:
    """For a moment a pod has the interface of a dead sandbox and that of its successor."""
    policy = wire.policy(policy_message("p1", [{**In, "groups": ["one"]}], ["atg"]))
    store = store_of(pod_interface("ns", "web", 7, "10.0.0.7"), pod_interface("ns", "web", 8, "10.0.0.8"))
    applied = wire.group(Kind.APPLIED_TO_GROUP, group_message(Kind.APPLIED_TO_GROUP, "atg", [BARE, WEB]))
    made = resolve(
        policy.rules[0], applied.decoded(), lambda _: [], lambda _: frozenset(), store.for_pod,
        frozenset({4}),
    )  # fmt: skip
    assert made[0].destinations == {OFPort(7), OFPort(8)}


def test_policies_of_other_types_say_that_they_are_not_enforced() -> None:
    policy = wire.policy(policy_message("p1", [In], ["a"], type="AntreaClusterNetworkPolicy"))
    assert not policy.rules
    assert "AntreaClusterNetworkPolicy are not enforced" in policy.unsupported


def test_senseless_parts_of_an_object_are_left_out_and_the_rest_goes_on() -> None:
    message = wire.pb.NetworkPolicy.FromString(
        policy_message("p1", [{**In, "blocks": [("10.0.0.0/8", [])]}], ["a"])
    )
    bad = getattr(message.rules[0], "from").ipBlocks.add()
    bad.cidr.ip, bad.cidr.prefixLength = b"12345", 8
    far = getattr(message.rules[0], "from").ipBlocks.add()
    far.cidr.ip, far.cidr.prefixLength = b"\x0a\0\0\0", 200
    policy = wire.policy(message.SerializeToString())
    assert [str(block.cidr) for block in policy.rules[0].peer.ip_blocks] == ["10.0.0.0/8"]

    group = wire.pb.AddressGroup(groupMembers=[wire.pb.GroupMember(ips=[b"123", b"\x0a\0\0\x01"])])
    (member,) = wire.group(Kind.ADDRESS_GROUP, group.SerializeToString()).decoded()
    assert member.ips == (IP("10.0.0.1"),)


def test_an_address_that_two_members_share_stays_until_both_are_gone() -> None:
    """A pod's address can pass to another pod before the first one's end is heard of."""
    old, new = {"pod": ("ns", "old"), "ips": ["10.1.0.1"]}, {"pod": ("ns", "new"), "ips": ["10.1.0.1"]}
    group = wire.group(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", [old]))
    for added, removed, left in (([new], [], True), ([], [old], True), ([], [old], True), ([], [new], False)):
        group = patched(group, wire.group_patch(Kind.ADDRESS_GROUP, patch_message("g", added, removed)))
        assert (IP("10.1.0.1") in group_addresses(group, frozenset({4}))) is left


def test_the_ports_of_a_member_are_not_part_of_its_identity() -> None:
    one = {"pod": ("ns", "a"), "ips": ["10.1.0.1"], "ports": [("http", "TCP", 80)]}
    group = wire.group(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", [one]))
    other = {**one, "ports": [("http", "TCP", 81)]}
    group = patched(group, wire.group_patch(Kind.ADDRESS_GROUP, patch_message("g", [other], [])))
    assert [member.ports for member in group.decoded()] == [(NamedPort("http", "TCP", 81),)]
    group = patched(group, wire.group_patch(Kind.ADDRESS_GROUP, patch_message("g", [], [one])))
    assert not group.members
    assert not group_addresses(group, frozenset({4}))


def test_group_messages_survive_a_round_trip() -> None:
    for kind, members in ((Kind.ADDRESS_GROUP, PEERS["db"]), (Kind.APPLIED_TO_GROUP, [WEB, API, BARE])):
        group = wire.group(kind, group_message(kind, "g", members))
        again = wire.group(kind, wire.group_message(group))
        assert again == group
    assert (
        NamedPort("http", "TCP", 80)
        in next(
            iter(
                wire.group(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", PEERS["db"])).decoded()
            )
        ).ports
    )


@pytest.mark.parametrize(
    ("cidr", "excepts", "left"),
    [
        ("10.0.0.0/24", [], ["10.0.0.0/24"]),
        ("10.0.0.0/24", ["10.0.0.128/25"], ["10.0.0.0/25"]),
        ("10.0.0.0/30", ["10.0.0.1/32"], ["10.0.0.0/32", "10.0.0.2/31"]),
        ("10.0.0.0/24", ["10.0.0.0/24"], []),
        ("10.0.0.0/24", ["10.1.0.0/24", "fd00::/8"], ["10.0.0.0/24"]),
        ("10.0.0.0/24", ["10.0.0.0/25", "10.0.0.0/26"], ["10.0.0.128/25"]),
        ("fd00::/126", ["fd00::2/127"], ["fd00::/127"]),
    ],
)
def test_subtraction(cidr: str, excepts: list[str], left: list[str]) -> None:
    assert subtract(NET(cidr), tuple(map(NET, excepts))) == tuple(map(NET, left))
