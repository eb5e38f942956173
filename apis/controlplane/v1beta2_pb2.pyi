from apis.meta import intstr_pb2 as _intstr_pb2
from apis.meta import v1_pb2 as _v1_pb2
from apis.stats import v1alpha1_pb2 as _v1alpha1_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PodReference(_message.Message):
    __slots__ = ("name", "namespace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ExternalEntityReference(_message.Message):
    __slots__ = ("name", "namespace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ServiceReference(_message.Message):
    __slots__ = ("name", "namespace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class NodeReference(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class NamedPort(_message.Message):
    __slots__ = ("port", "name", "protocol")
    PORT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    port: int
    name: str
    protocol: str
    def __init__(self, port: _Optional[int] = ..., name: _Optional[str] = ..., protocol: _Optional[str] = ...) -> None: ...

class GroupReference(_message.Message):
    __slots__ = ("namespace", "name", "uid")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    uid: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., uid: _Optional[str] = ...) -> None: ...

class GroupMember(_message.Message):
    __slots__ = ("pod", "externalEntity", "ips", "ports", "node", "service")
    POD_FIELD_NUMBER: _ClassVar[int]
    EXTERNALENTITY_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    pod: PodReference
    externalEntity: ExternalEntityReference
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    ports: _containers.RepeatedCompositeFieldContainer[NamedPort]
    node: NodeReference
    service: ServiceReference
    def __init__(self, pod: _Optional[_Union[PodReference, _Mapping]] = ..., externalEntity: _Optional[_Union[ExternalEntityReference, _Mapping]] = ..., ips: _Optional[_Iterable[bytes]] = ..., ports: _Optional[_Iterable[_Union[NamedPort, _Mapping]]] = ..., node: _Optional[_Union[NodeReference, _Mapping]] = ..., service: _Optional[_Union[ServiceReference, _Mapping]] = ...) -> None: ...

class AppliedToGroup(_message.Message):
    __slots__ = ("metadata", "groupMembers")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    GROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    groupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., groupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class AppliedToGroupPatch(_message.Message):
    __slots__ = ("metadata", "addedGroupMembers", "removedGroupMembers")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ADDEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    addedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    removedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., addedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ..., removedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class AppliedToGroupList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[AppliedToGroup]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[AppliedToGroup, _Mapping]]] = ...) -> None: ...

class AddressGroup(_message.Message):
    __slots__ = ("metadata", "groupMembers")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    GROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    groupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., groupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class AddressGroupPatch(_message.Message):
    __slots__ = ("metadata", "addedGroupMembers", "removedGroupMembers")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ADDEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    addedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    removedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., addedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ..., removedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class AddressGroupList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[AddressGroup]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[AddressGroup, _Mapping]]] = ...) -> None: ...

class EgressGroup(_message.Message):
    __slots__ = ("metadata", "groupMembers")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    GROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    groupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., groupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class EgressGroupPatch(_message.Message):
    __slots__ = ("objectMeta", "addedGroupMembers", "removedGroupMembers")
    OBJECTMETA_FIELD_NUMBER: _ClassVar[int]
    ADDEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVEDGROUPMEMBERS_FIELD_NUMBER: _ClassVar[int]
    objectMeta: _v1_pb2.ObjectMeta
    addedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    removedGroupMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, objectMeta: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., addedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ..., removedGroupMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class EgressGroupList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[EgressGroup]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[EgressGroup, _Mapping]]] = ...) -> None: ...

class IPNet(_message.Message):
    __slots__ = ("ip", "prefixLength")
    IP_FIELD_NUMBER: _ClassVar[int]
    PREFIXLENGTH_FIELD_NUMBER: _ClassVar[int]
    ip: bytes
    prefixLength: int
    def __init__(self, ip: _Optional[bytes] = ..., prefixLength: _Optional[int] = ...) -> None: ...

class IPBlock(_message.Message):
    __slots__ = ("cidr",)
    CIDR_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_FIELD_NUMBER: _ClassVar[int]
    cidr: IPNet
    def __init__(self, cidr: _Optional[_Union[IPNet, _Mapping]] = ..., **kwargs) -> None: ...

