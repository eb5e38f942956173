"""The checks of a policy in their order: the first that fails is the refusal, creating and changing alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from apis.gojson import quote, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from controller.admission.policies import applied_to, peers, traffic
from controller.admission.policies.objects import KINDS, PASS, NetworkPolicySpec, Rule, Spec

# Names that policies could carry before Tiers were objects.
LEGACY_TIERS: Final = frozenset(
    {"Emergency", "SecurityOps", "NetworkOps", "Platform", "Application", "Baseline"}
)
NODE_LABEL_LENGTH: Final = 12  # of a log label, in the kernel's log on a Node


class PolicyRules:
    """Checks writes of both kinds. ``tier_exists`` knows the Tiers that have been heard of; ``look_up`` asks
    the cluster, for a Tier that was made a moment ago, by the same ``kubectl apply`` perhaps."""

    def __init__(
        self,
        tier_exists: Callable[[str], bool],
        look_up: Callable[[str], Awaitable[bool]],
        *,
        layer7: bool,
    ) -> None:
        self._tier_exists = tier_exists
        self._look_up = look_up
        self._layer7 = layer7

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        kind = KINDS[request.kind.kind]
        policy = unmarshal(request.object, kind) if request.object else kind()
        spec: Spec = policy.spec or NetworkPolicySpec()
        refusal = self.refusal(spec)
        verdict = refused(refusal) if refusal else Verdict(True, warnings=warnings(spec))
        missing = self._missing_tier(spec)
        return self._unless_there(missing, verdict) if missing else verdict

    async def _unless_there(self, tier: str, otherwise: Verdict) -> Verdict:
        return otherwise if await self._look_up(tier) else refused(f"tier {tier} does not exist")

    def _missing_tier(self, spec: Spec) -> str:
        tier = spec.tier or ""
        return "" if not tier or tier in LEGACY_TIERS or self._tier_exists(tier) else tier

    def refusal(self, spec: Spec) -> str | None:
        """The first fault of a policy whose Tier exists."""
        rules = [*(spec.ingress or ()), *(spec.egress or ())]
        egress = spec.egress or ()
        return (
            _pass_refusal(spec.tier or "", rules)
            or _names_refusal(rules)
            or applied_to.refusal(spec)
            or peers.refusal(spec)
            or peers.services_refusal(spec)
            or peers.names_refusal(egress)
            or traffic.multicast_refusal(egress)
            or traffic.igmp_refusal(rules)
            or traffic.layer7_refusal(rules, enabled=self._layer7)
            or traffic.ports_refusal(rules)
        )


def _pass_refusal(tier: str, rules: list[Rule]) -> str | None:
    if tier.lower() == "baseline" and any(rule.action == PASS for rule in rules):
        return "`Pass` action should not be set for Baseline Tier policy rules"
    return None


def _names_refusal(rules: list[Rule]) -> str | None:
    if len({rule.name or "" for rule in rules}) < len(rules):
        return "rules names must be unique within the policy"
    return None


def warnings(spec: Spec) -> list[str]:
    """What is accepted but will not be quite as written."""
    if not any(item.node_selector is not None for item in spec.applied_to or ()):
        return []
    return [
        f"LogLabels for Node NetworkPolicies are limited to {NODE_LABEL_LENGTH} characters, but the label "
        f"{quote(rule.log_label)} for policy rule {quote(rule.name or '')} exceeds the limit and will be "
        "truncated in kernel logs"
        for rule in (*(spec.ingress or ()), *(spec.egress or ()))
        if rule.enable_logging and rule.log_label and len(rule.log_label.encode()) > NODE_LABEL_LENGTH
    ]
