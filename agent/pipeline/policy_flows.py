"""Network policies as flows (Antrea v2.7, feature NetworkPolicy): conjunctions, isolation, counters.

A rule is a conjunction: (from) and (to) and, if it names ports, (service). Each alternative of a clause is
one flow of the rule's table, shared by all rules that have it; a packet for which all clauses of a
conjunction hold meets the action flow with its id, which stores the id in the connection's label and goes
on behind the policy tables. What no rule lets through is dropped by the default table if the pod is
isolated, else it passes.

This is the hot path of the agent: 3,000 policies are 15,000 flows. Everything that does not depend on the
rule is packed once, in ``_Side``; a rule costs a few joined bytes per flow.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
from collections.abc import Iterable, Iterator

from agent.model import Action, Address, Direction, NodeConfig, OFPort, PolicyRule, ServicePort
from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow
from agent.pipeline import port_ranges
from agent.pipeline import registers as r
from agent.pipeline import tables as t
from agent.pipeline.building import HIGH, LOW, NORMAL, Builder
from agent.pipeline.cookies import Category
from agent.pipeline.entry import families
from agent.pipeline.ids import ConjunctionIds
from agent.pipeline.programmer import FlowProgrammer
from agent.pipeline.tables import Stage

log = logging.getLogger(__name__)

# A flow that is shared by very many rules would not fit into a message (65,535 bytes, 16 per rule). Ids are
# divided into blocks; the clauses of a block also match on zero bits of a register that is always zero, which
# makes them flows of their own without changing what they mean.
BLOCK = 3500
MAX_BLOCKS = 1 << 16

_SERVICE_PROTOCOLS = {"TCP": f.PROTO_TCP, "UDP": f.PROTO_UDP, "SCTP": f.PROTO_SCTP}


class PolicyFlows:
    """Declares the flows of policy rules; ``programmer.commit()`` installs all that was set as one bundle."""

    def __init__(self, programmer: FlowProgrammer, node: NodeConfig, ids: ConjunctionIds) -> None:
        self._programmer = programmer
        self._ids = ids
        self._rules = RuleFlows(programmer.builder(Category.NETWORK_POLICY), node)
        self._logging_mentioned = False
        programmer.before_sending(ids.save)

    def install_static(self) -> None:
        """What holds without any policy: established connections pass, traffic to the node is no pod's
        ingress."""
        self._programmer.want("policy", list(self._rules.static()))

    def set(self, rule: PolicyRule) -> None:
        """The rule is to be enforced as it is now; called again for every change of its members.

        Raises ValueError for a rule that cannot be expressed; the flows it had before stay.
        """
        if rule.enable_logging and not self._logging_mentioned:
            self._logging_mentioned = True
            log.warning(
                "%s asks for logging: it is enforced, but this agent logs no packets yet", rule.policy
            )
        number = None
        if rule.action is not None and rule.sources and rule.destinations:
            number = self._ids.get(rule.id)
        else:
            self._ids.release(rule.id)
        self._programmer.want(_owner(rule.id), self._rules.rule(rule, number))

    def delete(self, rule_id: str) -> None:
        """The rule is gone."""
        self._programmer.drop(_owner(rule_id))
        self._ids.release(rule_id)


def _owner(rule_id: str) -> str:
    return f"rule/{rule_id}"


_SENTINEL = 0xA5C3F00D


class _Template:
    """A flow that depends on a conjunction id only: its bytes, cut where the id stands."""

    __slots__ = ("_body", "_cookie", "_key")

    def __init__(self, flow: Flow) -> None:
        mark = _SENTINEL.to_bytes(4, "big")
        self._key = flow.key.split(mark)
        self._body = flow.body.split(mark)
        self._cookie = flow.cookie

    def fill(self, number: bytes) -> Flow:
        return Flow(number.join(self._key), self._cookie, number.join(self._body))


class _Side:
    """What the rules of one direction have in common."""

    def __init__(self, build: Builder, direction: Direction, stateless_sctp: bool) -> None:
        ingress = direction is Direction.INGRESS
        self.rules = t.INGRESS_RULE if ingress else t.EGRESS_RULE
        self.default = t.INGRESS_DEFAULT_RULE if ingress else t.EGRESS_DEFAULT_RULE
        self.metric = t.INGRESS_METRIC if ingress else t.EGRESS_METRIC
        self._register = r.INGRESS_CONJUNCTION if ingress else r.EGRESS_CONJUNCTION
        self._label = r.INGRESS_LABEL if ingress else r.EGRESS_LABEL
        self._build = build
        self.families = families(build.layout)
        self.clause_head = self._head(self.rules)
        self.default_head = self._head(self.default)
        self.templates = tuple(
            _Template(flow)
            for flow in (
                *self._actions(),
                *self._metrics(),
                *(self._sctp_actions() if stateless_sctp else ()),
            )
        )

    def _head(self, table: t.Table) -> bytes:
        """Table and priority, the beginning of a flow's key."""
        return self._build.flow(table, NORMAL).key

    def _actions(self) -> Iterator[Flow]:
        """What happens to a packet that a rule allows."""
        layout = self._build.layout
        for version in self.families:
            commit = a.ct(
                r.ZONE[version],
                table=layout.number(self.metric),
                commit=True,
                execute=self._label.load(_SENTINEL),
            )
            yield self._build.flow(
                self.rules,
                LOW,
                m.conj_id(_SENTINEL),
                m.ip(version),
                do=(self._register.load(_SENTINEL), commit),
            )

    def _sctp_actions(self) -> Iterator[Flow]:
        """The same for SCTP that is not tracked: nothing to commit."""
        for version in self.families:
            sctp = m.protocol(f.PROTO_SCTP, version)
            yield self._build.flow(self.rules, LOW + 1, m.conj_id(_SENTINEL), sctp, goto=self.metric)

    def _metrics(self) -> Iterator[Flow]:
        """Counters per rule: sessions, and packets that follow."""
        following = self._build.next(self.metric)
        label = self._label.match(_SENTINEL)
        for version in self.families:
            for state in ("+new", "-new"):
                yield self._build.flow(
                    self.metric, NORMAL, m.ip(version), m.ct_state(state), label, goto=following
                )


