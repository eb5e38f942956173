"""Where packets enter the pipelines, and what happens to packets that no other flow of a table matches."""

from __future__ import annotations

from collections.abc import Iterator

from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow
from agent.pipeline.building import MISS, NORMAL, Builder
from agent.pipeline.tables import ROOT_CLASSIFIER, Feature, Layout, PipelineKind


def families(layout: Layout) -> tuple[int, ...]:
    """The IP versions in use on the node: 4, 6 or both."""
    has_ipv6 = any(Feature.IPV6 in table.needs for table in layout.tables)
    has_ipv4 = any(Feature.IPV4 in table.needs for table in layout.tables)
    return tuple(version for version, used in ((4, has_ipv4), (6, has_ipv6)) if used)


def entry_flows(build: Builder) -> Iterator[Flow]:
    """The classifier of packets by kind, and a miss flow for every table that packets go through."""
    layout = build.layout
    ip, arp = layout.first_of(PipelineKind.IP), layout.first_of(PipelineKind.ARP)
    for version in families(layout):
        yield build.flow(ROOT_CLASSIFIER, NORMAL, m.ip(version), goto=ip)
    if arp is not None:
        yield build.flow(ROOT_CLASSIFIER, NORMAL, m.arp(), goto=arp)
    for table in layout.tables:
        if not table.learned and not table.own_miss:
            following = None if table.drops else layout.next(table)
            yield build.flow(table, MISS, goto=following)
