"""From a Kubernetes NetworkPolicy to rules in terms of selectors, and from those to the encoded policy.

The rules of Antrea v2.7, in short: one rule for each rule of the spec, ingress first; priority -1 and action
Allow. ``policyTypes`` is read as it is set: a listed direction without a rule gets one synthetic rule, with
an empty peer, no action and priority 0, which isolates; a direction with rules is isolated by the agents.
An empty list of peers means any address. A named port in an egress rule without peers needs the group of
all pods besides, because the name means another number on each pod.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from apis.addresses import ANY_IPV4, ANY_IPV6, CIDR, AddressError, parse_cidr
from apis.controlplane import wire
from apis.kubernetes.networking import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from apis.labels import EVERYTHING, LabelSelector, Selector, SelectorError, from_label_selector
from computation.errors import MalformedObject

Warn = Callable[[str], None]

PROTOCOLS: Final = frozenset({"TCP", "UDP", "SCTP"})
DIRECTIONS: Final = {"Ingress": "In", "Egress": "Out"}
ANY_ADDRESS: Final = (wire.ip_block(ANY_IPV4), wire.ip_block(ANY_IPV6))


class PeerSelectors(NamedTuple):
    """One peer that is not an ipBlock; None: not set."""

    pods: Selector | None
    namespaces: Selector | None


ALL_PODS: Final = PeerSelectors(None, EVERYTHING)


class Rule(NamedTuple):
    """One rule before its peers have names. ``action`` is None on the synthetic rule that isolates."""

    direction: str
    peers: tuple[PeerSelectors, ...]
    blocks: tuple[bytes, ...]  # encoded ipBlocks
    services: tuple[bytes, ...]  # encoded; empty: any traffic
    action: str | None


class Translation(NamedTuple):
    applied_to: Selector
    rules: tuple[Rule, ...]


class SelectorCache:
    """Selectors by what they are made of: policies repeat them, and parsing one costs more than the rest.

    Bounded: when it is full it starts afresh.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._encode = msgspec.msgpack.Encoder().encode
        self._known: dict[bytes, Selector] = {}

    def get(self, selector: LabelSelector, field: str) -> Selector:
        """Raises SelectorError."""
        key = self._encode(selector)
        known = self._known.get(key)
        if known is None:
            known = from_label_selector(selector, field)
            assert known is not None
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[key] = known
        return known


