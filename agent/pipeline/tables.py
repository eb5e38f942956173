"""The tables of the pipeline (Antrea v2.7): declared once by stage, numbered by the features in use.

The order of declaration within a pipeline is the order of packets. A table that no feature needs does not
exist; the others are numbered from 0 over all pipelines. So an operator finds the tables of upstream, in
upstream's order, under the numbers that upstream's algorithm yields for the same features.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.model import NodeConfig


class PipelineKind(enum.IntEnum):
    """Packets of a kind stay in their own pipeline. The value is the order of numbering."""

    ROOT = 0
    ARP = 1
    IP = 2
    MULTICAST = 3
    NON_IP = 4
    LEARNED = 5  # ours, last so that it shifts no number: flows that packets write


class Stage(enum.IntEnum):
    """What happens to a packet, in this order."""

    START = 0
    CLASSIFIER = 1
    VALIDATION = 2
    CONNTRACK_STATE = 3
    PRE_ROUTING = 4
    EGRESS_SECURITY = 5
    ROUTING = 6
    POST_ROUTING = 7
    SWITCHING = 8
    INGRESS_SECURITY = 9
    CONNTRACK = 10
    OUTPUT = 11


class Feature(enum.Enum):
    """What can be switched on or off and brings tables with it."""

    ROOT = "Root"
    POD_CONNECTIVITY = "PodConnectivity"
    NETWORK_POLICY = "NetworkPolicy"
    SERVICE_OFF = "Service (AntreaProxy disabled)"
    IPV4 = "IPv4"
    IPV6 = "IPv6"
    STATELESS_SCTP = "SCTP without connection tracking"


@dataclass(frozen=True, slots=True)
class Table:
    """A declared table. ``drops``: a packet that no flow matches is dropped, else it goes to the next
    table."""

    name: str
    stage: Stage
    pipeline: PipelineKind
    needs: frozenset[Feature]
    drops: bool = False
    own_miss: bool = False  # a feature brings the flow for packets that match nothing else
    learned: bool = False  # its flows are written by packets: the agent neither adds nor removes any


def _table(
    name: str,
    stage: Stage,
    pipeline: PipelineKind,
    *needs: Feature,
    drops: bool = False,
    own_miss: bool = False,
    learned: bool = False,
) -> Table:
    return Table(name, stage, pipeline, frozenset(needs), drops, own_miss, learned)


_ROOT, _PODS, _POLICY = Feature.ROOT, Feature.POD_CONNECTIVITY, Feature.NETWORK_POLICY
_IP, _ARP = PipelineKind.IP, PipelineKind.ARP

ROOT_CLASSIFIER = _table("PipelineRootClassifier", Stage.START, PipelineKind.ROOT, _ROOT, drops=True)
ARP_SPOOF_GUARD = _table("ARPSpoofGuard", Stage.VALIDATION, _ARP, _PODS, Feature.IPV4, drops=True)
ARP_RESPONDER = _table("ARPResponder", Stage.OUTPUT, _ARP, _PODS, Feature.IPV4)
CLASSIFIER = _table("Classifier", Stage.CLASSIFIER, _IP, _PODS, drops=True)
SPOOF_GUARD = _table("SpoofGuard", Stage.VALIDATION, _IP, _PODS, drops=True)
IPV6 = _table("IPv6", Stage.VALIDATION, _IP, _PODS, Feature.IPV6)
CONNTRACK_ZONE = _table("ConntrackZone", Stage.CONNTRACK_STATE, _IP, _ROOT)
CONNTRACK_STATE = _table("ConntrackState", Stage.CONNTRACK_STATE, _IP, _ROOT, own_miss=True)
DNAT = _table("DNAT", Stage.PRE_ROUTING, _IP, Feature.SERVICE_OFF)
EGRESS_RULE = _table("EgressRule", Stage.EGRESS_SECURITY, _IP, _POLICY)
EGRESS_DEFAULT_RULE = _table("EgressDefaultRule", Stage.EGRESS_SECURITY, _IP, _POLICY)
EGRESS_METRIC = _table("EgressMetric", Stage.EGRESS_SECURITY, _IP, _POLICY)
L3_FORWARDING = _table("L3Forwarding", Stage.ROUTING, _IP, _PODS, own_miss=True)
L3_DEC_TTL = _table("L3DecTTL", Stage.ROUTING, _IP, _PODS)
L2_FORWARDING_CALC = _table("L2ForwardingCalc", Stage.SWITCHING, _IP, _ROOT)
INGRESS_SECURITY_CLASSIFIER = _table("IngressSecurityClassifier", Stage.INGRESS_SECURITY, _IP, _POLICY)
INGRESS_RULE = _table("IngressRule", Stage.INGRESS_SECURITY, _IP, _POLICY)
INGRESS_DEFAULT_RULE = _table("IngressDefaultRule", Stage.INGRESS_SECURITY, _IP, _POLICY)
INGRESS_METRIC = _table("IngressMetric", Stage.INGRESS_SECURITY, _IP, _POLICY)
CONNTRACK_COMMIT = _table("ConntrackCommit", Stage.CONNTRACK, _IP, _ROOT)
OUTPUT = _table("Output", Stage.OUTPUT, _IP, _ROOT)
SCTP_LEARNED = _table(
    "SCTPLearned", Stage.CONNTRACK_STATE, PipelineKind.LEARNED, Feature.STATELESS_SCTP, learned=True
)

DECLARED: tuple[Table, ...] = (
    ROOT_CLASSIFIER,
    ARP_SPOOF_GUARD,
    ARP_RESPONDER,
    CLASSIFIER,
    SPOOF_GUARD,
    IPV6,
    CONNTRACK_ZONE,
    CONNTRACK_STATE,
    DNAT,
    EGRESS_RULE,
    EGRESS_DEFAULT_RULE,
    EGRESS_METRIC,
    L3_FORWARDING,
    L3_DEC_TTL,
    L2_FORWARDING_CALC,
    INGRESS_SECURITY_CLASSIFIER,
    INGRESS_RULE,
    INGRESS_DEFAULT_RULE,
    INGRESS_METRIC,
    CONNTRACK_COMMIT,
    OUTPUT,
    SCTP_LEARNED,
)


class Layout:
    """The tables that exist on a node, and their numbers. The same features give the same layout."""

    def __init__(self, features: Iterable[Feature]) -> None:
        active = frozenset(features) | {Feature.ROOT}
        order = sorted(DECLARED, key=lambda table: table.pipeline)  # stable: keeps the order of declaration
        self.tables: tuple[Table, ...] = tuple(table for table in order if table.needs <= active)
        self._numbers: dict[Table, int] = {table: number for number, table in enumerate(self.tables)}

    @classmethod
    def for_node(cls, node: NodeConfig) -> Layout:
        """The layout for what is built so far: pod connectivity and network policies, without AntreaProxy."""
        features = {Feature.POD_CONNECTIVITY, Feature.NETWORK_POLICY, Feature.SERVICE_OFF}
        if node.ipv4:
            features.add(Feature.IPV4)
        if node.ipv6:
            features.add(Feature.IPV6)
        if node.userspace_datapath:
            features.add(Feature.STATELESS_SCTP)
        return cls(features)

    def number(self, table: Table) -> int:
        """The table's number. Raises KeyError for a table that does not exist here."""
        return self._numbers[table]

    def __contains__(self, table: Table) -> bool:
        return table in self._numbers

    @property
    def names(self) -> Mapping[int, str]:
        return {number: table.name for number, table in enumerate(self.tables)}

    @property
    def learned(self) -> frozenset[int]:
        """The numbers of the tables whose flows are not the agent's."""
        return frozenset(number for number, table in enumerate(self.tables) if table.learned)

    def first(self, stage: Stage, pipeline: PipelineKind = PipelineKind.IP) -> Table:
        """The first table of a stage: where "go to stage" goes."""
        return next(table for table in self.tables if table.stage == stage and table.pipeline == pipeline)

    def first_of(self, pipeline: PipelineKind) -> Table | None:
        """The table in which packets enter a pipeline, or None if the pipeline has no tables."""
        return next((table for table in self.tables if table.pipeline == pipeline), None)

    def next(self, table: Table) -> Table | None:
        """The table after this one in its pipeline, or None after the last."""
        number = self._numbers[table] + 1
        if number == len(self.tables) or self.tables[number].pipeline != table.pipeline:
            return None
        return self.tables[number]

    def by_name(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    @property
    def fingerprint(self) -> str:
        """Changes when a table comes, goes or gets another number (see cookies.Rounds)."""
        text = ",".join(f"{table.pipeline}:{table.stage}:{table.name}" for table in self.tables)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