class NetworkPolicyPeer(_message.Message):
    __slots__ = ("addressGroups", "ipBlocks", "fqdns", "toServices", "labelIdentities")
    ADDRESSGROUPS_FIELD_NUMBER: _ClassVar[int]
    IPBLOCKS_FIELD_NUMBER: _ClassVar[int]
    FQDNS_FIELD_NUMBER: _ClassVar[int]
    TOSERVICES_FIELD_NUMBER: _ClassVar[int]
    LABELIDENTITIES_FIELD_NUMBER: _ClassVar[int]
    addressGroups: _containers.RepeatedScalarFieldContainer[str]
    ipBlocks: _containers.RepeatedCompositeFieldContainer[IPBlock]
    fqdns: _containers.RepeatedScalarFieldContainer[str]
    toServices: _containers.RepeatedCompositeFieldContainer[ServiceReference]
    labelIdentities: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, addressGroups: _Optional[_Iterable[str]] = ..., ipBlocks: _Optional[_Iterable[_Union[IPBlock, _Mapping]]] = ..., fqdns: _Optional[_Iterable[str]] = ..., toServices: _Optional[_Iterable[_Union[ServiceReference, _Mapping]]] = ..., labelIdentities: _Optional[_Iterable[int]] = ...) -> None: ...

class Service(_message.Message):
    __slots__ = ("protocol", "port", "endPort", "icmpType", "icmpCode", "igmpType", "groupAddress", "srcPort", "srcEndPort")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    ENDPORT_FIELD_NUMBER: _ClassVar[int]
    ICMPTYPE_FIELD_NUMBER: _ClassVar[int]
    ICMPCODE_FIELD_NUMBER: _ClassVar[int]
    IGMPTYPE_FIELD_NUMBER: _ClassVar[int]
    GROUPADDRESS_FIELD_NUMBER: _ClassVar[int]
    SRCPORT_FIELD_NUMBER: _ClassVar[int]
    SRCENDPORT_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    port: _intstr_pb2.IntOrString
    endPort: int
    icmpType: int
    icmpCode: int
    igmpType: int
    groupAddress: str
    srcPort: int
    srcEndPort: int
    def __init__(self, protocol: _Optional[str] = ..., port: _Optional[_Union[_intstr_pb2.IntOrString, _Mapping]] = ..., endPort: _Optional[int] = ..., icmpType: _Optional[int] = ..., icmpCode: _Optional[int] = ..., igmpType: _Optional[int] = ..., groupAddress: _Optional[str] = ..., srcPort: _Optional[int] = ..., srcEndPort: _Optional[int] = ...) -> None: ...

class HTTPProtocol(_message.Message):
    __slots__ = ("host", "method", "path")
    HOST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    host: str
    method: str
    path: str
    def __init__(self, host: _Optional[str] = ..., method: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class TLSProtocol(_message.Message):
    __slots__ = ("sni",)
    SNI_FIELD_NUMBER: _ClassVar[int]
    sni: str
    def __init__(self, sni: _Optional[str] = ...) -> None: ...

class L7Protocol(_message.Message):
    __slots__ = ("http", "tls")
    HTTP_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    http: HTTPProtocol
    tls: TLSProtocol
    def __init__(self, http: _Optional[_Union[HTTPProtocol, _Mapping]] = ..., tls: _Optional[_Union[TLSProtocol, _Mapping]] = ...) -> None: ...

class NetworkPolicyRule(_message.Message):
    __slots__ = ("direction", "to", "services", "priority", "action", "enableLogging", "appliedToGroups", "name", "l7Protocols", "logLabel")
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ENABLELOGGING_FIELD_NUMBER: _ClassVar[int]
    APPLIEDTOGROUPS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    L7PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    LOGLABEL_FIELD_NUMBER: _ClassVar[int]
    direction: str
    to: NetworkPolicyPeer
    services: _containers.RepeatedCompositeFieldContainer[Service]
    priority: int
    action: str
    enableLogging: bool
    appliedToGroups: _containers.RepeatedScalarFieldContainer[str]
    name: str
    l7Protocols: _containers.RepeatedCompositeFieldContainer[L7Protocol]
    logLabel: str
    def __init__(self, direction: _Optional[str] = ..., to: _Optional[_Union[NetworkPolicyPeer, _Mapping]] = ..., services: _Optional[_Iterable[_Union[Service, _Mapping]]] = ..., priority: _Optional[int] = ..., action: _Optional[str] = ..., enableLogging: _Optional[bool] = ..., appliedToGroups: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ..., l7Protocols: _Optional[_Iterable[_Union[L7Protocol, _Mapping]]] = ..., logLabel: _Optional[str] = ..., **kwargs) -> None: ...

class NetworkPolicyReference(_message.Message):
    __slots__ = ("type", "namespace", "name", "uid")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    type: str
    namespace: str
    name: str
    uid: str
    def __init__(self, type: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., uid: _Optional[str] = ...) -> None: ...

class NetworkPolicy(_message.Message):
    __slots__ = ("metadata", "rules", "appliedToGroups", "priority", "tierPriority", "sourceRef")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    APPLIEDTOGROUPS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIERPRIORITY_FIELD_NUMBER: _ClassVar[int]
    SOURCEREF_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    rules: _containers.RepeatedCompositeFieldContainer[NetworkPolicyRule]
    appliedToGroups: _containers.RepeatedScalarFieldContainer[str]
    priority: float
    tierPriority: int
    sourceRef: NetworkPolicyReference
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[NetworkPolicyRule, _Mapping]]] = ..., appliedToGroups: _Optional[_Iterable[str]] = ..., priority: _Optional[float] = ..., tierPriority: _Optional[int] = ..., sourceRef: _Optional[_Union[NetworkPolicyReference, _Mapping]] = ...) -> None: ...

