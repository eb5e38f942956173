"""What is filled in before a policy is checked: names of rules, and the tier.

A rule without a name gets one made of its direction, its action and a hash of its content, so that equal
rules have equal names in every cluster. The hash is over Go's encoding of the rule (Antrea v2.7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from apis.gojson import marshal, unmarshal
from apiserver.admission import ALLOWED, NOT_MINE, AdmissionRequest, Verdict
from controller.admission.policies.objects import KINDS, Rule, Spec

DEFAULT_TIER: Final = "application"
HASH_LENGTH: Final = 7


def mutate(request: AdmissionRequest) -> Verdict:
    """Handles both kinds; goes by the kind's name only, whatever its group."""
    kind = KINDS.get(request.kind.kind)
    if kind is None:
        return NOT_MINE
    if request.operation not in ("CREATE", "UPDATE"):
        return ALLOWED
    policy = unmarshal(request.object, kind) if request.object else kind()
    return Verdict(True, patch=patch(policy.spec))


def patch(spec: Spec | None) -> list[dict[str, Any]]:
    """JSON Patch operations; ``replace`` also where nothing is yet, which kube-apiserver takes as ``add``."""
    operations: list[dict[str, Any]] = []
    if spec is not None:
        operations += _names("ingress", spec.ingress or ())
        operations += _names("egress", spec.egress or ())
    if spec is None or not spec.tier:
        operations.append({"op": "replace", "path": "/spec/tier", "value": DEFAULT_TIER})
    return operations


def _names(direction: str, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [
        {"op": "replace", "path": f"/spec/{direction}/{index}/name", "value": name(direction, rule)}
        for index, rule in enumerate(rules)
        # A rule without an action gets no name: the schema refuses it, in better words than ours.
        if not rule.name and rule.action is not None
    ]


def name(direction: str, rule: Rule) -> str:
    digest = hashlib.sha1(marshal(rule).encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return f"{direction}-{(rule.action or '').lower()}-{digest[:HASH_LENGTH]}"
