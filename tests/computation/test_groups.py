"""Membership, spans and what is told of a change. Numbers are those of the project's list of cases."""

from __future__ import annotations

import pytest

from computation import groups
from tests.computation.manifests import Manifest, namespace, namespaces, pod, pods, policy
from tests.computation.oracle import Member
from tests.computation.world import World, name, told

FOO, BAR, ALL = pods(app="foo"), pods(app="bar"), pods()
FROM_FOO = [{"from": [FOO]}]
TO_FOO = [{"to": [FOO]}]
BOTH = policy(applied={"app": "foo"}, types=["Ingress", "Egress"], ingress=FROM_FOO, egress=[{"to": [ALL]}])

# case, pod, in the address groups, in the applied-to group
MEMBERSHIP: list[tuple[str, Manifest, bool, bool]] = [
    ("49 an ordinary pod", pod("a", {"app": "foo"}), True, True),
    ("50 on the host's network", pod("a", {"app": "foo"}, host_network=True), False, False),
    ("50 succeeded", pod("a", {"app": "foo"}, phase="Succeeded"), False, False),
    ("50 failed", pod("a", {"app": "foo"}, phase="Failed"), False, False),
    ("51 without addresses", pod("a", {"app": "foo"}, ips=()), False, True),
    ("52 without a node", pod("a", {"app": "foo"}, node=""), True, False),
    ("pending, with an address", pod("a", {"app": "foo"}, phase="Pending"), True, True),
]


@pytest.mark.parametrize(
    "manifest, addresses, applied_to", [case[1:] for case in MEMBERSHIP], ids=[case[0] for case in MEMBERSHIP]
)
def test_membership(manifest: Manifest, addresses: bool, applied_to: bool) -> None:
    for world in (World(manifest, BOTH), World(BOTH, manifest)):
        assert world.pods("addressgroups", name(FOO)) == ({"a"} if addresses else set())
        assert world.pods("addressgroups", name(ALL)) == ({"a"} if addresses else set())
        assert world.pods("appliedtogroups", name(FOO)) == ({"a"} if applied_to else set())


def test_named_ports_are_part_of_a_member() -> None:
    """Case 53: unnamed ones are not."""
    ports = ((80, "http", "TCP"), (81, None, "TCP"), (53, "dns", "UDP"))
    world = World(pod("a", {"app": "foo"}, ports=ports), BOTH)
    expected = ((80, "http", "TCP"), (53, "dns", "UDP"))
    assert world.all.members("addressgroups")[name(FOO)] == {Member("nsA", "a", ("1.2.3.4",), expected)}
    assert world.all.members("appliedtogroups")[name(FOO)] == {Member("nsA", "a", (), expected)}


def test_the_service_account_is_a_label() -> None:
    by_account = {"podSelector": {"matchLabels": {"internal.antrea.io/service-account": "sa1"}}}
    manifest = pod("a")
    manifest["spec"]["serviceAccountName"] = "sa1"
    world = World(manifest, pod("b"), policy(types=["Ingress"], ingress=[{"from": [by_account]}]))
    assert world.pods("addressgroups", name(by_account)) == {"a"}


NODES = ("nodeA", "nodeB", "nodeC")


def test_spans() -> None:
    """Case 59: a group of addresses is needed wherever a policy that uses it applies."""
    world = World(
        pod("a1", {"app": "a"}, node="nodeA"),
        pod("a2", {"app": "a"}, node="nodeB"),
        pod("b", {"app": "b"}, node="nodeC"),
        pod("foo", {"app": "foo"}, node="nodeC"),
        policy("p", applied={"app": "a"}, types=["Ingress"], ingress=FROM_FOO),
        policy("q", applied={"app": "b"}, types=["Egress"], egress=TO_FOO),
        nodes=NODES,
    )
    assert world.span("appliedtogroups", name(pods(app="a"))) == {"nodeA", "nodeB"}
    assert world.span("networkpolicies", "uid-p") == {"nodeA", "nodeB"}
    assert world.span("networkpolicies", "uid-q") == {"nodeC"}
    assert world.span("addressgroups", name(FOO)) == {"nodeA", "nodeB", "nodeC"}
    world.remove(policy("q"))
    assert world.span("addressgroups", name(FOO)) == {"nodeA", "nodeB"}
    # Every node sees all addresses, but only its own targets.
    assert world.nodes["nodeA"].members("addressgroups")[name(FOO)] == {Member("nsA", "foo", ("1.2.3.4",))}
    assert world.nodes["nodeA"].members("appliedtogroups")[name(pods(app="a"))] == {Member("nsA", "a1")}