class NetworkPolicyList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[NetworkPolicy]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[NetworkPolicy, _Mapping]]] = ...) -> None: ...

class NetworkPolicyNodeStatus(_message.Message):
    __slots__ = ("nodeName", "generation", "realizationFailure", "message")
    NODENAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REALIZATIONFAILURE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    nodeName: str
    generation: int
    realizationFailure: bool
    message: str
    def __init__(self, nodeName: _Optional[str] = ..., generation: _Optional[int] = ..., realizationFailure: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class NetworkPolicyStatus(_message.Message):
    __slots__ = ("metadata", "nodes")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    nodes: _containers.RepeatedCompositeFieldContainer[NetworkPolicyNodeStatus]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[NetworkPolicyNodeStatus, _Mapping]]] = ...) -> None: ...

class NetworkPolicyStats(_message.Message):
    __slots__ = ("networkPolicy", "trafficStats", "ruleTrafficStats")
    NETWORKPOLICY_FIELD_NUMBER: _ClassVar[int]
    TRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    RULETRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    networkPolicy: NetworkPolicyReference
    trafficStats: _v1alpha1_pb2.TrafficStats
    ruleTrafficStats: _containers.RepeatedCompositeFieldContainer[_v1alpha1_pb2.RuleTrafficStats]
    def __init__(self, networkPolicy: _Optional[_Union[NetworkPolicyReference, _Mapping]] = ..., trafficStats: _Optional[_Union[_v1alpha1_pb2.TrafficStats, _Mapping]] = ..., ruleTrafficStats: _Optional[_Iterable[_Union[_v1alpha1_pb2.RuleTrafficStats, _Mapping]]] = ...) -> None: ...

class MulticastGroupInfo(_message.Message):
    __slots__ = ("group", "pods")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    group: str
    pods: _containers.RepeatedCompositeFieldContainer[PodReference]
    def __init__(self, group: _Optional[str] = ..., pods: _Optional[_Iterable[_Union[PodReference, _Mapping]]] = ...) -> None: ...

