"""ExternalNode and ExternalEntity: machines outside the cluster."""

from __future__ import annotations

from openapi.definitions.resource import Definition, Version, root
from openapi.definitions.schema import Schema, choice, int_or_string, items, record, required, string
from openapi.definitions.shapes import ip


def _entity() -> Schema:
    endpoint = {"ip": ip("Address."), "name": string("Name of the endpoint.")}
    port = {
        "protocol": choice("Transport protocol.", "TCP", "UDP", "SCTP"),
        "port": int_or_string("Port number."),
        "name": string("Name of the port."),
    }
    spec = record(
        "What is wanted.",
        {
            "endpoints": items("Addresses of the entity.", record("One address.", endpoint)),
            "ports": items("Ports that have names.", record("One port.", port)),
            "externalNode": string("ExternalNode that the entity is an interface of."),
        },
    )
    return root("Something outside the cluster that policies can select by its labels.", spec)


def _node() -> Schema:
    addresses = items("Addresses of the interface.", ip("Address."), minItems=1)
    del addresses["items"]["description"]
    interface = {"ips": addresses, "name": string("Name of the interface.")}
    interfaces = items(
        "The one interface on which policies are enforced.",
        record("An interface.", interface),
        minItems=1,
        maxItems=1,
    )
    spec = record("What is wanted.", {"interfaces": required(interfaces)})
    return root("A machine outside the cluster on which an agent enforces policies.", required(spec))


EXTERNAL_ENTITY = Definition(
    "ExternalEntity",
    "externalentities",
    ["ee"],
    [Version("v1alpha2", _entity())],
    namespaced=True,
)

EXTERNAL_NODE = Definition(
    "ExternalNode",
    "externalnodes",
    ["en"],
    [Version("v1alpha1", _node())],
    namespaced=True,
)