def test_an_edited_policy_changes_its_groups() -> None:
    """Case 60: the groups of the old selector go, those of the new one come, nothing else is told."""
    world = World(policy(applied={"app": "a"}, types=["Ingress"], ingress=FROM_FOO))
    events = world.change(
        policy(applied={"app": "b"}, types=["Ingress"], ingress=[{"from": [BAR]}], generation=2)
    )
    assert told(events) == sorted(
        [
            ("ADDED", "addressgroups", name(BAR)),
            ("ADDED", "appliedtogroups", name(pods(app="b"))),
            ("DELETED", "addressgroups", name(FOO)),
            ("DELETED", "appliedtogroups", name(pods(app="a"))),
            ("MODIFIED", "networkpolicies", "uid-p"),
        ]
    )
    order = [(kind, resource) for kind, resource, _ in events]
    assert order.index(("ADDED", "addressgroups")) < order.index(("MODIFIED", "networkpolicies"))
    assert order.index(("MODIFIED", "networkpolicies")) < order.index(("DELETED", "addressgroups"))


def test_a_deleted_policy_takes_its_groups_along() -> None:
    """Case 61."""
    manifest = policy(types=["Ingress"], ingress=FROM_FOO)
    world = World(pod("a", {"app": "foo"}), manifest)
    assert told(world.remove(manifest)) == sorted(
        [
            ("DELETED", "networkpolicies", "uid-p"),
            ("DELETED", "addressgroups", name(FOO)),
            ("DELETED", "appliedtogroups", name(ALL)),
        ]
    )


def test_a_policy_of_the_same_name_is_another_policy() -> None:
    """Case 62: what the two share survives."""
    world = World(pod("a", {"app": "foo"}), policy(uid="one", types=["Ingress"], ingress=FROM_FOO))
    events = world.change(policy(uid="two", types=["Ingress"], ingress=FROM_FOO))
    assert told(events) == [("ADDED", "networkpolicies", "two"), ("DELETED", "networkpolicies", "one")]
    assert world.pods("addressgroups", name(FOO)) == {"a"}


def test_shared_groups_outlive_one_of_their_policies() -> None:
    """Case 63, within one batch and over two."""
    p = policy("p", types=["Ingress"], ingress=FROM_FOO)
    q = policy("q", types=["Ingress"], ingress=FROM_FOO)
    world = World(p, q)
    assert told(world.remove(p)) == [("DELETED", "networkpolicies", "uid-p")]
    world.graph.delete_network_policy("nsA", "q")
    assert told(world.change(q)) == []  # gone and back in one batch


FOO_BAR_ALL = policy(types=["Ingress"], ingress=[{"from": [FOO]}, {"from": [BAR]}, {"from": [ALL]}])


def test_a_relabelled_pod_moves_between_groups() -> None:
    """Case 72: the group of all pods is not told."""
    world = World(pod("a", {"app": "foo"}), FOO_BAR_ALL)
    assert told(world.change(pod("a", {"app": "bar"}))) == sorted(
        [("MODIFIED", "addressgroups", name(FOO)), ("MODIFIED", "addressgroups", name(BAR))]
    )


def test_which_changes_of_a_pod_are_told() -> None:
    """Case 73."""
    world = World(pod("a", {"app": "foo"}, phase="Pending"), FOO_BAR_ALL)
    both = sorted([("MODIFIED", "addressgroups", name(FOO)), ("MODIFIED", "addressgroups", name(ALL))])
    assert told(world.change(pod("a", {"app": "foo"}, phase="Pending", ips=("1.2.3.5",)))) == both
    assert world.change(pod("a", {"app": "foo"}, phase="Running", ips=("1.2.3.5",))) == []
    annotated = pod("a", {"app": "foo"}, ips=("1.2.3.5",))
    annotated["metadata"]["annotations"] = {"x": "y"}
    assert world.change(annotated) == []
    events = world.change(pod("a", {"app": "foo"}, phase="Succeeded", ips=("1.2.3.5",)))
    assert told(events) == sorted([*both, ("MODIFIED", "appliedtogroups", name(ALL))])


def test_a_relabelled_namespace_moves_between_groups() -> None:
    """Case 74."""
    one, two, three = namespaces(env="one"), namespaces(env="two"), namespaces(other="x")
    world = World(
        namespace("nsB", {"env": "one"}),
        pod("a", namespace="nsB"),
        policy(types=["Ingress"], ingress=[{"from": [one]}, {"from": [two]}, {"from": [three]}]),
    )
    assert world.pods("addressgroups", name(one)) == {"a"}
    assert told(world.change(namespace("nsB", {"env": "two"}))) == sorted(
        [("MODIFIED", "addressgroups", name(one)), ("MODIFIED", "addressgroups", name(two))]
    )
    assert world.pods("addressgroups", name(two)) == {"a"}


