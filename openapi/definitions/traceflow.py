"""Traceflow: the way of a packet through the network."""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import Schema, boolean, integer, items, record, required, string
from openapi.definitions.shapes import ip, transport_ports

OBSERVED = {
    "component": "What handled the packet: SpoofGuard, LB, Routing, NetworkPolicy, Forwarding, Egress.",
    "componentInfo": "The part of it, such as a table of the pipeline.",
    "action": "What it did: Delivered, Received, Forwarded, Dropped, Rejected, ForwardedOutOfNetwork, "
    "MarkedForSNAT, ForwardedToEgressNode.",
    "pod": "Pod that the packet was delivered to.",
    "dstMAC": "Destination MAC address.",
    "networkPolicy": "Policy that decided.",
    "networkPolicyRule": "Rule of the policy that decided.",
    "translatedSrcIP": "Source address after translation.",
    "translatedDstIP": "Destination address after translation.",
    "tunnelDstIP": "Far end of the tunnel.",
    "egressIP": "Source address that an Egress gives.",
    "egress": "Egress that applies.",
    "egressNode": "Node that has the address of the Egress.",
    "srcPodIP": "Address of the Pod that sent the packet.",
}


def _ip_header() -> Schema:
    return record(
        "IPv4 header.",
        {
            "protocol": integer("Protocol number.", 0, 255),
            "ttl": integer("Time to live.", 0, 255),
            "flags": integer("Flags.", 0, 7),
        },
    )


def _ipv6_header() -> Schema:
    return record(
        "IPv6 header.",
        {
            "nextHeader": integer("Number of the next header.", 0, 65535),
            "hopLimit": integer("Hop limit.", 0, 65535),
        },
    )


def _transport_header() -> Schema:
    icmp = {
        "id": integer("Identifier of an echo request.", 0, 65535),
        "sequence": integer("Sequence number of an echo request.", 0, 65535),
    }
    tcp = transport_ports("TCP") | {"flags": integer("TCP flags; 2 is SYN.", 0, 255)}
    return record(
        "Header of the transport protocol.",
        {
            "icmp": record("ICMP.", icmp),
            "udp": record("UDP.", transport_ports("UDP")),
            "tcp": record("TCP.", tcp),
        },
    )


def _headers() -> dict[str, Schema]:
    return {
        "ipHeader": _ip_header(),
        "ipv6Header": _ipv6_header(),
        "transportHeader": _transport_header(),
    }


def _end(what: str, *, service: bool) -> Schema:
    names = {"pod": string("Name of the Pod."), "namespace": string("Namespace of the Pod.")}
    if service:
        names["namespace"] = string("Namespace of the Pod or Service.")
        names["service"] = string("Name of the Service.")
    return record(f"{what} of the packet.", {**names, "ip": ip("Address.")})


def _spec() -> Schema:
    return record(
        "What is wanted.",
        {
            "source": _end("Sender", service=False),
            "destination": _end("Receiver", service=True),
            "packet": record("Headers of the packet.", _headers()),
            "liveTraffic": boolean("Trace the first matching packet of real traffic, and send none."),
            "droppedOnly": boolean("Trace live traffic only if it is dropped."),
            "timeout": integer("Seconds until the trace fails; 20 if absent.", 1, 300),
        },
    )


def _status() -> Schema:
    observation = {name: string(text) for name, text in OBSERVED.items()}
    observation["ttl"] = integer("Time to live on arrival.", 0, 255)
    result = {
        "node": string("Node that observed this."),
        "role": string("Whether the Node is the sender's or the receiver's."),
        "timestamp": integer("When, in seconds since 1970."),
        "observations": items("What happened there, in order.", record("One step.", observation)),
    }
    captured = {
        "srcIP": string("Source address."),
        "dstIP": string("Destination address."),
        "length": integer("Length of the packet in bytes.", 0, 65535),
        **_headers(),
    }
    return record(
        "What was seen.",
        {
            "phase": string("Empty, Running, Succeeded or Failed."),
            "reason": string("Why it failed."),
            "startTime": string("When it began."),
            "dataplaneTag": integer("Mark of the packet while it is traced."),
            "results": items("What each Node observed.", record("One Node.", result)),
            "capturedPacket": record("The packet of live traffic.", captured),
        },
    )


TRACEFLOW = Definition(
    "Traceflow",
    "traceflows",
    ["tf"],
    [
        Version(
            "v1beta1",
            root("A request to trace a packet through the network.", required(_spec()), _status()),
            [
                Column("Phase", ".status.phase"),
                Column("Source-Pod", ".spec.source.pod", priority=10),
                Column("Destination-Pod", ".spec.destination.pod", priority=10),
                Column("Destination-IP", ".spec.destination.ip", priority=10),
                Column("Live-Traffic", ".spec.liveTraffic", "boolean", priority=10),
                Column("Dropped-Only", ".spec.droppedOnly", "boolean", priority=10),
                Column("Timeout", ".spec.timeout", "integer", priority=10),
                AGE,
            ],
            status=True,
        )
    ],
)
