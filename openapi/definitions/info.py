"""AntreaAgentInfo and AntreaControllerInfo: what agents and controller report of themselves.

Everything is at the root: these objects have neither spec nor status.
"""

from __future__ import annotations

from openapi.definitions.resource import Column, Definition, Version
from openapi.definitions.schema import Schema, int32, items, mapping, record, string, strings
from openapi.definitions.shapes import heartbeats, object_reference, policy_counts, port_number


def _agent() -> Schema:
    ovs = {
        "version": string("Version of Open vSwitch."),
        "bridgeName": string("Name of the integration bridge."),
        "flowTable": mapping("Number of flows of each table.", {"type": "integer", "format": "int32"}),
    }
    network = {
        "transportInterface": string("Interface that carries traffic between Nodes."),
        "transportInterfaceMTU": int32("MTU of that interface.", 0),
        "podMTU": int32("MTU of Pods' interfaces.", 0),
        "transportInterfaceIPs": items(
            "Addresses of that interface, one of a family.", {"type": "string"}, maxItems=2
        ),
    }
    return record(
        "What the agent of one Node reports of itself.",
        {
            "version": string("Version of the agent."),
            "podRef": object_reference("Pod of the agent."),
            "nodeRef": object_reference("Node of the agent."),
            "nodeSubnets": strings("Pod subnets of the Node."),
            "ovsInfo": record("State of Open vSwitch.", ovs),
            "networkPolicyControllerInfo": policy_counts(),
            "localPodNum": int32("Pods on the Node."),
            "agentConditions": heartbeats(
                "agent", "AgentHealthy", "ControllerConnectionUp", "OVSDBConnectionUp", "OpenflowConnectionUp"
            ),
            "apiPort": port_number("Port of the agent's API."),
            "apiCABundle": string("CA certificates of the agent's API.", format="byte"),
            "nodePortLocalPortRange": string("Ports for NodePortLocal."),
            "networkInfo": record("Network of the Node.", network),
        },
    )


def _controller() -> Schema:
    return record(
        "What the controller reports of itself.",
        {
            "version": string("Version of the controller."),
            "podRef": object_reference("Pod of the controller."),
            "nodeRef": object_reference("Node that the controller runs on."),
            "serviceRef": object_reference("Service of the controller."),
            "networkPolicyControllerInfo": policy_counts(),
            "connectedAgentNum": int32("Agents that are connected."),
            "controllerConditions": heartbeats("controller", "ControllerHealthy"),
            "apiPort": port_number("Port of the controller's API."),
        },
    )


def _health(conditions: str, kind: str) -> list[Column]:
    chosen = f".{conditions}[?(@.type=='{kind}')]"
    return [
        Column("Healthy", f"{chosen}.status"),
        Column("Last Heartbeat", f"{chosen}.lastHeartbeatTime", "date"),
        Column("Version", ".version", priority=1),
    ]


ANTREA_AGENT_INFO = Definition(
    "AntreaAgentInfo",
    "antreaagentinfos",
    ["aai"],
    [
        Version(
            "v1beta1",
            _agent(),
            [
                *_health("agentConditions", "AgentHealthy"),
                Column("Node", ".nodeRef.name", priority=1),
                Column("Num Pods", ".localPodNum", "integer", priority=2),
                Column("Subnets", ".nodeSubnets", priority=2),
            ],
        )
    ],
)

ANTREA_CONTROLLER_INFO = Definition(
    "AntreaControllerInfo",
    "antreacontrollerinfos",
    ["aci"],
    [
        Version(
            "v1beta1",
            _controller(),
            [
                *_health("controllerConditions", "ControllerHealthy"),
                Column("Connected Agents", ".connectedAgentNum", "integer", priority=1),
                Column("Node", ".nodeRef.name", priority=1),
                Column(
                    "Num Network Policies",
                    ".networkPolicyControllerInfo.networkPolicyNum",
                    "integer",
                    priority=2,
                ),
            ],
        )
    ],
)
