"""Which traffic a rule is about: multicast, IGMP, layer 7, ports."""

from __future__ import annotations

from collections.abc import Sequence

from apis.addresses import AddressError, from_bytes, to_bytes
from controller.admission.policies.objects import (
    ALLOW,
    PASS,
    REJECT,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    Rule,
)
from controller.admission.selectors import cidr, is_multicast


def multicast_refusal(egress: Sequence[Rule]) -> str | None:
    for rule in egress:
        multicast = unicast = selectors = False
        for peer in rule.to or ():
            if peer.ip_block is None:
                continue
            block = cidr(peer.ip_block.cidr or "")
            if block is None:
                return (
                    "invalid multicast groupAddress address (to.IPBlock.CIDR): "
                    f"invalid CIDR address: {peer.ip_block.cidr or ''}"
                )
            if is_multicast(block):
                multicast = True
            else:
                unicast = True
            selectors = selectors or _has_selector(peer)
        if multicast and rule.action in (PASS, REJECT):
            return "multicast does not support action Pass or Reject"
        if multicast and unicast:
            return "can not set multicast groupAddress and unicast ip address at the same time"
        if multicast and selectors:
            return "can not set multicast groupAddress and selectors at the same time"
    return None


def _has_selector(peer: NetworkPolicyPeer) -> bool:
    return any(
        selector is not None
        for selector in (
            peer.pod_selector,
            peer.namespace_selector,
            peer.namespaces,
            peer.external_entity_selector,
            peer.service_account,
            peer.node_selector,
        )
    )


def igmp_refusal(rules: Sequence[Rule]) -> str | None:
    """``rules`` in order: what was seen in one counts for all that follow, as with Antrea."""
    igmp = icmp = False
    for rule in rules:
        for protocol in rule.protocols or ():
            icmp = icmp or protocol.icmp is not None
            if protocol.igmp is None:
                continue
            igmp = True
            group = protocol.igmp.group_address
            if group and not _multicast_address(group):
                return f"groupAddress {group} is not multicast address"
            if rule.action in (PASS, REJECT):
                return "protocol IGMP does not support Pass or Reject"
        if igmp and (icmp or rule.ports or rule.to_services or rule.from_ or rule.to):
            return "protocol IGMP can not be used with other protocols or other properties like from, to"
    return None


def _multicast_address(text: str) -> bool:
    try:
        return from_bytes(to_bytes(text)).is_multicast
    except AddressError:
        return False


def layer7_refusal(rules: Sequence[Rule], *, enabled: bool) -> str | None:
    for rule in rules:
        if not rule.l7_protocols:
            continue
        if not enabled:
            return "layer 7 protocols can only be used when L7NetworkPolicy is enabled"
        if rule.action != ALLOW:
            return "layer 7 protocols only support Allow"
        if rule.to_services:
            return "layer 7 protocols can not be used with toServices"
        if not any(protocol.http is not None for protocol in rule.l7_protocols):
            continue
        if any(port.protocol is not None and port.protocol != "TCP" for port in rule.ports or ()):
            return "HTTP protocol can only be used when layer 4 protocol is TCP or unset"
        if any(item.icmp is not None or item.igmp is not None for item in rule.protocols or ()):
            return "HTTP protocol can not be used with protocol IGMP or ICMP"
    return None


def ports_refusal(rules: Sequence[Rule]) -> str | None:
    for rule in rules:
        for port in rule.ports or ():
            if found := _port_refusal(port):
                return found
    return None


def _port_refusal(port: NetworkPolicyPort) -> str | None:
    if port.end_port is not None:
        if port.port is None:
            return "if `endPort` is specified `port` must be specified"
        if isinstance(port.port, str):
            return "if `port` is a string `endPort` cannot be specified"
        if port.end_port < port.port:
            return "`endPort` should be greater than or equal to `port`"
    if port.source_end_port is not None:
        if port.source_port is None:
            return "if `sourceEndPort` is specified `sourcePort` must be specified"
        if port.source_end_port < port.source_port:
            return "`sourceEndPort` should be greater than or equal to `sourcePort`"
    return None
