"""Rules of the schemas that no recorded request meets: a good object, one field changed, what is refused."""

from __future__ import annotations

import copy
from typing import Any

from tests.openapi.recorded import Api, Object

CAPTURE = {"firstN": {"number": 1}}
ERSPAN = {"erspan": {"remoteIP": "10.0.0.1", "version": 1}}
GOOD: dict[str, tuple[str, Object]] = {
    "ClusterNetworkPolicy": ("v1beta1", {"priority": 1, "ingress": [{"action": "Drop"}]}),
    "NetworkPolicy": ("v1beta1", {"priority": 1, "egress": [{"action": "Drop"}]}),
    "Tier": ("v1beta1", {"priority": 1}),
    "ExternalIPPool": ("v1beta1", {"ipRanges": [{"cidr": "10.0.0.0/28"}], "nodeSelector": {}}),
    "IPPool": (
        "v1beta1",
        {
            "ipRanges": [{"cidr": "10.0.0.0/28"}],
            "subnetInfo": {"gateway": "10.0.0.1", "prefixLength": 24},
        },
    ),
    "Traceflow": ("v1beta1", {}),
    "TrafficControl": (
        "v1alpha2",
        {"appliedTo": {}, "direction": "Both", "action": "Mirror", "targetPort": ERSPAN},
    ),
    "SupportBundleCollection": ("v1alpha1", {"nodes": {}, "fileServer": {}, "authentication": {}}),
    "PacketCapture": (
        "v1alpha1",
        {"source": {"pod": {"name": "p"}}, "captureConfig": CAPTURE, "packet": {}},
    ),
    "BGPPolicy": (
        "v1alpha1",
        {"nodeSelector": {}, "localASN": 64512, "bgpPeers": [{"address": "10.0.0.1", "asn": 1}]},
    ),
    "NodeLatencyMonitor": ("v1alpha1", {}),
    "FlowExporterDestination": (
        "v1alpha1",
        {"address": "a:1", "protocol": {"ipfix": {"transport": "tls"}}, "tlsConfig": {
            "caConfigMap": {"namespace": "n", "name": "c"}}},
    ),
    "AntreaNodeConfig": (
        "v1alpha1",
        {"nodeSelector": {}, "secondaryNetwork": {"ovsBridges": [{"bridgeName": "br"}]}},
    ),
}  # fmt: skip

ONE_OF = "must validate one and only one schema (oneOf). Found"
HIGH, LOW = "should be less than or equal to", "should be greater than or equal to"
ICMP, ICMPV6 = {"messages": [{"type": 8}]}, {"messages": [{"type": 128}]}