class RuleFlows:
    """The flows of rules, without side effects."""

    def __init__(self, build: Builder, node: NodeConfig) -> None:
        self._build = build
        self._cookie = build.cookie
        self._families = families(build.layout)
        self._sides = {direction: _Side(build, direction, node.userspace_datapath) for direction in Direction}
        self._sources = _AddressClause(f.IPV4_SRC, f.IPV6_SRC, self._families, source=True)
        self._destinations = _AddressClause(f.IPV4_DST, f.IPV6_DST, self._families, source=False)

    def static(self) -> Iterator[Flow]:
        """The flows that are there without any policy."""
        flow = self._build.flow
        for side in self._sides.values():
            for version in self._families:
                for state in ("-new+est", "-new+rel"):
                    yield flow(side.rules, HIGH, m.ip(version), m.ct_state(state), goto=side.metric)
        for destination in (r.TO_GATEWAY, r.TO_TUNNEL, r.TO_UPLINK):
            yield flow(
                t.INGRESS_SECURITY_CLASSIFIER,
                NORMAL,
                r.PKT_DESTINATION.match(destination),
                goto=t.INGRESS_METRIC,
            )
        yield flow(t.INGRESS_SECURITY_CLASSIFIER, NORMAL, r.HAIRPIN_MARK.match(1), goto=Stage.CONNTRACK)

    def rule(self, rule: PolicyRule, number: int | None) -> list[Flow]:
        """All flows of a rule. ``number`` None: it allows nothing, only its isolation counts."""
        flows: list[Flow] = []
        side = self._sides[rule.direction]
        ingress = rule.direction is Direction.INGRESS
        if rule.isolated:
            cookie, head = self._cookie, side.default_head
            isolated = self._destinations if ingress else self._sources
            flows += [Flow(head + match, cookie, b"") for match in isolated.matches(rule.isolated)]
        if number is None:
            return flows
        if rule.action is not Action.ALLOW or rule.priority is not None:
            raise ValueError(
                f"rule {rule.id} of {rule.policy}: {rule.action} with priority {rule.priority} belongs to "
                "Antrea-native policies, which this agent cannot enforce yet"
            )
        identity = number.to_bytes(4, "big")
        flows += [template.fill(identity) for template in side.templates]
        clauses = 3 if rule.services else 2
        block = number // BLOCK
        self._clause(flows, side, self._sources.matches(rule.sources), number, 1, clauses, block)
        self._clause(flows, side, self._destinations.matches(rule.destinations), number, 2, clauses, block)
        if rule.services:
            self._clause(flows, side, self._services(rule.services), number, 3, clauses, block)
        return flows

    def _clause(
        self,
        flows: list[Flow],
        side: _Side,
        matches: Iterable[bytes],
        number: int,
        clause: int,
        clauses: int,
        block: int,
    ) -> None:
        body, head, cookie = a.apply(a.conjunction(number, clause, clauses)), side.clause_head, self._cookie
        if block == 0:
            flows += [Flow(head + match, cookie, body) for match in matches]
            return
        if block >= MAX_BLOCKS:
            raise ValueError(f"conjunction id {number} is too high: at most {BLOCK * MAX_BLOCKS} rules fit")
        zero = m.reg(r.ZERO, 0, block)
        # In OVS's order this register stands behind everything that a clause may match on.
        flows += [Flow(head + match + zero, cookie, body) for match in matches]

    def _services(self, services: tuple[ServicePort, ...]) -> list[bytes]:
        found: dict[bytes, None] = {}
        for service in services:
            for version in self._families:
                for match in service_matches(service, version):
                    found[match] = None
        return list(found)


