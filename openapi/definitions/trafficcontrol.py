"""TrafficControl: mirrors or redirects Pods' traffic to a port."""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import Schema, choice, integer, one_of, record, required, string
from openapi.definitions.shapes import ip, port_number, selector


def _named(description: str, what: str) -> Schema:
    return record(description, {"name": required(string(f"Name of the {what}."))})


def _tunnel(protocol: str, **fields: Schema) -> Schema:
    return record(f"{protocol} tunnel.", {"remoteIP": required(ip("Far end of the tunnel.")), **fields})


def _identified(protocol: str) -> Schema:
    return _tunnel(
        protocol,
        vni=integer("Identifier of the virtual network.", 0, 2**24 - 1),
        destinationPort=port_number("UDP port of the far end."),
    )


def _erspan() -> Schema:
    return _tunnel(
        "ERSPAN",
        sessionID=integer("Session.", 0, 1023),
        version=required(choice("ERSPAN version.", 1, 2)),
        index=integer("Port index (version 1)."),
        dir=choice("Direction of the mirrored traffic (version 2).", 0, 1),
        hardwareID=integer("Id of the ERSPAN engine (version 2)."),
    )


def _port(description: str, **more: Schema) -> Schema:
    kinds = {
        "ovsInternal": _named("An internal port of OVS.", "port"),
        "device": _named("A device of the Node.", "device"),
        "geneve": _identified("Geneve"),
        "vxlan": _identified("VXLAN"),
        "gre": _tunnel("GRE", key=integer("GRE key.", 0, 2**32 - 1)),
        **more,
    }
    return record(description, kinds, **one_of(*kinds))


def _spec() -> Schema:
    applied_to = {
        "podSelector": selector("Pods, in all Namespaces unless some are selected.", typed=False),
        "namespaceSelector": selector("Namespaces all or some of whose Pods are meant.", typed=False),
    }
    return record(
        "What is wanted.",
        {
            "appliedTo": required(record("Pods whose traffic is meant.", applied_to)),
            "direction": required(
                choice("Direction, as the Pod sees it.", "Ingress", "Egress", "Both")
            ),
            "action": required(choice("Send a copy, or the traffic itself.", "Mirror", "Redirect")),
            "targetPort": required(_port("Where the traffic is sent.", erspan=_erspan())),
            "returnPort": _port("Where redirected traffic comes back."),
        },
    )  # fmt: skip


TRAFFIC_CONTROL = Definition(
    "TrafficControl",
    "trafficcontrols",
    ["tc"],
    [
        Version(
            "v1alpha2",
            root("Sends Pods' traffic, or a copy of it, through a port.", required(_spec())),
            [Column("Direction", ".spec.direction"), Column("Action", ".spec.action"), AGE],
            status=True,  # without a schema: whatever is written there is pruned
        )
    ],
    labelled=False,
)
