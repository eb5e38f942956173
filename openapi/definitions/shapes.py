"""Shapes that several kinds share."""

from __future__ import annotations

from typing import Any

from openapi.definitions.schema import (
    Schema,
    choice,
    int32,
    integer,
    items,
    mapping,
    one_of,
    record,
    required,
    string,
    strings,
)

LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"


def selector(description: str, *, typed: bool = True, checked_values: bool = True) -> Schema:
    """A LabelSelector (meta/v1).

    Where the values of matchLabels are not ``typed`` anything goes there, a number as well; where values are
    not ``checked`` those of matchExpressions are any strings."""
    pattern = {"pattern": LABEL_VALUE} if checked_values else {}
    labels = mapping("Labels that must all be there.", {"type": "string", "pattern": LABEL_VALUE})
    if not typed:
        labels = {
            "description": labels["description"],
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    expression = record(
        "One condition on a label.",
        {
            "key": string("Key of the label."),
            "operator": choice("How the label is compared.", "In", "NotIn", "Exists", "DoesNotExist"),
            "values": strings("Values for In and NotIn.", **pattern),
        },
    )
    return record(
        description,
        {
            "matchExpressions": items("Conditions that must all hold.", expression),
            "matchLabels": labels,
        },
    )


def ip(description: str) -> Schema:
    """An IPv4 or IPv6 address. The empty string is none."""
    return string(description, oneOf=[{"format": "ipv4"}, {"format": "ipv6"}])


def cidr(description: str) -> Schema:
    return string(description, format="cidr")


def ip_block(description: str) -> Schema:
    return record(
        description,
        {
            "cidr": cidr("The addresses, as address/prefix length."),
            "except": items(
                "Ranges inside cidr that are left out.", {"type": "string", "format": "cidr"}
            ),
        },
    )  # fmt: skip


def port_number(description: str, **rules: Any) -> Schema:
    return integer(description, 1, 65535, **rules)


def namespaced_name(description: str, what: str, *, needed: bool = True, **rules: Any) -> Schema:
    """A reference by Namespace and name."""
    name, namespace = string(f"Name of the {what}.", **rules), string(f"Namespace of the {what}.", **rules)
    if needed:
        name, namespace = required(name), required(namespace)
    return record(description, {"name": name, "namespace": namespace})


def object_reference(description: str) -> Schema:
    """An ObjectReference (core/v1)."""
    texts = {
        "apiVersion": "API version of the object.",
        "kind": "Kind of the object.",
        "namespace": "Namespace of the object.",
        "name": "Name of the object.",
        "uid": "UID of the object.",
        "resourceVersion": "Version of the object that is meant.",
        "fieldPath": "Part of the object that is meant.",
    }
    return record(description, {name: string(text) for name, text in texts.items()})


def conditions(*types: str) -> Schema:
    each = record(
        "One aspect of the state.",
        {
            "type": string(f"Aspect: {', '.join(types)}."),
            "status": string("True, False or Unknown."),
            "reason": string("Cause of the last change, in one word."),
            "message": string("Cause of the last change, for people."),
            "lastTransitionTime": string("When the status last changed."),
        },
    )
    return items("Latest observations of the state.", each)


def heartbeats(what: str, *types: str) -> Schema:
    """Conditions that their owner confirms again and again."""
    each = record(
        "One aspect of the health.",
        {
            "type": required(choice("Aspect.", *types)),
            "status": required(choice("Whether it is so.", "True", "False", "Unknown")),
            "lastHeartbeatTime": required(string("When this was last confirmed.", format="date-time")),
            "reason": string("Cause, in one word."),
            "message": string("Cause, for people."),
        },
    )
    return items(f"Health of the {what}.", each)


def usage() -> Schema:
    """How full a pool is."""
    return record(
        "How much of the pool is given out.",
        {
            "total": integer("Addresses that the pool can give out."),
            "used": integer("Addresses that are given out."),
        },
    )


def ip_range(**more: Schema) -> Schema:
    """A range of a pool: either a CIDR, or a first and a last address."""
    return record(
        "Either cidr, or start and end.",
        {
            "cidr": cidr("The range as address/prefix length."),
            "start": ip("First address of the range."),
            "end": ip("Last address of the range."),
            **more,
        },
        **one_of(["cidr", *more], ["start", "end", *more]),
    )


def policy_counts() -> Schema:
    """What a process has computed or received."""
    return record(
        "How many policies and groups the process holds.",
        {
            "networkPolicyNum": int32("Internal NetworkPolicies."),
            "addressGroupNum": int32("AddressGroups."),
            "appliedToGroupNum": int32("AppliedToGroups."),
        },
    )


def transport_ports(protocol: str) -> dict[str, Schema]:
    return {
        "srcPort": port_number(f"{protocol} source port."),
        "dstPort": port_number(f"{protocol} destination port."),
    }