class _AddressClause:
    """Sources or destinations as matches."""

    def __init__(self, field4: f.Field, field6: f.Field, used: tuple[int, ...], *, source: bool) -> None:
        self._used = used
        self._source = source
        self._head4 = m.ip(4) + field4.header
        self._head6 = m.ip(6) + field6.header
        self._field4, self._field6 = field4, field6

    def matches(self, addresses: Iterable[Address]) -> list[bytes]:
        """A match for each address; those of a family that the node does not use can match nothing."""
        found: list[bytes] = []
        append = found.append
        head4 = self._head4 if 4 in self._used else None
        head6 = self._head6 if 6 in self._used else None
        for address in addresses:
            kind = type(address)
            if kind is ipaddress.IPv4Address:
                if head4 is not None:
                    append(head4 + int(address).to_bytes(4, "big"))  # type: ignore[arg-type]
            elif kind is OFPort:
                port = address.number  # type: ignore[union-attr]
                append(m.in_port(port) if self._source else _to_port(port))
            elif kind is ipaddress.IPv6Address:
                if head6 is not None:
                    append(head6 + int(address).to_bytes(16, "big"))  # type: ignore[arg-type]
            elif address.version in self._used:  # type: ignore[union-attr]
                append(self._network(address))  # type: ignore[arg-type]
        return found

    def _network(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bytes:
        field = self._field4 if network.version == 4 else self._field6
        return m.ip(network.version) + m.masked(field, int(network.network_address), int(network.netmask))


@functools.lru_cache(maxsize=4096)
def _to_port(number: int) -> bytes:
    return r.TARGET_PORT.match(number)


@functools.lru_cache(maxsize=4096)
def service_matches(service: ServicePort, version: int) -> tuple[bytes, ...]:
    """The matches of one alternative of a service clause, for one family.

    A protocol that is not known counts as TCP, as upstream has it.
    """
    protocol = (service.protocol or "").upper()
    if service.protocol is None:
        return (m.ip(version),)
    if protocol in ("ICMP", "ICMPV6"):
        return (m.match(m.icmp(service.icmp_type, service.icmp_code, version)),)
    if protocol == "IGMP":
        return (m.protocol(f.PROTO_IGMP),) if version == 4 else ()
    number = _SERVICE_PROTOCOLS.get(protocol, f.PROTO_TCP)
    if service.src_port is None:
        return tuple(
            m.tp_dst(number, port, mask, version) for port, mask in _ports(service.port, service.end_port)
        )
    return tuple(
        m.match(
            m.tp_src(number, source, source_mask, version), m.tp_dst(number, target, target_mask, version)
        )
        for source, source_mask in _ports(service.src_port, service.src_end_port)
        for target, target_mask in _ports(service.port, service.end_port)
    )


def _ports(first: int | None, last: int | None) -> tuple[tuple[int, int], ...]:
    if first is None:
        return ((0, 0),)
    return tuple(port_ranges.split(first, first if last is None else last))