class NodeStatsSummary(_message.Message):
    __slots__ = ("metadata", "networkPolicies", "antreaClusterNetworkPolicies", "antreaNetworkPolicies", "multicast")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NETWORKPOLICIES_FIELD_NUMBER: _ClassVar[int]
    ANTREACLUSTERNETWORKPOLICIES_FIELD_NUMBER: _ClassVar[int]
    ANTREANETWORKPOLICIES_FIELD_NUMBER: _ClassVar[int]
    MULTICAST_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    networkPolicies: _containers.RepeatedCompositeFieldContainer[NetworkPolicyStats]
    antreaClusterNetworkPolicies: _containers.RepeatedCompositeFieldContainer[NetworkPolicyStats]
    antreaNetworkPolicies: _containers.RepeatedCompositeFieldContainer[NetworkPolicyStats]
    multicast: _containers.RepeatedCompositeFieldContainer[MulticastGroupInfo]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., networkPolicies: _Optional[_Iterable[_Union[NetworkPolicyStats, _Mapping]]] = ..., antreaClusterNetworkPolicies: _Optional[_Iterable[_Union[NetworkPolicyStats, _Mapping]]] = ..., antreaNetworkPolicies: _Optional[_Iterable[_Union[NetworkPolicyStats, _Mapping]]] = ..., multicast: _Optional[_Iterable[_Union[MulticastGroupInfo, _Mapping]]] = ...) -> None: ...

class Entity(_message.Message):
    __slots__ = ("pod",)
    POD_FIELD_NUMBER: _ClassVar[int]
    pod: PodReference
    def __init__(self, pod: _Optional[_Union[PodReference, _Mapping]] = ...) -> None: ...

class NetworkPolicyEvaluationRequest(_message.Message):
    __slots__ = ("source", "destination")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    source: Entity
    destination: Entity
    def __init__(self, source: _Optional[_Union[Entity, _Mapping]] = ..., destination: _Optional[_Union[Entity, _Mapping]] = ...) -> None: ...

class RuleRef(_message.Message):
    __slots__ = ("direction", "name", "action")
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    direction: str
    name: str
    action: str
    def __init__(self, direction: _Optional[str] = ..., name: _Optional[str] = ..., action: _Optional[str] = ...) -> None: ...

class NetworkPolicyEvaluationResponse(_message.Message):
    __slots__ = ("networkPolicy", "ruleIndex", "rule")
    NETWORKPOLICY_FIELD_NUMBER: _ClassVar[int]
    RULEINDEX_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    networkPolicy: NetworkPolicyReference
    ruleIndex: int
    rule: RuleRef
    def __init__(self, networkPolicy: _Optional[_Union[NetworkPolicyReference, _Mapping]] = ..., ruleIndex: _Optional[int] = ..., rule: _Optional[_Union[RuleRef, _Mapping]] = ...) -> None: ...

class NetworkPolicyEvaluation(_message.Message):
    __slots__ = ("request", "response", "metadata")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    request: NetworkPolicyEvaluationRequest
    response: NetworkPolicyEvaluationResponse
    metadata: _v1_pb2.ObjectMeta
    def __init__(self, request: _Optional[_Union[NetworkPolicyEvaluationRequest, _Mapping]] = ..., response: _Optional[_Union[NetworkPolicyEvaluationResponse, _Mapping]] = ..., metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ...) -> None: ...

class ClusterGroupMembers(_message.Message):
    __slots__ = ("metadata", "effectiveMembers", "effectiveIPBlocks", "totalMembers", "totalPages", "currentPage")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVEMEMBERS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVEIPBLOCKS_FIELD_NUMBER: _ClassVar[int]
    TOTALMEMBERS_FIELD_NUMBER: _ClassVar[int]
    TOTALPAGES_FIELD_NUMBER: _ClassVar[int]
    CURRENTPAGE_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    effectiveMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    effectiveIPBlocks: _containers.RepeatedCompositeFieldContainer[IPNet]
    totalMembers: int
    totalPages: int
    currentPage: int
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., effectiveMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ..., effectiveIPBlocks: _Optional[_Iterable[_Union[IPNet, _Mapping]]] = ..., totalMembers: _Optional[int] = ..., totalPages: _Optional[int] = ..., currentPage: _Optional[int] = ...) -> None: ...

class GroupMembers(_message.Message):
    __slots__ = ("metadata", "effectiveMembers", "effectiveIPBlocks", "totalMembers", "totalPages", "currentPage")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVEMEMBERS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVEIPBLOCKS_FIELD_NUMBER: _ClassVar[int]
    TOTALMEMBERS_FIELD_NUMBER: _ClassVar[int]
    TOTALPAGES_FIELD_NUMBER: _ClassVar[int]
    CURRENTPAGE_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    effectiveMembers: _containers.RepeatedCompositeFieldContainer[GroupMember]
    effectiveIPBlocks: _containers.RepeatedCompositeFieldContainer[IPNet]
    totalMembers: int
    totalPages: int
    currentPage: int
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., effectiveMembers: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ..., effectiveIPBlocks: _Optional[_Iterable[_Union[IPNet, _Mapping]]] = ..., totalMembers: _Optional[int] = ..., totalPages: _Optional[int] = ..., currentPage: _Optional[int] = ...) -> None: ...

