"""The names that the rest of the agent uses."""

from __future__ import annotations

from agent.openflow.codec.flow import Flow
from agent.openflow.codec.messages import Bucket, Group, Meter
from agent.pipeline.ids import ConjunctionIds
from agent.pipeline.pod_connectivity import PodConnectivity
from agent.pipeline.policy_flows import PolicyFlows
from agent.pipeline.programmer import CommitResult, FlowFailure, FlowProgrammer, ProgrammerError
from agent.pipeline.restoration import Moment, Restoration

__all__ = [
    "Bucket",
    "CommitResult",
    "ConjunctionIds",
    "Flow",
    "FlowFailure",
    "FlowProgrammer",
    "Group",
    "Meter",
    "Moment",
    "PodConnectivity",
    "PolicyFlows",
    "ProgrammerError",
    "Restoration",
]