# (kind, field, value, what the answer says); a value of None removes the field
REFUSED: list[tuple[str, str, Any, str]] = [
    ("ClusterNetworkPolicy", "spec.priority", None, "spec.priority: Required value"),
    ("ClusterNetworkPolicy", "spec.priority", 0.5, f"{LOW} 1"),
    ("ClusterNetworkPolicy", "spec.priority", "1", 'must be of type number: "string"'),
    ("ClusterNetworkPolicy", "spec.appliedTo", [{"service": {"name": "a"}}], "namespace: Required value"),
    (
        "ClusterNetworkPolicy",
        "spec.ingress.0.from",
        [{"namespaces": {"match": "Self", "sameLabels": ["a"]}}],
        "Too many: 2: must have at most 1 item",
    ),
    (
        "ClusterNetworkPolicy",
        "spec.ingress.0.protocols",
        [{"igmp": {"groupAddress": "x"}}],
        f'"spec.ingress[0].protocols[0].igmp.groupAddress" {ONE_OF} none valid',
    ),
    ("ClusterNetworkPolicy", "spec.ingress.0.protocols", [{"icmp": {"icmpCode": -1}}], f"{LOW} 0"),
    ("ClusterNetworkPolicy", "spec.ingress.0.protocols", [{}], f'"spec.ingress[0].protocols[0]" {ONE_OF}'),
    ("ClusterNetworkPolicy", "spec.ingress.0.l7Protocols", [{}], f'l7Protocols[0]" {ONE_OF} none valid'),
    ("ClusterNetworkPolicy", "spec.ingress.0.ports", [{"port": True}], "must be of type integer,string"),
    ("ClusterNetworkPolicy", "spec.ingress.0.from", [{"ipBlock": {"cidr": "x"}}], "must be of type cidr"),
    (
        "NetworkPolicy",
        "spec.egress.0.protocols",
        [{"igmp": {"igmpType": 17}}],
        'igmpType: Unsupported value: 17: supported values: "18", "22", "34"',
    ),
    ("NetworkPolicy", "spec.egress.0.toServices", [{"namespace": "n"}], "toServices[0].name: Required value"),
    ("NetworkPolicy", "spec.priority", 10000.5, f"{HIGH} 10000"),
    ("Tier", "spec.priority", None, "spec.priority: Required value"),
    ("Tier", "spec.priority", 1.5, "must be of type integer"),
    (
        "ExternalIPPool",
        "spec.subnetInfo",
        {"gateway": "10.0.0.1", "prefixLength": 128},
        f"spec.subnetInfo.prefixLength in body {HIGH} 127",
    ),
    ("ExternalIPPool", "spec.subnetInfo", {"gateway": "10.0.0.1"}, "prefixLength: Required value"),
    ("ExternalIPPool", "spec.ipRanges", None, "spec.ipRanges: Required value"),
    ("IPPool", "spec.subnetInfo.vlan", 4095, f"spec.subnetInfo.vlan in body {HIGH} 4094"),
    ("IPPool", "spec.subnetInfo.vlan", -1, f"spec.subnetInfo.vlan in body {LOW} 0"),
    ("Traceflow", "spec.timeout", 0, f"{LOW} 1"),
    ("Traceflow", "spec.packet", {"ipHeader": {"flags": 8}}, f"{HIGH} 7"),
    ("Traceflow", "spec.packet", {"transportHeader": {"icmp": {"id": 65536}}}, f"{HIGH} 65535"),
    ("Traceflow", "spec.source", {"ip": ""}, f'"spec.source.ip" {ONE_OF} none valid'),
    ("TrafficControl", "spec.direction", "both", 'supported values: "Ingress", "Egress", "Both"'),
    ("TrafficControl", "spec.action", "Drop", 'supported values: "Mirror", "Redirect"'),
    ("TrafficControl", "spec.targetPort.erspan.sessionID", 1024, f"{HIGH} 1023"),
    ("TrafficControl", "spec.targetPort.erspan.dir", 2, 'supported values: "0", "1"'),
    ("TrafficControl", "spec.targetPort.erspan.remoteIP", None, "remoteIP: Required value"),
    ("TrafficControl", "spec.returnPort", {"gre": {"remoteIP": "1.1.1.1", "key": 1 << 32}}, f"{HIGH} 4"),
    ("TrafficControl", "spec.returnPort", {"vxlan": {"remoteIP": "1.1.1.1", "vni": 1 << 24}}, f"{HIGH} 1"),
    ("TrafficControl", "spec.returnPort", {"device": {}}, "spec.returnPort.device.name: Required value"),
    ("SupportBundleCollection", "spec.authentication", None, "spec.authentication: Required value"),
    ("SupportBundleCollection", "spec.externalNodes", {}, "spec.externalNodes.namespace: Required value"),
    (
        "PacketCapture",
        "spec.source",
        {"ip": "10.0.0.1"},
        "no such key: destination evaluating rule: At least one of source.pod or destination.pod",
    ),
    (
        "PacketCapture",
        "spec",
        {"source": {"ip": "1.1.1.1"}, "destination": {"ip": "1.1.1.2"}, "captureConfig": CAPTURE},
        'spec: Invalid value: "object": At least one of source.pod or destination.pod must be specified.',
    ),
    (
        "PacketCapture",
        "spec.destination",
        {"pod": {"name": "p"}, "ip": "10.0.0.1"},
        "spec.destination: Invalid value: \"object\": At most one of 'pod' or 'ip' may be set",
    ),
    (
        "PacketCapture",
        "spec",
        {
            "source": {"ip": "1.1.1.1"},
            "destination": {"pod": {"name": "p"}},
            "capturePoint": "Source",
            "captureConfig": CAPTURE,
        },
        "spec: Invalid value: \"object\": source.pod must be set when capturePoint is 'Source'",
    ),
    (
        "PacketCapture",
        "spec.packet.transportHeader",
        {"icmp": ICMP, "icmpv6": ICMPV6},
        "At most one of 'ICMP', 'ICMPv6', 'UDP', or 'TCP' may be set",
    ),
    ("PacketCapture", "spec.packet.transportHeader", {"tcp": {"flags": [{"value": 256}]}}, f"{HIGH} 255"),
    ("PacketCapture", "spec.packet.transportHeader", {"icmp": {"messages": [{}]}}, "type: Required value"),
    ("PacketCapture", "spec.captureConfig", {}, "spec.captureConfig.firstN: Required value"),
    ("PacketCapture", "spec.capturePoint", "Both", 'supported values: "Source", "Destination"'),
    ("PacketCapture", "spec.fileServer", {"hostPublicKey": "***"}, "must be of type byte"),
    ("BGPPolicy", "spec.listenPort", 65536, f"{HIGH} 65535"),
    ("BGPPolicy", "spec.confederation", {"memberASNs": [0]}, f"memberASNs[0] in body {LOW} 1"),
    ("BGPPolicy", "spec.bgpPeers.0.gracefulRestartTimeSeconds", 3601, f"{HIGH} 3600"),
    ("BGPPolicy", "spec.bgpPeers.0.multihopTTL", 256, f"{HIGH} 255"),
    ("BGPPolicy", "spec.bgpPeers.0.asn", None, "spec.bgpPeers[0].asn: Required value"),
    ("NodeLatencyMonitor", "metadata.name", "other", "metadata.name in body should match '^default$'"),
    ("NodeLatencyMonitor", "spec.pingIntervalSeconds", 0, f"{LOW} 1"),
    ("FlowExporterDestination", "spec.address", "host", "should match '^.+:[0-9]+$'"),
    ("FlowExporterDestination", "spec.protocol", {}, f'"spec.protocol" {ONE_OF} none valid'),
    ("FlowExporterDestination", "spec.filter", {"protocols": ["TCP"]}, 'values: "tcp", "udp", "sctp"'),
    (
        "FlowExporterDestination",
        "spec.tlsConfig.minTLSVersion",
        "VersionTLS11",
        'supported values: "VersionTLS12", "VersionTLS13"',
    ),
    ("FlowExporterDestination", "spec.tlsConfig.serverName", "", "should be at least 1 chars long"),
    ("FlowExporterDestination", "spec.tlsConfig.clientSecret", {"name": "s"}, "namespace: Required value"),
    (
        "AntreaNodeConfig",
        "spec.secondaryNetwork.ovsBridges.0.physicalInterfaces",
        [{"name": f"eth{i}"} for i in range(9)],
        "Too many: 9: must have at most 8 items",
    ),
]  # fmt: skip

