"""Refusals of groups and Tiers of which there is no recording."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from client.resources import CLUSTER_GROUPS, CLUSTER_POLICIES, GROUPS, POLICIES
from controller.admission.groups import ClusterGroup, Group, GroupRules, Groups, GroupSpec
from controller.admission.references import TierReferences
from controller.admission.tiers import Tier, TierRules, Tiers
from tests.controller.admission.replay import ACCOUNT, fill


def group(name: str, children: list[str], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"metadata": metadata, "spec": {"childGroups": children}}


async def cluster_groups(*existing: dict[str, Any]) -> Groups:
    table = Groups(CLUSTER_GROUPS, "ClusterGroup")
    await fill(table, existing)
    return table


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"ipBlocks": [{"cidr": "ff02::/16"}, {"cidr": "fd00::/64"}]},
            "can not set multicast groupAddress together with unicast ip address",
        ),
        ({"ipBlocks": [{"cidr": "10.0.0.0/33"}]}, "invalid CIDR address: 10.0.0.0/33"),
        (
            {"ipBlocks": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]},
            "except CIDR 10.0.0.0/8 is not a strict subset of CIDR 10.0.0.0/8",
        ),
        (
            {"podSelector": {}, "namespaceSelector": {}, "externalEntitySelector": {}},
            "At most one of podSelector, nodeSelector, externalEntitySelector, serviceReference, ipBlock, "
            "ipBlocks or childGroups can be set for a ClusterGroup",
        ),
        ({"childGroups": ["g", "parent"]}, "cannot set ClusterGroup g as its own childGroup"),
        (
            {"childGroups": ["leaf", "parent"]},
            "cannot set ClusterGroup parent as childGroup, who has 1 childGroups itself",
        ),
        ({"podSelector": {}, "childGroups": None, "ipBlocks": None}, None),
        ({"namespaceSelector": {}, "externalEntitySelector": {}}, None),
        ({"childGroups": ["leaf", "not-there-yet"]}, None),
    ],
)
async def test_a_cluster_group(spec: dict[str, Any], message: str | None) -> None:
    rules = GroupRules(ClusterGroup, await cluster_groups(group("parent", ["leaf"])))
    assert rules.refusal(("", "g"), msgspec.convert(spec, GroupSpec)) == message


async def test_a_group_is_a_child_until_the_last_parent_is_gone() -> None:
    table = await cluster_groups(group("p1", ["leaf", "leaf"]), group("p2", ["leaf"]))
    rules = GroupRules(ClusterGroup, table)
    spec = GroupSpec(child_groups=["x"])

    assert (
        rules.refusal(("", "leaf"), spec) == "cannot set childGroups for ClusterGroup leaf, who has 2 parents"
    )
    await fill(table, [group("p1", ["leaf"]), group("p2", [])])
    assert (
        rules.refusal(("", "leaf"), spec) == "cannot set childGroups for ClusterGroup leaf, who has 1 parents"
    )
    await fill(table, [])
    assert rules.refusal(("", "leaf"), spec) is None


async def test_groups_of_other_namespaces_are_no_relatives() -> None:
    table = Groups(GROUPS, "Group")
    await fill(table, [group("leaf", ["x"], "ns1"), group("parent", ["other"], "ns1")])
    rules = GroupRules(Group, table)

    assert rules.refusal(("ns2", "g"), GroupSpec(child_groups=["leaf"])) is None
    assert rules.refusal(("ns2", "other"), GroupSpec(child_groups=["x"])) is None
    assert rules.refusal(("ns1", "g"), GroupSpec(child_groups=["leaf"])) == (
        "cannot set Group ns1/leaf as childGroup, who has 1 childGroups itself"
    )


async def tier_rules(
    *tiers: tuple[str, int], policies: tuple[str, ...] = (), upstream: bool = False
) -> TierRules:
    known = Tiers()
    await fill(known, [{"metadata": {"name": n}, "spec": {"priority": p}} for n, p in tiers])
    cluster, namespaced = TierReferences(CLUSTER_POLICIES, "a"), TierReferences(POLICIES, "b")
    await fill(
        cluster, [{"metadata": {"name": f"p{i}"}, "spec": {"tier": t}} for i, t in enumerate(policies)]
    )
    await fill(namespaced, [])
    return TierRules(known, cluster, namespaced, account=ACCOUNT, upstream_policies=upstream)


def tier(priority: int) -> Tier:
    return msgspec.convert({"metadata": {"name": "t"}, "spec": {"priority": priority}}, Tier)


@pytest.mark.parametrize("priority", [251, 252, 254, 255])
async def test_priorities_that_nobody_may_take(priority: int) -> None:
    assert (await tier_rules()).create(tier(priority)) == f"tier t priority {priority} is reserved"


async def test_220_is_free_unless_upstream_policies_are_on() -> None:
    assert (await tier_rules()).create(tier(220)) is None
    refusal = (await tier_rules(upstream=True)).create(tier(220))
    assert refusal is not None
    assert "reserved for upstream ClusterNetworkPolicy" in refusal


async def test_tiers_of_equal_priority_count_once_towards_the_limit() -> None:
    nineteen = [(f"t{number}", number) for number in range(19)]
    rules = await tier_rules(*nineteen, ("again", 18))
    assert rules.create(tier(30)) is None
    rules = await tier_rules(*nineteen, ("more", 19))
    assert rules.create(tier(30)) == "maximum number of Tiers supported: 20"


async def test_only_the_controller_may_change_a_priority() -> None:
    rules = await tier_rules()
    assert rules.update(tier(2), tier(1), "alice") == "update to Tier priority is not allowed"
    assert rules.update(tier(2), tier(1), ACCOUNT) is None
    assert rules.update(tier(1), tier(1), "alice") is None


@pytest.mark.parametrize(
    "name", ["emergency", "securityops", "networkops", "platform", "application", "baseline"]
)
async def test_a_built_in_tier_stays(name: str) -> None:
    assert (await tier_rules()).delete(name) == f"cannot delete reserved tier {name}"


async def test_a_tier_stays_while_policies_name_it_and_they_are_counted_by_their_own_spelling() -> None:
    rules = await tier_rules(policies=("x", "x", "X"))
    assert rules.delete("x") == "tier x is referenced by 2 Antrea ClusterNetworkPolicies"
    assert rules.delete("X") == "tier X is referenced by 1 Antrea ClusterNetworkPolicies"
    assert rules.delete("y") is None
