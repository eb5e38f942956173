"""Which rule is served where. A path is served only when its feature gate is on: kube-apiserver then refuses
writes of the kind, because the webhook that it is told to call answers 404 (as with Antrea)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from apiserver.admission import Admission, ByKind, GroupVersionKind
from apiserver.conversion import Conversion
from apiserver.server import ApiServer
from client.resources import CLUSTER_GROUPS, CLUSTER_POLICIES, GROUPS, POLICIES
from client.rest import RestClient
from controller.admission import features, namespaces
from controller.admission.groups import ClusterGroup, Group, GroupRules, Groups
from controller.admission.known import Known
from controller.admission.policies import naming
from controller.admission.policies.rules import PolicyRules
from controller.admission.references import TierReferences
from controller.admission.tiers import TierRules, Tiers
from controller.admission.tiers import look_up as tier_in_cluster
from controller.admission.unbuilt import unbuilt
from controller.admission.upstream_policies import UpstreamPolicyRules
from runtime.features import FeatureGates

# kube-apiserver calls webhooks without credentials. The paths are open to all whether they are served or not:
# one that is not has to answer 404 (Antrea v2.7).
_VALIDATED: Final = (
    "acnp annp antreanodeconfig clustergroup cnp egress externalippool group ippool packetcapture "
    "supportbundlecollection tier traceflow"
)
OPEN_PATHS: Final = frozenset(
    {
        *(f"/mutate/{name}" for name in ("acnp", "annp", "anp", "namespace")),
        *(f"/validate/{name}" for name in _VALIDATED.split()),
        *(f"/convert/{name}" for name in ("clustergroup", "egress", "externalippool", "ippool")),
    }
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the rules are told once. ``account`` is the controller's own user name, ``namespace`` where
    it runs."""

    gates: FeatureGates
    client: RestClient
    account: str
    namespace: str = "kube-system"


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Where rules are registered: webhooks, conversions, and the tables that the rules look into."""

    admission: Admission
    conversion: Conversion
    known: Known
    circumstances: Circumstances


def register(server: ApiServer, circumstances: Circumstances) -> Known:
    """Serve every webhook that the gates call for. What is returned has the watches to be run."""
    server.always_allow |= OPEN_PATHS
    webhooks = Webhooks(Admission(server), Conversion(server), Known(), circumstances)
    enabled = circumstances.gates.enabled
    webhooks.admission.path("/mutate/namespace", namespaces.mutate)
    if enabled("AntreaPolicy"):
        _policies(webhooks)
    features.register(webhooks)
    return webhooks.known


def _policies(webhooks: Webhooks) -> None:
    """One handler for all kinds of policy, tier and group: it goes by the kind, not by the path."""
    enabled = webhooks.circumstances.gates.enabled
    tiers = Tiers()
    cluster_policies = TierReferences(CLUSTER_POLICIES, "ClusterNetworkPolicy")
    policies = TierReferences(POLICIES, "NetworkPolicy")
    cluster_groups, groups = Groups(CLUSTER_GROUPS, "ClusterGroup"), Groups(GROUPS, "Group")
    for table in (tiers, cluster_policies, policies, cluster_groups, groups):
        webhooks.known.add(table)

    look_up = functools.partial(tier_in_cluster, webhooks.circumstances.client)
    policy_rules = PolicyRules(tiers.has, look_up, layer7=enabled("L7NetworkPolicy"))
    tier_rules = TierRules(
        tiers,
        cluster_policies,
        policies,
        account=webhooks.circumstances.account,
        upstream_policies=enabled("ClusterNetworkPolicy"),
    )
    rules = ByKind()
    for kind, handler in (
        ("ClusterNetworkPolicy", unbuilt(policy_rules)),
        ("NetworkPolicy", unbuilt(policy_rules)),
        ("Tier", tier_rules),
        ("ClusterGroup", GroupRules(ClusterGroup, cluster_groups)),
        ("Group", GroupRules(Group, groups)),
    ):
        rules.add(GroupVersionKind("crd.antrea.io", "v1beta1", kind), handler)

    admission = webhooks.admission
    for name in ("tier", "acnp", "annp", "clustergroup", "group"):
        admission.path(f"/validate/{name}", rules)
    for name in ("acnp", "annp", "anp"):  # anp: the name of annp in manifests of old
        admission.path(f"/mutate/{name}", naming.mutate)
    admission.path("/validate/cnp", UpstreamPolicyRules(tiers, enabled=enabled("ClusterNetworkPolicy")))