def test_pods_of_an_unknown_namespace() -> None:
    """Only the empty namespace selector selects them, until the Namespace is known."""
    negative = {"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}}
    world = World(
        pod("a", namespace="nsB"),
        policy(types=["Ingress"], ingress=[{"from": [negative]}, {"from": [namespaces()]}]),
    )
    assert world.pods("addressgroups", name(negative)) == set()
    assert world.pods("addressgroups", name(namespaces())) == {"a"}
    world.change(namespace("nsB"))
    assert world.pods("addressgroups", name(negative)) == {"a"}


def test_a_node_sees_a_policy_come_change_and_go() -> None:
    """Case 75: span {1,2} → {1,3} → {1,3} with other rules → {1,2}, as node 3 sees it."""
    targets = [pod(f"t{number}", {"app": "t"}, node=f"node{number}") for number in (1, 2, 3)]
    manifest = policy(applied={"app": "t"}, types=["Ingress"])
    world = World(targets[0], targets[1], manifest, nodes=("node3",))
    assert not world.nodes["node3"].policies
    world.remove(targets[1])
    world.change(targets[2])
    assert [event[:2] for event in world.node_events["node3"]] == [
        ("ADDED", "appliedtogroups"),
        ("ADDED", "networkpolicies"),
    ]
    world.change(policy(applied={"app": "t"}, types=["Ingress"], ingress=[{}], generation=2))
    assert [event[:2] for event in world.node_events["node3"]] == [("MODIFIED", "networkpolicies")]
    world.remove(targets[2])
    events = world.node_events["node3"]
    assert [event[:2] for event in events] == [("DELETED", "networkpolicies"), ("DELETED", "appliedtogroups")]
    # Only what is needed to know which one it was.
    assert set(events[0][2]) == {"metadata", "sourceRef"}
    assert set(events[1][2]) == {"metadata"}


def test_a_span_that_changes_elsewhere_is_not_told() -> None:
    """Cases 76 and 77, for a node that stays in all spans."""
    manifest = policy(applied={"app": "t"}, types=["Ingress"], ingress=FROM_FOO)
    world = World(pod("t1", {"app": "t"}, node="nodeA"), manifest, nodes=NODES)
    world.change(pod("t2", {"app": "t"}, node="nodeB"))
    assert world.node_events["nodeA"] == []
    assert len(world.node_events["nodeB"]) == 3


def test_a_pod_that_comes_back_with_another_address() -> None:
    """Case 78: one patch that adds and removes; the applied-to group has no addresses and is not told."""
    world = World(pod("a", {"app": "foo"}), BOTH, nodes=("nodeA",))
    world.change(pod("a", {"app": "foo"}, ips=("1.2.3.9",)))
    for _, resource, patch in world.node_events["nodeA"]:
        assert resource == "addressgroups"
        assert [entry["ips"] for entry in patch["addedGroupMembers"]] == [["AAAAAAAAAAAAAP//AQIDCQ=="]]
        assert [entry["ips"] for entry in patch["removedGroupMembers"]] == [["AAAAAAAAAAAAAP//AQIDBA=="]]
    assert len(world.node_events["nodeA"]) == 2  # the group of foo and that of all pods


def test_a_pod_that_comes_back_with_other_ports() -> None:
    """The member is only added: it takes the place of the one with the same name and addresses."""
    before, after = ((80, "http", "TCP"),), ((8080, "http", "TCP"),)
    world = World(pod("a", {"app": "foo"}, ports=before), BOTH, nodes=("nodeA",))
    world.change(pod("a", {"app": "foo"}, ports=after))
    assert {event[1] for event in world.node_events["nodeA"]} == {"addressgroups", "appliedtogroups"}
    for _, _, patch in world.node_events["nodeA"]:
        assert "removedGroupMembers" not in patch
        assert patch["addedGroupMembers"][0]["ports"][0]["port"] == 8080


def test_a_pod_that_moves_to_another_node_in_one_batch() -> None:
    """Both nodes are told what concerns them; the node that is left is told only the end."""
    world = World(pod("a", {"app": "foo"}, node="nodeA"), BOTH, nodes=NODES)
    world.change(pod("a", {"app": "foo"}, node="nodeB"))
    assert [event[0] for event in world.node_events["nodeA"]] == ["DELETED"] * 4
    assert [event[0] for event in world.node_events["nodeB"]] == ["ADDED"] * 4
    assert world.node_events["nodeB"][-1][1] == world.node_events["nodeA"][0][1] == "networkpolicies"


def test_a_large_group_counts_its_members_by_node() -> None:
    """Above a size members are counted, from the first time that a node may have lost its last one."""
    many = groups.LARGE_FROM + 1
    everyone = [pod(f"a{number}", {"app": "t"}, node=NODES[number % 3]) for number in range(many)]
    world = World(*everyone, policy(applied={"app": "t"}, types=["Ingress"]), nodes=NODES)
    for manifest in everyone[3::3]:
        world.remove(manifest)
    assert world.span("networkpolicies", "uid-p") == set(NODES)
    world.change(everyone[3])
    world.remove(everyone[0])
    assert world.span("networkpolicies", "uid-p") == set(NODES)
    world.remove(everyone[3])
    assert world.span("networkpolicies", "uid-p") == {"nodeB", "nodeC"}
    world.change(everyone[0])
    assert world.span("networkpolicies", "uid-p") == set(NODES)
