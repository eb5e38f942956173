"""From a Pod to what groups need of it: its encoded membership, its node, its labels.

A pod counts in address groups if it has addresses of its own, and in applied-to groups once it has a node;
one that uses the host's network or has ended counts in neither (Antrea v2.7). Readiness and pending
deletion do not matter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

import msgspec

from apis.addresses import V4_MAPPED
from apis.controlplane.wire import ip_field, member_field, pod_field, port_field
from apis.kubernetes.core import Pod
from apis.naming import SERVICE_ACCOUNT_LABEL
from computation.errors import MalformedObject
from computation.namespaces import LabelSet

ENDED: Final = frozenset({"Succeeded", "Failed"})

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_IPV4_FIELD: Final = ip_field(V4_MAPPED + bytes(4))[:-4]


class Endpoint:
    """One version of a pod, immutable: its member in address groups and in applied-to groups (None: it does
    not count there), encoded as fields of a group, and its node ("" without one)."""

    __slots__ = ("address", "label_set", "node", "target")

    def __init__(self, label_set: LabelSet, address: bytes | None, target: bytes | None, node: str) -> None:
        self.label_set = label_set
        self.address = address
        self.target = target
        self.node = node


def labels_key(pod: Pod) -> bytes:
    """By this label sets are told apart: the labels in their order and the service account."""
    return _encode_sorted(pod.metadata.labels or None) + pod.spec.service_account_name.encode()


def pod_labels(pod: Pod) -> Mapping[str, str]:
    """The labels that selectors see: the pod's own and its service account as one more."""
    labels = pod.metadata.labels or {}
    account = pod.spec.service_account_name
    return {**labels, SERVICE_ACCOUNT_LABEL: account} if account else labels


def _ports(pod: Pod) -> bytes:
    """The named ports of the regular containers, encoded."""
    fields = b""
    for container in pod.spec.containers or ():
        for port in container.ports or ():
            if port.name:
                fields += port_field(port.container_port, port.name, port.protocol)
    return fields


def _addresses(pod: Pod) -> bytes:
    """The pod's addresses in their order, encoded; empty where it has none."""
    fields = b""
    for pod_ip in pod.status.pod_ips or ():
        text = pod_ip.ip
        try:
            if ":" in text:
                fields += ip_field(inet_pton(AF_INET6, text))
            else:
                fields += _IPV4_FIELD + inet_pton(AF_INET, text)
        except (OSError, ValueError):
            meta = pod.metadata
            field = f"status.podIPs[{(pod.status.pod_ips or ()).index(pod_ip)}].ip"
            problem = f"{text!r} is not an IP address"
            raise MalformedObject("Pod", meta.namespace, meta.name, field, problem) from None
    return fields


def members(pod: Pod, namespace_field: bytes) -> tuple[bytes | None, bytes | None, str]:
    """``(address, target, node)`` of an `Endpoint`. Raises MalformedObject."""
    spec = pod.spec
    if spec.host_network or pod.status.phase in ENDED:
        return None, None, ""
    reference = pod_field(pod.metadata.name, namespace_field)
    ports = _ports(pod) if spec.containers else b""
    addresses = _addresses(pod) if pod.status.pod_ips else b""
    address = member_field(reference + addresses + ports) if addresses else None
    if not spec.node_name:
        return address, None, ""
    # Node names repeat for every pod of the node: one string for all.
    return address, member_field(reference + ports), sys.intern(spec.node_name)
