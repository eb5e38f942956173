"""What a policy is applied to: either all of it or rule by rule, and which selectors go together."""

from __future__ import annotations

from collections.abc import Sequence

from controller.admission.objects import fields_set
from controller.admission.policies.objects import AppliedTo, Rule, Spec
from controller.admission.selectors import labels_refusal


def refusal(spec: Spec) -> str | None:
    ingress, egress = spec.ingress or [], spec.egress or []
    rules = [*ingress, *egress]
    with_own = sum(1 for rule in rules if rule.applied_to)
    if spec.applied_to and with_own:
        return "appliedTo should not be set in both spec and rules"
    if not spec.applied_to and not with_own:
        return "appliedTo needs to be set in either spec or rules"
    if with_own and with_own != len(rules):
        return "appliedTo field should either be set in all rules or in none of them"
    found = _list_refusal(spec.applied_to or [], services=not egress)
    if found is None:
        found = _rules_refusal(ingress, services=True) or _rules_refusal(egress, services=False)
    return found


def _rules_refusal(rules: Sequence[Rule], *, services: bool) -> str | None:
    for rule in rules:
        if rule.applied_to and (found := _list_refusal(rule.applied_to, services=services)):
            return found
    return None


def _list_refusal(items: Sequence[AppliedTo], *, services: bool) -> str | None:
    """``services``: whether the list may name Services, which only what is received can be applied to."""
    for item in items:
        if found := _item_refusal(item, services):
            return found
    number = sum(1 for item in items if item.service is not None)
    if number and number != len(items):
        return "a rule/policy cannot be applied to Services and other peers at the same time"
    return None


def _item_refusal(item: AppliedTo, services: bool) -> str | None:
    alone = len(fields_set(item)) <= 1
    if not alone:
        if item.group:
            return "group cannot be set with other peers in appliedTo"
        if item.node_selector is not None:
            return "nodeSelector cannot be set with other peers in appliedTo"
        if item.service_account is not None:
            return "serviceAccount cannot be set with other peers in appliedTo"
        if item.service is not None:
            return "service cannot be set with other peers in appliedTo"
    if item.service is not None and not services:
        return "egress rule cannot be applied to Services"
    return labels_refusal(
        (item.pod_selector, item.namespace_selector, item.external_entity_selector, item.node_selector)
    )


def is_services(items: Sequence[AppliedTo] | None) -> bool:
    """Whether a list names Services; they are all or none, so the first tells."""
    return items is not None and len(items) > 0 and items[0].service is not None
