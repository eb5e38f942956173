"""IPPool: addresses for Pods. v1alpha2 keeps the subnet in each range, v1beta1 once for the pool."""

from __future__ import annotations

from openapi.definitions.egress import POOL_COLUMNS
from openapi.definitions.resource import Definition, Version, deprecated, root
from openapi.definitions.schema import (
    Schema,
    cel,
    choice,
    integer,
    items,
    record,
    required,
    string,
)
from openapi.definitions.shapes import ip, ip_range, namespaced_name, usage

TEXT = "Addresses for Pods that do not take theirs from the Node's subnet."


def _immutable(field: str) -> Schema:
    return cel(("self == oldSelf", f"{field} is immutable"))


def _v1beta1() -> Schema:
    gateway = ip("Router of the subnet. Cannot be changed.") | _immutable("gateway")
    prefix = integer(
        "Length of the subnet's prefix. Cannot be changed.", 1, 127, **_immutable("prefixLength")
    )
    subnet = {
        "gateway": required(gateway),
        "prefixLength": required(prefix),
        "vlan": integer("VLAN of the subnet; 0 is none.", 0, 4094),
    }
    spec = record(
        "What is wanted.",
        {
            "ipRanges": required(items("Ranges that addresses are taken from.", ip_range())),
            "subnetInfo": required(record("Subnet of all ranges.", subnet)),
        },
    )
    return root(TEXT, required(spec), _status())


def _v1alpha2() -> Schema:
    each = ip_range(
        gateway=ip("Router of the subnet."), prefixLength=integer("Length of the subnet's prefix.", 1, 128)
    )
    each["properties"]["vlan"] = integer("VLAN of the subnet; 0 is none.", 0, 4094)
    spec = record(
        "What is wanted.",
        {
            "ipVersion": required(choice("IP family of the ranges.", 4, 6)),
            "ipRanges": required(items("Ranges with their subnet, which is the same for all.", each)),
        },
    )
    return root(TEXT, required(spec), _status())


def _status() -> Schema:
    stateful_set = namespaced_name("StatefulSet that has the address.", "StatefulSet", needed=False)
    stateful_set["properties"]["index"] = integer("Index of the Pod in the StatefulSet.")
    pod = namespaced_name("Pod that has the address.", "Pod", needed=False)
    pod["properties"] |= {
        "containerID": string("Container of the Pod's network."),
        "ifName": string("Interface of the Pod."),
    }
    address = {
        "ipAddress": string("The address."),
        "phase": string("Allocated, Preallocated or Reserved."),
        "owner": record("Who has the address.", {"pod": pod, "statefulSet": stateful_set}),
    }
    return record(
        "How the pool is used.",
        {
            "ipAddresses": items("Addresses that are given out.", record("One address.", address)),
            "usage": usage(),
        },
    )


IP_POOL = Definition(
    "IPPool",
    "ippools",
    ["ipp"],
    [
        Version("v1beta1", _v1beta1(), POOL_COLUMNS, status=True),
        Version(
            "v1alpha2",
            _v1alpha2(),
            POOL_COLUMNS,
            status=True,
            storage=False,
            deprecation=deprecated("IPPool", "v1alpha2"),
        ),
    ],
    conversion="/convert/ippool",
)
