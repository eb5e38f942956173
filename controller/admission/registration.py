"""Which rule is served where. A path is served only when its feature gate is on: kube-apiserver then refuses
writes of the kind, because the webhook that it is told to call answers 404 (as with Antrea)."""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.admission import Admission, ByKind, GroupVersionKind
from apiserver.conversion import Conversion
from apiserver.server import ApiServer
from client.resources import CLUSTER_POLICIES, POLICIES
from client.rest import RestClient
from controller.admission.known import Known
from controller.admission.references import TierReferences
from controller.admission.tiers import TierRules, Tiers
from runtime.features import FeatureGates


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the rules are told once. ``account`` is the controller's own user name."""

    gates: FeatureGates
    client: RestClient
    account: str


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Where rules are registered: webhooks, conversions, and the tables that the rules look into."""

    admission: Admission
    conversion: Conversion
    known: Known
    circumstances: Circumstances


def register(server: ApiServer, circumstances: Circumstances) -> Known:
    """Serve every webhook that the gates call for. What is returned has the watches to be run."""
    webhooks = Webhooks(Admission(server), Conversion(server), Known(), circumstances)
    enabled = circumstances.gates.enabled
    if enabled("AntreaPolicy"):
        _policies(webhooks)
    return webhooks.known


def _policies(webhooks: Webhooks) -> None:
    """One handler for all kinds of policy, tier and group: it goes by the kind, not by the path."""
    circumstances = webhooks.circumstances
    tiers = Tiers()
    cluster_policies = TierReferences(CLUSTER_POLICIES, "ClusterNetworkPolicy")
    policies = TierReferences(POLICIES, "NetworkPolicy")
    for table in (tiers, cluster_policies, policies):
        webhooks.known.add(table)

    rules = ByKind()
    rules.add(
        GroupVersionKind("crd.antrea.io", "v1beta1", "Tier"),
        TierRules(
            tiers,
            cluster_policies,
            policies,
            account=circumstances.account,
            upstream_policies=circumstances.gates.enabled("ClusterNetworkPolicy"),
        ),
    )
    for path in ("tier",):
        webhooks.admission.path(f"/validate/{path}", rules)
