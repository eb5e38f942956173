"""SCTP on the userspace datapath, whose conntrack knows no SCTP ports.

There one allowed association between two addresses would count as established on all ports. So SCTP goes
without connection tracking: each packet is matched by policy, and a packet that is let out writes a flow that
lets its answers in: addresses and ports reversed, forgotten after ``IDLE`` seconds without an answer. A
change of policy then counts for living associations too, other than with TCP and UDP. The kernel datapath
tracks SCTP properly and needs none of this.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec import learn
from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow
from agent.pipeline import registers as r
from agent.pipeline.building import HIGH, Builder
from agent.pipeline.entry import families
from agent.pipeline.tables import (
    CONNTRACK_COMMIT,
    CONNTRACK_ZONE,
    EGRESS_METRIC,
    EGRESS_RULE,
    INGRESS_METRIC,
    INGRESS_RULE,
    OUTPUT,
    SCTP_LEARNED,
    Stage,
)

IDLE = 60  # seconds; heartbeats of an idle association come every 30 s
_LEARNED_PRIORITY = 200


def sctp_flows(build: Builder) -> Iterator[Flow]:
    """The flows that take SCTP past conntrack; the rules' own action flows are in policy_flows."""
    layout = build.layout
    for version in families(layout):
        sctp = m.protocol(f.PROTO_SCTP, version)
        yield build.flow(
            CONNTRACK_ZONE,
            HIGH,
            sctp,
            do=(a.resubmit(layout.number(SCTP_LEARNED)),),
            goto=Stage.EGRESS_SECURITY,
        )
        for rules, metric in ((EGRESS_RULE, EGRESS_METRIC), (INGRESS_RULE, INGRESS_METRIC)):
            yield build.flow(rules, HIGH + 1, sctp, r.SCTP_REPLY.match(1), goto=metric)
        yield build.flow(
            CONNTRACK_COMMIT,
            HIGH,
            sctp,
            r.SCTP_REPLY.match(0),
            do=(_learn_reply(build, version),),
            goto=OUTPUT,
        )


def _learn_reply(build: Builder, version: int) -> bytes:
    source, target = (f.IPV4_SRC, f.IPV4_DST) if version == 4 else (f.IPV6_SRC, f.IPV6_DST)
    return learn.learn(
        build.layout.number(SCTP_LEARNED),
        learn.match_value(f.ETH_TYPE, f.ETH_IPV4 if version == 4 else f.ETH_IPV6),
        learn.match_value(f.IP_PROTO, f.PROTO_SCTP),
        learn.match_field(source, target),
        learn.match_field(target, source),
        learn.match_field(f.SCTP_SRC, f.SCTP_DST),
        learn.match_field(f.SCTP_DST, f.SCTP_SRC),
        learn.load_value(f.REG[r.SCTP_REPLY.field.number], 1, r.SCTP_REPLY.first, r.SCTP_REPLY.last),
        priority=_LEARNED_PRIORITY,
        cookie=build.cookie,
        idle_timeout=IDLE,
    )
