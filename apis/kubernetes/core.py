"""Pods, Namespaces and Nodes of core/v1, as far as anything here reads them."""

from __future__ import annotations

from typing import Final

import msgspec

from apis.kubernetes.meta import ObjectMeta

LOGGING_ANNOTATION: Final = "networkpolicy.antrea.io/enable-logging"


class ContainerPort(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """One entry of ``spec.containers[].ports``; only named ones take part in policies."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0


class Container(msgspec.Struct, gc=False, omit_defaults=True):
    ports: tuple[ContainerPort, ...] | None = None


class PodSpec(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    node_name: str = ""
    host_network: bool = False
    service_account_name: str = ""
    containers: tuple[Container, ...] | None = None


class PodIP(msgspec.Struct, gc=False, omit_defaults=True):
    ip: str = ""


class PodStatus(msgspec.Struct, gc=False, omit_defaults=True):
    phase: str = ""
    pod_ips: tuple[PodIP, ...] | None = msgspec.field(default=None, name="podIPs")


class Pod(msgspec.Struct, gc=False, omit_defaults=True):
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class NamespaceAnnotations(msgspec.Struct, gc=False, omit_defaults=True):
    """The only annotation that policies read."""

    enable_logging: str | None = msgspec.field(default=None, name=LOGGING_ANNOTATION)


class NamespaceMeta(ObjectMeta):
    annotations: NamespaceAnnotations | None = None


class Namespace(msgspec.Struct, gc=False, omit_defaults=True):
    metadata: NamespaceMeta = msgspec.field(default_factory=NamespaceMeta)


class NodeMeta(ObjectMeta):
    annotations: dict[str, str] | None = None


class NodeSpec(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] | None = msgspec.field(default=None, name="podCIDRs")


class NodeAddress(msgspec.Struct, gc=False, omit_defaults=True):
    type: str = ""
    address: str = ""


class NodeStatus(msgspec.Struct, gc=False, omit_defaults=True):
    addresses: tuple[NodeAddress, ...] | None = None


class Node(msgspec.Struct, gc=False, omit_defaults=True):
    metadata: NodeMeta = msgspec.field(default_factory=NodeMeta)
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)
