from apis.meta import v1_pb2 as _v1_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrafficStats(_message.Message):
    __slots__ = ("packets", "bytes", "sessions")
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    packets: int
    bytes: int
    sessions: int
    def __init__(self, packets: _Optional[int] = ..., bytes: _Optional[int] = ..., sessions: _Optional[int] = ...) -> None: ...

class RuleTrafficStats(_message.Message):
    __slots__ = ("name", "trafficStats")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    name: str
    trafficStats: TrafficStats
    def __init__(self, name: _Optional[str] = ..., trafficStats: _Optional[_Union[TrafficStats, _Mapping]] = ...) -> None: ...

class NetworkPolicyStats(_message.Message):
    __slots__ = ("metadata", "trafficStats")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    trafficStats: TrafficStats
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., trafficStats: _Optional[_Union[TrafficStats, _Mapping]] = ...) -> None: ...

class NetworkPolicyStatsList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[NetworkPolicyStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[NetworkPolicyStats, _Mapping]]] = ...) -> None: ...

class AntreaClusterNetworkPolicyStats(_message.Message):
    __slots__ = ("metadata", "trafficStats", "ruleTrafficStats")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    RULETRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    trafficStats: TrafficStats
    ruleTrafficStats: _containers.RepeatedCompositeFieldContainer[RuleTrafficStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., trafficStats: _Optional[_Union[TrafficStats, _Mapping]] = ..., ruleTrafficStats: _Optional[_Iterable[_Union[RuleTrafficStats, _Mapping]]] = ...) -> None: ...

class AntreaClusterNetworkPolicyStatsList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[AntreaClusterNetworkPolicyStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[AntreaClusterNetworkPolicyStats, _Mapping]]] = ...) -> None: ...

class AntreaNetworkPolicyStats(_message.Message):
    __slots__ = ("metadata", "trafficStats", "ruleTrafficStats")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    RULETRAFFICSTATS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    trafficStats: TrafficStats
    ruleTrafficStats: _containers.RepeatedCompositeFieldContainer[RuleTrafficStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., trafficStats: _Optional[_Union[TrafficStats, _Mapping]] = ..., ruleTrafficStats: _Optional[_Iterable[_Union[RuleTrafficStats, _Mapping]]] = ...) -> None: ...

class AntreaNetworkPolicyStatsList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[AntreaNetworkPolicyStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[AntreaNetworkPolicyStats, _Mapping]]] = ...) -> None: ...

class PodReference(_message.Message):
    __slots__ = ("name", "namespace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class MulticastGroup(_message.Message):
    __slots__ = ("metadata", "group", "pods")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    group: str
    pods: _containers.RepeatedCompositeFieldContainer[PodReference]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., group: _Optional[str] = ..., pods: _Optional[_Iterable[_Union[PodReference, _Mapping]]] = ...) -> None: ...

class MulticastGroupList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[MulticastGroup]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[MulticastGroup, _Mapping]]] = ...) -> None: ...

class TargetIPLatencyStats(_message.Message):
    __slots__ = ("targetIP", "lastSendTime", "lastRecvTime", "lastMeasuredRTTNanoseconds")
    TARGETIP_FIELD_NUMBER: _ClassVar[int]
    LASTSENDTIME_FIELD_NUMBER: _ClassVar[int]
    LASTRECVTIME_FIELD_NUMBER: _ClassVar[int]
    LASTMEASUREDRTTNANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    targetIP: str
    lastSendTime: _v1_pb2.Time
    lastRecvTime: _v1_pb2.Time
    lastMeasuredRTTNanoseconds: int
    def __init__(self, targetIP: _Optional[str] = ..., lastSendTime: _Optional[_Union[_v1_pb2.Time, _Mapping]] = ..., lastRecvTime: _Optional[_Union[_v1_pb2.Time, _Mapping]] = ..., lastMeasuredRTTNanoseconds: _Optional[int] = ...) -> None: ...

class PeerNodeLatencyStats(_message.Message):
    __slots__ = ("nodeName", "targetIPLatencyStats")
    NODENAME_FIELD_NUMBER: _ClassVar[int]
    TARGETIPLATENCYSTATS_FIELD_NUMBER: _ClassVar[int]
    nodeName: str
    targetIPLatencyStats: _containers.RepeatedCompositeFieldContainer[TargetIPLatencyStats]
    def __init__(self, nodeName: _Optional[str] = ..., targetIPLatencyStats: _Optional[_Iterable[_Union[TargetIPLatencyStats, _Mapping]]] = ...) -> None: ...

class NodeLatencyStats(_message.Message):
    __slots__ = ("metadata", "peerNodeLatencyStats")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PEERNODELATENCYSTATS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ObjectMeta
    peerNodeLatencyStats: _containers.RepeatedCompositeFieldContainer[PeerNodeLatencyStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ObjectMeta, _Mapping]] = ..., peerNodeLatencyStats: _Optional[_Iterable[_Union[PeerNodeLatencyStats, _Mapping]]] = ...) -> None: ...

class NodeLatencyStatsList(_message.Message):
    __slots__ = ("metadata", "items")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    metadata: _v1_pb2.ListMeta
    items: _containers.RepeatedCompositeFieldContainer[NodeLatencyStats]
    def __init__(self, metadata: _Optional[_Union[_v1_pb2.ListMeta, _Mapping]] = ..., items: _Optional[_Iterable[_Union[NodeLatencyStats, _Mapping]]] = ...) -> None: ...