# (kind, field, value, field, what stands there afterwards): defaults that no recorded request meets
DEFAULTED: list[tuple[str, str, Any, str, Any]] = [
    (
        "PacketCapture",
        "spec.destination",
        {"pod": {"name": "p"}},
        "spec.destination.pod.namespace",
        "default",
    ),
    ("PacketCapture", "spec.packet", {}, "spec.packet.ipFamily", "IPv4"),
    ("PacketCapture", "spec.direction", None, "spec.direction", "SourceToDestination"),
    ("BGPPolicy", "spec.listenPort", None, "spec.listenPort", 179),
    ("BGPPolicy", "spec.bgpPeers.0.port", None, "spec.bgpPeers.0.gracefulRestartTimeSeconds", 120),
    ("NodeLatencyMonitor", "spec", {}, "spec.pingIntervalSeconds", 60),
    ("FlowExporterDestination", "spec.filter", {}, "spec.activeFlowExportTimeoutSeconds", 5),
    ("FlowExporterDestination", "spec.filter", {}, "spec.idleFlowExportTimeoutSeconds", 15),
    ("FlowExporterDestination", "spec.filter", {}, "spec.tlsConfig.minTLSVersion", "VersionTLS12"),
    ("SupportBundleCollection", "spec.nodes", {}, "spec.expirationMinutes", 60),
]


def changed(kind: str, field: str, value: Any) -> Object:
    """The good object of a kind with one field set, or removed."""
    version, spec = GOOD[kind]
    name = "default" if kind == "NodeLatencyMonitor" else "rule"
    document: Object = {
        "apiVersion": f"crd.antrea.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": copy.deepcopy(spec),
    }
    *parents, last = field.split(".")
    target = find(document, parents)
    if value is None:
        target.pop(last, None)
    else:
        target[last] = value
    return document


def find(document: Object, fields: list[str]) -> Any:
    value: Any = document
    for field in fields:
        value = value[int(field)] if field.isdigit() else value[field]
    return value


def check_refused(api: Api, kind: str, field: str, value: Any, message: str) -> None:
    document = changed(kind, field, value)
    answer = api.request("POST", api.path(document), document)
    assert (answer.status, answer.json()["reason"]) == (422, "Invalid"), answer.raw
    assert message in answer.json()["message"]


def check_defaulted(api: Api, kind: str, field: str, value: Any, filled: str, default: Any) -> None:
    document = changed(kind, field, value)
    path = api.create(document)
    try:
        assert find(api.request("GET", path).json(), filled.split(".")) == default
    finally:
        api.delete(path)
