"""Egress and ExternalIPPool.

Both are also served as v1alpha2, in which manifests of Antrea 1.x were written. Its schema is the one of
v1beta1: a field that it lacked would be lost when an old client reads an object and writes it back, and
what the old selectors let through besides strings would be stored as a v1beta1 object that no typed client
can read. The controller converts, because a CIDR of one or two addresses meant something else then.
"""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, deprecated, root
from openapi.definitions.schema import (
    Schema,
    any_of,
    integer,
    items,
    one_of,
    record,
    required,
    string,
    strings,
)
from openapi.definitions.shapes import conditions, ip, ip_range, selector, usage


def _egress() -> Schema:
    address = {"oneOf": [{"maxLength": 0}, {"format": "ipv4"}, {"format": "ipv6"}]}
    applied_to = {
        "podSelector": selector("Pods, in all Namespaces unless some are selected."),
        "namespaceSelector": selector("Namespaces all or some of whose Pods are meant."),
    }
    bandwidth = {
        "rate": required(string("Bits per second, as a quantity: 500k, 10M, 1Gi.")),
        "burst": required(string("Bits that may pass at once, as a quantity.")),
    }
    spec = record(
        "What is wanted: an address, a pool that gives one, or an address of a pool.",
        {
            "appliedTo": required(record("Pods whose traffic leaves the cluster this way.", applied_to)),
            "egressIP": ip("Source address that the traffic gets."),
            "egressIPs": strings("Several source addresses. Refused for now.", **address),
            "externalIPPool": string("ExternalIPPool that the address is of."),
            "externalIPPools": strings("Several ExternalIPPools. Refused for now."),
            "bandwidth": record("Limit for the traffic of all Pods that share the address.", bandwidth),
        },
        **one_of(any_of("egressIP", "externalIPPool"), any_of("egressIPs", "externalIPPools")),
    )
    status = record(
        "Where the traffic leaves.",
        {
            "egressNode": string("Node that has the address."),
            "egressIP": string("Address in use."),
            "conditions": conditions("IPAllocated", "IPAssigned"),
        },
    )
    return root("The source address with which Pods' traffic leaves the cluster.", required(spec), status)


def _external_ip_pool() -> Schema:
    subnet = {
        "gateway": required(ip("Router of the subnet.")),
        "prefixLength": required(integer("Length of the subnet's prefix.", 1, 127)),
        "vlan": integer("VLAN of the subnet; 0 is none.", 0, 4094),
    }
    spec = record(
        "What is wanted.",
        {
            "ipRanges": required(items("Ranges that addresses are taken from.", ip_range())),
            "subnetInfo": record("Subnet of the addresses, where it is not that of the Nodes.", subnet),
            "nodeSelector": required(selector("Nodes that may hold addresses of the pool.")),
        },
    )
    status = record("How the pool is used.", {"usage": usage()})
    text = "Addresses that Nodes take on, for Egresses and for Services of type LoadBalancer."
    return root(text, required(spec), status)


EGRESS_COLUMNS = (Column("EgressIP", ".status.egressIP"), AGE, Column("Node", ".status.egressNode"))
POOL_COLUMNS = (
    Column("Total", ".status.usage.total", "integer"),
    Column("Used", ".status.usage.used", "integer"),
    AGE,
)


def _versions(kind: str, schema: Schema, columns: tuple[Column, ...]) -> list[Version]:
    warning = deprecated(kind, "v1alpha2")
    return [
        Version("v1beta1", schema, columns, status=True),
        Version("v1alpha2", schema, columns, status=True, storage=False, deprecation=warning),
    ]


EGRESS = Definition(
    "Egress",
    "egresses",
    ["eg"],
    _versions("Egress", _egress(), EGRESS_COLUMNS),
    conversion="/convert/egress",
)

EXTERNAL_IP_POOL = Definition(
    "ExternalIPPool",
    "externalippools",
    ["eip"],
    _versions("ExternalIPPool", _external_ip_pool(), POOL_COLUMNS),
    conversion="/convert/externalippool",
)
