"""PacketCapture: packets of a Pod, in a file."""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import (
    Schema,
    cel,
    choice,
    int32,
    int_or_string,
    integer,
    items,
    one_of,
    record,
    required,
    string,
)
from openapi.definitions.shapes import conditions, ip, transport_ports

FILE_SERVER_URL = r"sftp:\/\/([\w-_./]+|\[[\w-_.:/]+\]):\d+"

A_POD = (
    "has(self.source.pod) || has(self.destination.pod)",
    "At least one of source.pod or destination.pod must be specified.",
)
POD_AT_SOURCE = (
    "!(has(self.capturePoint) && self.capturePoint == 'Source') || has(self.source.pod)",
    "source.pod must be set when capturePoint is 'Source'",
)
POD_AT_DESTINATION = (
    "!(has(self.capturePoint) && self.capturePoint == 'Destination') || has(self.destination.pod)",
    "destination.pod must be set when capturePoint is 'Destination'",
)
POD_OR_IP = ("!(has(self.pod) && has(self.ip))", "At most one of 'pod' or 'ip' may be set")
ONE_TRANSPORT = (
    "(has(self.icmp) ? 1 : 0) + (has(self.icmpv6) ? 1 : 0) + (has(self.udp) ? 1 : 0)"
    " + (has(self.tcp) ? 1: 0) <= 1",
    "At most one of 'ICMP', 'ICMPv6', 'UDP', or 'TCP' may be set",
)


def _end(what: str) -> Schema:
    pod = {
        "namespace": string("Namespace of the Pod.", default="default"),
        "name": required(string("Name of the Pod.")),
    }
    return record(
        f"{what} of the packets: a Pod or an address.",
        {"pod": record("A Pod.", pod), "ip": ip("An address.")},
        **cel(POD_OR_IP),
    )


def _messages(protocol: str) -> Schema:
    message = {
        "type": required(int_or_string(f"{protocol} type, by number or name.")),
        "code": integer(f"{protocol} code; all if absent.", 0, 255),
    }
    return record(
        f"{protocol} messages.",
        {"messages": items("Messages that are captured; all if absent.", record("One.", message))},
    )


def _transport_header() -> Schema:
    flag = {
        "value": required(integer("Flags that are set.", 0, 255)),
        "mask": integer("Flags that are looked at.", 0, 255),
    }
    tcp = transport_ports("TCP") | {
        "flags": items("TCP flags, any of which must match.", record("One.", flag))
    }
    return record(
        "Header of the transport protocol.",
        {
            "udp": record("UDP.", transport_ports("UDP")),
            "tcp": record("TCP.", tcp),
            "icmp": _messages("ICMP"),
            "icmpv6": _messages("ICMPv6"),
        },
        **cel(ONE_TRANSPORT),
    )


def _spec() -> Schema:
    first = record(
        "The first packets that match.", {"number": required(int32("How many packets are captured."))}
    )
    file_server = {
        "url": string("SFTP address with a port that the file is sent to.", pattern=FILE_SERVER_URL),
        "hostPublicKey": string("The server's SSH public key in wire format.", format="byte"),
    }
    packet = {
        "ipFamily": choice("IP family.", "IPv4", "IPv6", default="IPv4"),
        "protocol": int_or_string("Transport protocol, by number or name."),
        "transportHeader": _transport_header(),
    }
    directions = ("SourceToDestination", "DestinationToSource", "Both")
    return record(
        "What is wanted.",
        {
            "source": _end("Sender"),
            "destination": _end("Receiver"),
            "packet": record("Packets that are captured; all if absent.", packet),
            "direction": choice("Direction of the packets.", *directions, default=directions[0]),
            "capturePoint": choice("Which end captures, if both are Pods.", "Source", "Destination"),
            "timeout": integer("Seconds until the capture ends.", 1, 300, default=60),
            "captureConfig": required(
                record("When the capture ends.", {"firstN": first}, **one_of("firstN"))
            ),
            "fileServer": record("Where the file is sent, besides staying with the agent.", file_server),
        },
        **cel(A_POD, POD_AT_SOURCE, POD_AT_DESTINATION),
    )


def _status() -> Schema:
    kinds = ("PacketCaptureStarted", "PacketCaptureComplete", "PacketCaptureFileUploaded")
    return record(
        "How far the capture is.",
        {
            "numberCaptured": integer("Packets captured so far."),
            "filePath": string("Where the file is: agent's Pod and path."),
            "conditions": conditions(*kinds),
        },
    )


def _condition(name: str, kind: str, priority: int = 0) -> Column:
    return Column(name, f'.status.conditions[?(@.type=="{kind}")].status', priority=priority)


PACKET_CAPTURE = Definition(
    "PacketCapture",
    "packetcaptures",
    ["pcap"],
    [
        Version(
            "v1alpha1",
            root("A request to capture packets of a Pod.", required(_spec()), _status()),
            [
                Column("Source-Pod", ".spec.source.pod", priority=10),
                Column("Destination-Pod", ".spec.destination.pod", priority=10),
                Column("Source-IP", ".spec.source.ip", priority=10),
                Column("Destination-IP", ".spec.destination.ip", priority=10),
                Column("Timeout", ".spec.timeout", "integer", priority=10),
                AGE,
                Column("Captured-Packets", ".status.numberCaptured", "integer"),
                _condition("Started", "PacketCaptureStarted"),
                _condition("Complete", "PacketCaptureComplete"),
                _condition("Uploaded", "PacketCaptureFileUploaded", 10),
            ],
            status=True,
        )
    ],
)
