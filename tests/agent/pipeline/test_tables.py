"""Tables get the numbers that upstream's algorithm yields for the features built so far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import NodeConfig
from agent.pipeline.tables import (
    CLASSIFIER,
    CONNTRACK_COMMIT,
    DECLARED,
    L2_FORWARDING_CALC,
    OUTPUT,
    SPOOF_GUARD,
    Feature,
    Layout,
    PipelineKind,
    Stage,
)
from tests.agent.pipeline.nodes import DUAL, IPV6, NODE1

# Upstream's order (facts on the pipeline, column C) without the tables of Antrea-native policies and of
# Egress.
IPV4_TABLES = (
    "PipelineRootClassifier", "ARPSpoofGuard", "ARPResponder", "Classifier", "SpoofGuard", "ConntrackZone",
    "ConntrackState", "DNAT", "EgressRule", "EgressDefaultRule", "EgressMetric", "L3Forwarding", "L3DecTTL",
    "L2ForwardingCalc", "IngressSecurityClassifier", "IngressRule", "IngressDefaultRule", "IngressMetric",
    "ConntrackCommit", "Output",
)  # fmt: skip
WITH_IPV6 = tuple(
    name for table in IPV4_TABLES for name in ((table, "IPv6") if table == "SpoofGuard" else (table,))
)
ONLY_IPV6 = tuple(name for name in WITH_IPV6 if not name.startswith("ARP"))


@pytest.mark.parametrize(
    "node,expected",
    [
        (NODE1, IPV4_TABLES),
        (DUAL, WITH_IPV6),
        (IPV6, ONLY_IPV6),
        (replace(NODE1, userspace_datapath=True), (*IPV4_TABLES, "SCTPLearned")),
    ],
    ids=["IPv4", "dual-stack", "IPv6", "userspace datapath"],
)
def test_numbers(node: NodeConfig, expected: tuple[str, ...]) -> None:
    layout = Layout.for_node(node)
    assert layout.names == dict(enumerate(expected))
    assert [layout.number(table) for table in layout.tables] == list(range(len(expected)))


def test_ways_through_the_pipeline() -> None:
    layout = Layout.for_node(DUAL)
    assert layout.first(Stage.CONNTRACK_STATE).name == "ConntrackZone"
    assert layout.first(Stage.EGRESS_SECURITY).name == "EgressRule"
    assert layout.first_of(PipelineKind.IP) is CLASSIFIER
    assert layout.first_of(PipelineKind.MULTICAST) is None
    assert layout.next(SPOOF_GUARD).name == "IPv6"  # type: ignore[union-attr]
    assert layout.next(L2_FORWARDING_CALC).name == "IngressSecurityClassifier"  # type: ignore[union-attr]
    assert layout.next(CONNTRACK_COMMIT) is OUTPUT
    assert layout.next(OUTPUT) is None


def test_a_layout_without_policies_has_none_of_their_tables() -> None:
    names = Layout({Feature.POD_CONNECTIVITY, Feature.IPV4}).names.values()
    assert [name for name in names if "Rule" in name or "Metric" in name] == []


def test_names_are_unique_and_short_enough_for_ovs() -> None:
    names = [table.name for table in DECLARED]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 32


def test_the_fingerprint_follows_the_tables() -> None:
    assert Layout.for_node(NODE1).fingerprint == Layout.for_node(replace(NODE1, name="other")).fingerprint
    assert Layout.for_node(NODE1).fingerprint != Layout.for_node(DUAL).fingerprint
