"""FlowExporterDestination: where agents send records of connections."""

from __future__ import annotations

from openapi.definitions.resource import Column, Definition, Version, root
from openapi.definitions.schema import Schema, choice, int32, items, one_of, record, required, string
from openapi.definitions.shapes import namespaced_name


def _reference(description: str, what: str) -> Schema:
    return namespaced_name(description, what, minLength=1)


def _flow_destination() -> Schema:
    ipfix = {"transport": required(choice("Transport protocol.", "tcp", "udp", "tls"))}
    protocol = {
        "ipfix": record("IPFIX.", ipfix),
        "grpc": record("The FlowAggregator's gRPC service, over TLS."),
    }
    tls = {
        "minTLSVersion": choice(
            "Oldest version of TLS.", "VersionTLS12", "VersionTLS13", default="VersionTLS12"
        ),
        "serverName": string("Name that the server's certificate must have.", minLength=1),
        "caConfigMap": required(_reference("ConfigMap with ca.crt.", "ConfigMap")),
        "clientSecret": _reference("Secret with tls.crt and tls.key.", "Secret"),
    }
    protocols = items("Protocols; all if absent.", {"type": "string", "enum": ["tcp", "udp", "sctp"]})
    timeout = "Seconds after which an {} flow is exported."
    spec = record(
        "What is wanted.",
        {
            "address": required(
                string("Host and port; the host may be namespace/service.", pattern="^.+:[0-9]+$")
            ),
            "protocol": required(record("How flows are sent.", protocol, **one_of(*protocol))),
            "filter": record("Which flows are sent.", {"protocols": protocols}),
            "activeFlowExportTimeoutSeconds": int32(timeout.format("active"), 1, default=5),
            "idleFlowExportTimeoutSeconds": int32(timeout.format("idle"), 1, default=15),
            "tlsConfig": record("How the connection is protected.", tls),
        },
    )
    return root("Where agents send records of connections.", required(spec))


FLOW_EXPORTER_DESTINATION = Definition(
    "FlowExporterDestination",
    "flowexporterdestinations",
    ["flowexporterdest"],
    [Version("v1alpha1", _flow_destination(), [Column("Address:Port", ".spec.address")])],
)