class Translator:
    """Translates policies; ``warn`` is told what upstream's controller logs and goes on from."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._selectors = SelectorCache()

    def translate(self, policy: NetworkPolicy) -> Translation:
        """Raises MalformedObject."""
        spec = policy.spec
        try:
            applied_to = self._selectors.get(spec.pod_selector, "spec.podSelector")
            rules = []
            for index, ingress in enumerate(spec.ingress or ()):
                path = f"spec.ingress[{index}]"
                rules.append(self._rule(policy, path, "In", "from", ingress.peers, ingress.ports))
            for index, egress in enumerate(spec.egress or ()):
                path = f"spec.egress[{index}]"
                rules.append(self._rule(policy, path, "Out", "to", egress.peers, egress.ports))
        except SelectorError as error:
            raise _malformed(policy, error.field, str(error)) from None
        types = spec.policy_types or ()
        for kind in types:
            if kind not in DIRECTIONS:
                raise _malformed(policy, "spec.policyTypes", f"{kind!r} is neither Ingress nor Egress")
        if not spec.ingress and "Ingress" in types:
            rules.append(_DENY_IN)
        if not spec.egress and "Egress" in types:
            rules.append(_DENY_OUT)
        return Translation(applied_to, tuple(rules))

    def _rule(
        self,
        policy: NetworkPolicy,
        path: str,
        direction: str,
        peers_name: str,
        peers: Sequence[NetworkPolicyPeer] | None,
        ports: Sequence[NetworkPolicyPort] | None,
    ) -> Rule:
        services: tuple[bytes, ...] = ()
        named_port = False
        if ports:
            services = tuple(
                _service(policy, f"{path}.ports[{index}]", port) for index, port in enumerate(ports)
            )
            named_port = any(isinstance(port.port, str) for port in ports)
        if not peers:
            all_pods = (ALL_PODS,) if named_port and direction == "Out" else ()
            return Rule(direction, all_pods, ANY_ADDRESS, services, "Allow")
        selectors: list[PeerSelectors] = []
        blocks: list[bytes] = []
        for index, peer in enumerate(peers):
            if peer.ip_block is not None:
                block = self._block(policy, f"{path}.{peers_name}[{index}].ipBlock", peer.ip_block)
                if block is not None:
                    blocks.append(block)
                continue
            pods, namespaces = peer.pod_selector, peer.namespace_selector
            field = f"{path}.{peers_name}[{index}]"
            if pods is None and namespaces is None:
                raise _malformed(policy, field, "a peer must have podSelector, namespaceSelector or ipBlock")
            selectors.append(
                PeerSelectors(
                    None if pods is None else self._selectors.get(pods, field + ".podSelector"),
                    None
                    if namespaces is None
                    else self._selectors.get(namespaces, field + ".namespaceSelector"),
                )
            )
        return Rule(direction, tuple(selectors), tuple(blocks), services, "Allow")

    def _block(self, policy: NetworkPolicy, field: str, block: IPBlock) -> bytes | None:
        """The encoded block, or None: one that cannot be read is skipped and its neighbours stay.

        A broken ``except`` skips the block as well: without the exception it would allow too much.
        """
        try:
            cidr = parse_cidr(block.cidr)
            excepted: list[CIDR] = [parse_cidr(each) for each in block.except_ or ()]
        except AddressError as error:
            meta = policy.metadata
            self._warn(f"NetworkPolicy {meta.namespace}/{meta.name}: {field} was skipped: {error}")
            return None
        return wire.ip_block(cidr, excepted)


_DENY_IN: Final = Rule("In", (), (), (), None)
_DENY_OUT: Final = Rule("Out", (), (), (), None)


def _malformed(policy: NetworkPolicy, field: str, problem: str) -> MalformedObject:
    return MalformedObject("NetworkPolicy", policy.metadata.namespace, policy.metadata.name, field, problem)


def _service(policy: NetworkPolicy, field: str, port: NetworkPolicyPort) -> bytes:
    protocol = port.protocol or "TCP"
    if protocol not in PROTOCOLS:
        raise _malformed(policy, f"{field}.protocol", f"{protocol!r} is none of TCP, UDP and SCTP")
    for name, number in (("port", port.port), ("endPort", port.end_port)):
        if isinstance(number, int) and not 0 < number < 65536:
            raise _malformed(policy, f"{field}.{name}", f"{number} is not between 1 and 65535")
    return wire.service(protocol, port.port, port.end_port)


def encode_rule(rule: Rule, groups: Sequence[str], logging: bool) -> bytes:
    """The rule, as a field of a policy, with the names of its peers' groups.

    Most rules have no ports and one peer, or are the isolating ones: those are put together from pieces.
    """
    if not rule.blocks and not rule.services:
        if not groups:
            return _BARE_RULES[(rule.direction, rule.action, logging)]
        if len(groups) == 1 and len(groups[0]) == len(_SOME_NAME):
            head, tail = _ONE_GROUP_RULES[(rule.direction, rule.action, logging)]
            return head + groups[0].encode() + tail
    return _encode(rule, groups, logging)


def _encode(rule: Rule, groups: Sequence[str], logging: bool) -> bytes:
    priority = 0 if rule.action is None else -1
    peers = wire.peer(groups, rule.blocks)
    return wire.rule_field(rule.direction, peers, rule.services, priority, rule.action, logging)


def _around(text: bytes, middle: bytes) -> tuple[bytes, bytes]:
    head, _, tail = text.partition(middle)
    return head, tail


_SOME_NAME: Final = "00000000-0000-0000-0000-000000000000"  # names of groups have one length
_KINDS: Final = [
    (direction, action, logging)
    for direction in ("In", "Out")
    for action in (None, "Allow")
    for logging in (False, True)
]
_BARE_RULES: Final = {
    (direction, action, logging): _encode(Rule(direction, (), (), (), action), (), logging)
    for direction, action, logging in _KINDS
}
_ONE_GROUP_RULES: Final = {
    (direction, action, logging): _around(
        _encode(Rule(direction, (), (), (), action), (_SOME_NAME,), logging), _SOME_NAME.encode()
    )
    for direction, action, logging in _KINDS
}
