"""Tier, ClusterGroup and Group: what policies refer to."""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import Schema, integer, items, record, required, string, strings
from openapi.definitions.shapes import conditions, ip_block, namespaced_name, selector


def _tier() -> Schema:
    spec = record(
        "What is wanted.",
        {
            "priority": required(integer("Order among the tiers: lower goes first.", 0, 255)),
            "description": string("What the tier is for."),
        },
    )
    return root("A rank that policies belong to: all of one tier go before all of the next.", spec)


def _group(*, cluster: bool) -> Schema:
    def pick(description: str) -> Schema:
        return selector(description, typed=cluster, checked_values=cluster)

    kind = "ClusterGroup" if cluster else "Group"
    fields = {
        "podSelector": pick("Pods, in all Namespaces unless some are selected." if cluster else "Pods."),
        "namespaceSelector": pick("Namespaces all or some of whose members are meant."),
        "externalEntitySelector": pick("ExternalEntities."),
    }
    if cluster:
        fields["nodeSelector"] = pick("Nodes.")
    fields |= {
        "ipBlocks": items("Ranges of addresses.", ip_block("A range of addresses.")),
        "serviceReference": namespaced_name("Service whose endpoints are meant.", "Service", needed=False),
        "childGroups": strings(f"{kind}s whose members this one has too. They have no children themselves."),
    }
    status = record("What is computed.", {"conditions": conditions("GroupMembersComputed")})
    text = "One way of selecting, or a Namespace selector with one for Pods or ExternalEntities."
    title = f"Workloads or addresses {'' if cluster else 'of a Namespace '}under a name that policies use."
    return root(title, record(text, fields), status)


TIER = Definition(
    "Tier",
    "tiers",
    ["tr"],
    [Version("v1beta1", _tier(), [Column("Priority", ".spec.priority", "integer"), AGE])],
)

CLUSTER_GROUP = Definition(
    "ClusterGroup", "clustergroups", ["cg"], [Version("v1beta1", _group(cluster=True), status=True)]
)

GROUP = Definition(
    "Group",
    "groups",
    ["grp"],
    [Version("v1beta1", _group(cluster=False), status=True)],
    namespaced=True,
    labelled=False,
)
