"""The policies' structs, fields in the order in which Go encodes them: names of rules are hashes of that."""

from __future__ import annotations

from typing import Annotated, Final

from apis.gojson import ALWAYS, POINTER, Int32, IntOrString, Named
from controller.admission.objects import (
    IPBlock,
    LabelSelector,
    NamespacedName,
    ObjectMeta,
    V1Beta1,
)

ALLOW: Final = "Allow"
REJECT: Final = "Reject"
PASS: Final = "Pass"


class NetworkPolicyPort(V1Beta1):
    protocol: Annotated[str | None, Named("v1.Protocol"), POINTER] = None
    port: Annotated[IntOrString | None, POINTER] = None
    end_port: Annotated[Int32 | None, POINTER] = None
    source_port: Annotated[Int32 | None, POINTER] = None
    source_end_port: Annotated[Int32 | None, POINTER] = None


class ICMPProtocol(V1Beta1):
    icmp_type: Annotated[Int32 | None, POINTER] = None
    icmp_code: Annotated[Int32 | None, POINTER] = None


class IGMPProtocol(V1Beta1):
    igmp_type: Annotated[Int32 | None, POINTER] = None
    group_address: str | None = None


class NetworkPolicyProtocol(V1Beta1):
    icmp: ICMPProtocol | None = None
    igmp: IGMPProtocol | None = None


class HTTPProtocol(V1Beta1):
    host: str | None = None
    method: str | None = None
    path: str | None = None


class TLSProtocol(V1Beta1):
    sni: str | None = None


class L7Protocol(V1Beta1):
    http: HTTPProtocol | None = None
    tls: TLSProtocol | None = None


class PeerNamespaces(V1Beta1):
    match: Annotated[str | None, Named("v1beta1.NamespaceMatchType")] = None
    same_labels: list[str] | None = None


class NetworkPolicyPeer(V1Beta1):
    ip_block: IPBlock | None = None
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    namespaces: PeerNamespaces | None = None
    external_entity_selector: LabelSelector | None = None
    group: str | None = None
    fqdn: str | None = None
    service_account: NamespacedName | None = None
    node_selector: LabelSelector | None = None
    scope: Annotated[str | None, Named("v1beta1.PeerScope")] = None


class PeerService(V1Beta1):
    name: str | None = None
    namespace: str | None = None
    scope: Annotated[str | None, Named("v1beta1.PeerScope")] = None


class AppliedTo(V1Beta1):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    external_entity_selector: LabelSelector | None = None
    group: str | None = None
    service_account: NamespacedName | None = None
    service: NamespacedName | None = None
    node_selector: LabelSelector | None = None


class Rule(V1Beta1):
    action: Annotated[str | None, Named("v1beta1.RuleAction"), ALWAYS, POINTER] = None
    ports: list[NetworkPolicyPort] | None = None
    protocols: list[NetworkPolicyProtocol] | None = None
    l7_protocols: list[L7Protocol] | None = None
    from_: list[NetworkPolicyPeer] | None = None
    to: list[NetworkPolicyPeer] | None = None
    to_services: list[PeerService] | None = None
    name: str | None = None
    enable_logging: Annotated[bool | None, ALWAYS] = None
    log_label: str | None = None
    applied_to: list[AppliedTo] | None = None


class ClusterNetworkPolicySpec(V1Beta1):
    tier: str | None = None
    priority: float | None = None
    applied_to: list[AppliedTo] | None = None
    ingress: list[Rule] | None = None
    egress: list[Rule] | None = None


class NetworkPolicySpec(V1Beta1):
    tier: str | None = None
    priority: float | None = None
    applied_to: list[AppliedTo] | None = None
    ingress: list[Rule] | None = None
    egress: list[Rule] | None = None


Spec = ClusterNetworkPolicySpec | NetworkPolicySpec


class ClusterNetworkPolicy(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: ClusterNetworkPolicySpec | None = None


class NetworkPolicy(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: NetworkPolicySpec | None = None


KINDS: Final[dict[str, type[ClusterNetworkPolicy] | type[NetworkPolicy]]] = {
    "ClusterNetworkPolicy": ClusterNetworkPolicy,
    "NetworkPolicy": NetworkPolicy,
}
