"""ClusterNetworkPolicy of policy.networking.k8s.io: refused while it would not be enforced."""

from __future__ import annotations

from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from controller.admission.tiers import UPSTREAM_PRIORITY, Tiers

DISABLED = "ClusterNetworkPolicy is not supported: the ClusterNetworkPolicy feature gate is not enabled"
BLOCKED = (
    f"ClusterNetworkPolicy creation is blocked: a user-created Tier at priority {UPSTREAM_PRIORITY} "
    "(cnpAdminTierPriority) already exists; the Tier and its associated policies must be deleted/migrated "
    "first before a ClusterNetworkPolicy can be created"
)


class UpstreamPolicyRules:
    def __init__(self, tiers: Tiers, *, enabled: bool) -> None:
        self._tiers = tiers
        self._enabled = enabled

    def __call__(self, request: AdmissionRequest) -> Verdict:
        if not self._enabled:
            return refused(DISABLED)
        if request.operation == "CREATE" and UPSTREAM_PRIORITY in self._tiers.priorities():
            return refused(BLOCKED)
        return ALLOWED