class GroupAssociation(_message.Message):
    __slots__ = ("metadata", "associatedGroups")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ASSOCIATEDGROUPS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    associatedGroups: _containers.RepeatedCompositeFieldContainer[GroupReference]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., associatedGroups: _Optional[_Iterable[_Union[GroupReference, _Mapping]]] = ...) -> None: ...

class IPGroupAssociation(_message.Message):
    __slots__ = ("metadata", "associatedGroups")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ASSOCIATEDGROUPS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    associatedGroups: _containers.RepeatedCompositeFieldContainer[GroupReference]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., associatedGroups: _Optional[_Iterable[_Union[GroupReference, _Mapping]]] = ...) -> None: ...

class PaginationGetOptions(_message.Message):
    __slots__ = ("page", "limit")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    page: int
    limit: int
    def __init__(self, page: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class BundleFileServer(_message.Message):
    __slots__ = ("url", "hostPublicKey")
    URL_FIELD_NUMBER: _ClassVar[int]
    HOSTPUBLICKEY_FIELD_NUMBER: _ClassVar[int]
    url: str
    hostPublicKey: bytes
    def __init__(self, url: _Optional[str] = ..., hostPublicKey: _Optional[bytes] = ...) -> None: ...

class BasicAuthentication(_message.Message):
    __slots__ = ("username", "password")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: str
    def __init__(self, username: _Optional[str] = ..., password: _Optional[str] = ...) -> None: ...

class BundleServerAuthConfiguration(_message.Message):
    __slots__ = ("bearerToken", "apiKey", "basicAuthentication")
    BEARERTOKEN_FIELD_NUMBER: _ClassVar[int]
    APIKEY_FIELD_NUMBER: _ClassVar[int]
    BASICAUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    bearerToken: str
    apiKey: str
    basicAuthentication: BasicAuthentication
    def __init__(self, bearerToken: _Optional[str] = ..., apiKey: _Optional[str] = ..., basicAuthentication: _Optional[_Union[BasicAuthentication, _Mapping]] = ...) -> None: ...

class SupportBundleCollection(_message.Message):
    __slots__ = ("metadata", "expiredAt", "sinceTime", "fileServer", "authentication")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EXPIREDAT_FIELD_NUMBER: _ClassVar[int]
    SINCETIME_FIELD_NUMBER: _ClassVar[int]
    FILESERVER_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    expiredAt: _v1_pb2.Time
    sinceTime: str
    fileServer: BundleFileServer
    authentication: BundleServerAuthConfiguration
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., expiredAt: _Optional[_Union[_v1_pb2.Time, _Mapping]] = ..., sinceTime: _Optional[str] = ..., fileServer: _Optional[_Union[BundleFileServer, _Mapping]] = ..., authentication: _Optional[_Union[BundleServerAuthConfiguration, _Mapping]] = ...) -> None: ...

class SupportBundleCollectionList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[SupportBundleCollection]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[SupportBundleCollection, _Mapping]]] = ...) -> None: ...

class SupportBundleCollectionNodeStatus(_message.Message):
    __slots__ = ("nodeName", "nodeNamespace", "nodeType", "completed", "error")
    NODENAME_FIELD_NUMBER: _ClassVar[int]
    NODENAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NODETYPE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    nodeName: str
    nodeNamespace: str
    nodeType: str
    completed: bool
    error: str
    def __init__(self, nodeName: _Optional[str] = ..., nodeNamespace: _Optional[str] = ..., nodeType: _Optional[str] = ..., completed: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class SupportBundleCollectionStatus(_message.Message):
    __slots__ = ("metadata", "nodes")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    nodes: _containers.RepeatedCompositeFieldContainer[SupportBundleCollectionNodeStatus]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[SupportBundleCollectionNodeStatus, _Mapping]]] = ...) -> None: ...
