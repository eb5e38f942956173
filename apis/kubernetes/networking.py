"""NetworkPolicy of networking.k8s.io/v1.

None and empty differ as they do for Kubernetes: a peer's ``podSelector`` of None is not set, an empty one
selects every pod. For ``from``, ``to`` and ``ports`` both mean "any".
"""

from __future__ import annotations

import msgspec

from apis.kubernetes.meta import ObjectMeta
from apis.labels import LabelSelector


class IPBlock(msgspec.Struct, gc=False, omit_defaults=True):
    cidr: str = ""
    except_: tuple[str, ...] | None = msgspec.field(default=None, name="except")


class NetworkPolicyPeer(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class IngressRule(msgspec.Struct, gc=False, omit_defaults=True):
    peers: tuple[NetworkPolicyPeer, ...] | None = msgspec.field(default=None, name="from")
    ports: tuple[NetworkPolicyPort, ...] | None = None


class EgressRule(msgspec.Struct, gc=False, omit_defaults=True):
    peers: tuple[NetworkPolicyPeer, ...] | None = msgspec.field(default=None, name="to")
    ports: tuple[NetworkPolicyPort, ...] | None = None


class NetworkPolicySpec(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    pod_selector: LabelSelector = msgspec.field(default_factory=LabelSelector)
    policy_types: tuple[str, ...] | None = None
    ingress: tuple[IngressRule, ...] | None = None
    egress: tuple[EgressRule, ...] | None = None


class NetworkPolicy(msgspec.Struct, gc=False, omit_defaults=True):
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: NetworkPolicySpec = msgspec.field(default_factory=NetworkPolicySpec)
