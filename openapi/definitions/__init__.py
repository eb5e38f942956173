"""The custom resources of crd.antrea.io, as written down once.

    schema, shapes   words for schemas; shapes that several kinds share
    resource         names, versions, columns: a CustomResourceDefinition
    policies, ...    one module per subject, each with the definitions of its kinds
    roles            ClusterRoles that aggregate into the cluster's own

``python -m openapi.generate`` writes all of it as manifests into openapi/crds/, from where ``kubectl apply
-k`` and the lab take them. Every name, bound, default and message is part of the contract with clients of
Antrea v2.7; the descriptions are what ``kubectl explain`` shows.
"""

from __future__ import annotations

from openapi.definitions.egress import EGRESS, EXTERNAL_IP_POOL
from openapi.definitions.external import EXTERNAL_ENTITY, EXTERNAL_NODE
from openapi.definitions.flowexport import FLOW_EXPORTER_DESTINATION
from openapi.definitions.groups import CLUSTER_GROUP, GROUP, TIER
from openapi.definitions.info import ANTREA_AGENT_INFO, ANTREA_CONTROLLER_INFO
from openapi.definitions.ippools import IP_POOL
from openapi.definitions.nodes import (
    ANTREA_NODE_CONFIG,
    BGP_POLICY,
    NODE_LATENCY_MONITOR,
)
from openapi.definitions.packetcapture import PACKET_CAPTURE
from openapi.definitions.policies import CLUSTER_NETWORK_POLICY, NETWORK_POLICY
from openapi.definitions.supportbundle import SUPPORT_BUNDLE_COLLECTION
from openapi.definitions.traceflow import TRACEFLOW
from openapi.definitions.trafficcontrol import TRAFFIC_CONTROL

DEFINITIONS = (
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
    TIER,
    CLUSTER_GROUP,
    GROUP,
    EGRESS,
    EXTERNAL_IP_POOL,
    IP_POOL,
    EXTERNAL_ENTITY,
    EXTERNAL_NODE,
    TRACEFLOW,
    TRAFFIC_CONTROL,
    SUPPORT_BUNDLE_COLLECTION,
    PACKET_CAPTURE,
    BGP_POLICY,
    NODE_LATENCY_MONITOR,
    FLOW_EXPORTER_DESTINATION,
    ANTREA_NODE_CONFIG,
    ANTREA_AGENT_INFO,
    ANTREA_CONTROLLER_INFO,
)
