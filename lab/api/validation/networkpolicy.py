"""NetworkPolicy, as kube-apiserver defaults and validates it (Kubernetes 1.34, networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.metadata import validate_label_selector

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")
Object = dict[str, Any]


def default(policy: Object) -> None:
    """Ports are TCP; without policyTypes a policy is Ingress, and Egress too if it has such rules."""
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for rules in (spec.get("ingress", ()), spec.get("egress", ())):
        for rule in rules:
            for port in rule.get("ports", ()):
                port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def validate(policy: Mapping[str, Any], errors: FieldErrors) -> None:
    _validate_spec(policy["spec"], frozenset(), errors)


def validate_update(new: Mapping[str, Any], old: Mapping[str, Any], errors: FieldErrors) -> None:
    """A CIDR that the old object already had passes unseen: stored objects stay editable."""
    _validate_spec(new["spec"], frozenset(_cidrs(old["spec"])), errors)


def _cidrs(spec: Mapping[str, Any]) -> Iterator[str]:
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(rules, ()):
            for peer in rule.get(peers, ()):
                block = peer.get("ipBlock")
                if block is not None:
                    yield block.get("cidr", "")
                    yield from block.get("except", ())


def _validate_spec(spec: Mapping[str, Any], known: Collection[str], errors: FieldErrors) -> None:
    validate_label_selector(spec.get("podSelector"), "spec.podSelector", errors)
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(rules, ())):
            where = f"spec.{rules}[{i}]"
            for j, port in enumerate(rule.get("ports", ())):
                _validate_port(port, f"{where}.ports[{j}]", errors)
            for j, peer in enumerate(rule.get(peers, ())):
                _validate_peer(peer, f"{where}.{peers}[{j}]", known, errors)
    types = spec.get("policyTypes", ())
    if len(types) > len(_TYPES):
        errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for i, name in enumerate(types):
        if name not in _TYPES:
            errors.not_supported(f"spec.policyTypes[{i}]", name, _TYPES)


def _validate_port(port: Mapping[str, Any], path: str, errors: FieldErrors) -> None:
    protocol = port.get("protocol")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.not_supported(f"{path}.protocol", protocol, _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, int):
        errors.invalids(f"{path}.port", number, formats.port_number(number))
        if end is not None:
            if end < number:  # the cluster shows `port` here, not `endPort`
                errors.invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
            errors.invalids(f"{path}.endPort", end, formats.port_number(end))
    elif number is not None:
        if end is not None:
            errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        errors.invalids(f"{path}.port", number, formats.port_name(number))
    elif end is not None:
        errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _validate_peer(peer: Mapping[str, Any], path: str, known: Collection[str], errors: FieldErrors) -> None:
    members = 0
    for name in ("podSelector", "namespaceSelector"):
        if peer.get(name) is not None:
            members += 1
            validate_label_selector(peer[name], f"{path}.{name}", errors)
    block = peer.get("ipBlock")
    if block is not None:
        members += 1
        _validate_block(block, f"{path}.ipBlock", known, errors)
    if members == 0:
        errors.required(path, "must specify a peer")
    elif members > 1 and block is not None:
        errors.forbidden(path, "may not specify both ipBlock and another peer")


def _validate_block(block: Mapping[str, Any], path: str, known: Collection[str], errors: FieldErrors) -> None:
    text = block.get("cidr", "")
    if not text:
        errors.required(f"{path}.cidr")
        return
    if text not in known:
        errors.invalids(f"{path}.cidr", text, formats.cidr(text))
    cidr = formats.parse_cidr(text)
    if cidr is None:
        return
    for i, excepted in enumerate(block.get("except", ())):
        where = f"{path}.except[{i}]"
        if excepted not in known:
            errors.invalids(where, excepted, formats.cidr(excepted))
        inner = formats.parse_cidr(excepted)
        if inner is None:
            continue
        inside = inner.version == cidr.version and inner.network_address in cidr
        if not inside or cidr.prefixlen >= inner.prefixlen:
            errors.invalid(where, excepted, "must be a strict subset of `cidr`")


def warnings(policy: Mapping[str, Any]) -> list[str]:
    """Remarks that the cluster returns in Warning headers: CIDRs that are accepted but ambiguous."""
    found: list[str] = []
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(policy["spec"].get(rules, ())):
            for j, peer in enumerate(rule.get(peers, ())):
                block = peer.get("ipBlock")
                if block is None:
                    continue
                path = f"spec.{rules}[{i}].{peers}[{j}].ipBlock"
                found += _cidr_warnings(f"{path}.cidr", block.get("cidr", ""))
                for k, excepted in enumerate(block.get("except", ())):
                    found += _cidr_warnings(f"{path}.except[{k}]", excepted)
    return found


def _cidr_warnings(path: str, text: str) -> list[str]:
    network = formats.parse_cidr(text)
    address = formats.parse_address(text.partition("/")[0])
    if network is None or address is None or network.version != address.version:
        return []
    if address != network.network_address:
        single = f"{address}/{address.max_prefixlen}"
        return [
            f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{network}" or "{single}"?)'
        ]
    if address.version == 6 and str(network) != text:
        return [f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")']
    return []
