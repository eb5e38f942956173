"""Whom a rule lets in or out: selectors that go together, address blocks, names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from apis.labels import problem_with_key
from controller.admission.objects import fields_set
from controller.admission.policies.applied_to import is_services
from controller.admission.policies.objects import NetworkPolicyPeer, PeerNamespaces, Rule, Spec
from controller.admission.selectors import block_refusal, labels_refusal

_FQDN: Final = re.compile(r"[-0-9a-zA-Z.*]+")


def refusal(spec: Spec) -> str | None:
    for rule in spec.ingress or ():
        if found := _peers_refusal(rule.from_ or ()):
            return found
    for rule in spec.egress or ():
        if rule.to_services is not None and (rule.to or rule.ports is not None or rule.protocols is not None):
            return "`toServices` cannot be used with `to`, `ports` or `protocols`"
        if found := _peers_refusal(rule.to or ()):
            return found
    return None


def _peers_refusal(peers: Sequence[NetworkPolicyPeer]) -> str | None:
    for peer in peers:
        if found := _peer_refusal(peer):
            return found
    return None


def _peer_refusal(peer: NetworkPolicyPeer) -> str | None:
    if peer.namespaces is not None:
        if peer.namespace_selector is not None:
            return (
                "namespaces and namespaceSelector cannot be set at the same time "
                "for a single NetworkPolicyPeer"
            )
        if found := _namespaces_refusal(peer.namespaces):
            return found
    if peer.ip_block is not None and (found := block_refusal(peer.ip_block)):
        return found
    if len(fields_set(peer)) > 1:
        if peer.group:
            return "group cannot be set with other peers in rules"
        if peer.service_account is not None:
            return "serviceAccount cannot be set with other peers in rules"
        if peer.node_selector is not None:
            return "nodeSelector cannot be set with other peers in rules"
    return labels_refusal(
        (peer.pod_selector, peer.namespace_selector, peer.external_entity_selector, peer.node_selector)
    )


def _namespaces_refusal(namespaces: PeerNamespaces) -> str | None:
    if len(fields_set(namespaces)) > 1:
        return "only one matching criteria can be specified in a single peer namespaces field"
    for label in namespaces.same_labels or ():
        if problem_with_key(label) is not None:
            return f"Invalid label key in sameLabels rule: {label}"
    return None


def services_refusal(spec: Spec) -> str | None:
    """What is applied to Services can only tell its peers by address: they come from outside."""
    whole = is_services(spec.applied_to)
    for rule in spec.ingress or ():
        if not whole and not is_services(rule.applied_to):
            continue
        for peer in rule.from_ or ():
            if peer.ip_block is None or len(fields_set(peer)) > 1:
                return "a rule/policy that is applied to Services can only use ipBlock to select workloads"
    return None


def names_refusal(egress: Sequence[Rule]) -> str | None:
    for rule in egress:
        for peer in rule.to or ():
            if peer.fqdn and not _FQDN.fullmatch(peer.fqdn):
                return f"invalid characters in egress rule fqdn field: {peer.fqdn}"
    return None
