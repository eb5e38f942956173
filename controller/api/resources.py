"""The resources of controlplane.antrea.io, stats.antrea.io and system.antrea.io: names, verbs, columns.

The table is a contract (Antrea v2.7, "resources"): discovery shows it, agents and kubectl depend on it. All
resources are registered whatever the feature gates say.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from apis.controlplane import v1beta2
from apis.meta.convert import ConvertError, decode, from_json, to_json
from apis.record import Media
from apis.schemas import definitions
from apis.stats import v1alpha1_pb2
from apiserver.resources import Column, ResourceInfo, Subresource

CONTROL_PLANE = "controlplane.antrea.io"
STATS = "stats.antrea.io"
SYSTEM = "system.antrea.io"

_BOTH = frozenset({Media.JSON, Media.PROTOBUF})
_CODEC = v1beta2.Codec()


def _control_plane(plural: str, kind: str, **more: Any) -> ResourceInfo:
    return ResourceInfo(
        CONTROL_PLANE, "v1beta2", plural, kind, media=_BOTH, codec=_CODEC, definitions=definitions(), **more
    )


def _watched(plural: str, kind: str, **more: Any) -> ResourceInfo:
    """Served from a store that the computation fills, to each node its part. Agents of upstream wait for the
    BOOKMARK at the end of the initial state and do not ask for it."""
    return _control_plane(
        plural,
        kind,
        store=plural,
        node_scoped=True,
        bookmark_always=True,
        not_found_name=kind.lower(),
        **more,
    )


ADDRESS_GROUPS = _watched("addressgroups", "AddressGroup")
APPLIED_TO_GROUPS = _watched("appliedtogroups", "AppliedToGroup")
# Upstream serves no get of it, though its agents may: here it tells where a policy is in force.
NETWORK_POLICIES = _watched(
    "networkpolicies",
    "NetworkPolicy",
    subresources=(Subresource("status", "NetworkPolicyStatus", ("create", "get")),),
)
EGRESS_GROUPS = _watched("egressgroups", "EgressGroup")
SUPPORT_BUNDLE_COLLECTIONS = _watched(
    "supportbundlecollections",
    "SupportBundleCollection",
    subresources=(Subresource("status", "SupportBundleCollectionStatus", ("create",)),),
)
NODE_STATS_SUMMARIES = _control_plane(
    "nodestatssummaries", "NodeStatsSummary", verbs=("create",), has_table=False
)
EVALUATION = _control_plane(
    "networkpolicyevaluation", "NetworkPolicyEvaluation", verbs=("create",), has_table=False
)
CLUSTER_GROUP_MEMBERS = _control_plane(
    "clustergroupmembers", "ClusterGroupMembers", verbs=("get",), has_table=False
)
GROUP_MEMBERS = _control_plane(
    "groupmembers", "GroupMembers", verbs=("get",), has_table=False, namespaced=True
)
GROUP_ASSOCIATIONS = _control_plane(
    "groupassociations", "GroupAssociation", verbs=("get",), has_table=False, namespaced=True
)
IP_GROUP_ASSOCIATIONS = _control_plane(
    "ipgroupassociations", "IPGroupAssociation", verbs=("get",), has_table=False
)


def _name(document: dict[str, Any]) -> Any:
    return document["metadata"].get("name", "")


def _created(document: dict[str, Any]) -> Any:
    return document["metadata"].get("creationTimestamp")


def _traffic(field: str) -> Any:
    return lambda document: (document.get("trafficStats") or {}).get(field, 0)


_STATS_COLUMNS = (
    Column("Name", _name, "string", "name"),
    Column("Sessions", _traffic("sessions"), "integer"),
    Column("Packets", _traffic("packets"), "integer"),
    Column("Bytes", _traffic("bytes"), "integer"),
    Column("Created At", _created, "date"),
)


class StatsCodec:
    """stats.antrea.io in protobuf; its JSON follows the same conventions as the control plane's."""

    def decode(self, kind: str, message: bytes) -> dict[str, Any]:
        return to_json(decode(self._class(kind)(), message), v1beta2.RULES)

    def encode(self, kind: str, document: dict[str, Any]) -> bytes:
        message = from_json(self._class(kind)(), document, v1beta2.RULES)
        return bytes(message.SerializeToString(deterministic=True))

    @staticmethod
    def _class(kind: str) -> type[Message]:
        found: type[Message] | None = getattr(v1alpha1_pb2, kind, None)
        if found is None:
            raise ConvertError(f'no kind "{kind}" is registered for version "{STATS}/v1alpha1"')
        return found


_STATS_CODEC = StatsCodec()


def _stats(plural: str, kind: str, **more: Any) -> ResourceInfo:
    verbs = more.pop("verbs", ("get", "list"))
    return ResourceInfo(
        STATS, "v1alpha1", plural, kind, verbs=verbs, codec=_STATS_CODEC, definitions=definitions(), **more
    )


def _pods(document: dict[str, Any]) -> str:
    """The first three Pods of a multicast group and how many more there are."""
    names = [f"{pod.get('namespace', '')}/{pod.get('name', '')}" for pod in document.get("pods") or ()]
    if not names:
        return "<none>"
    more = f" + {len(names) - 3} more..." if len(names) > 3 else ""
    return ",".join(names[:3]) + more


def _latencies(document: dict[str, Any]) -> list[int]:
    """The round-trip times to every address of every peer, in nanoseconds."""
    return [
        target.get("lastMeasuredRTTNanoseconds", 0)
        for peer in document.get("peerNodeLatencyStats") or ()
        for target in peer.get("targetIPLatencyStats") or ()
    ]


def go_duration(nanoseconds: int) -> str:
    """Nanoseconds as Go prints a duration: 1.5ms, 2m3s, 0s."""
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.6f}".rstrip("0").rstrip(".") + unit
        return "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    seconds = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _average(document: dict[str, Any]) -> str:
    values = _latencies(document)
    return go_duration(sum(values) // len(values) if values else 0)


NETWORK_POLICY_STATS = _stats(
    "networkpolicystats",
    "NetworkPolicyStats",
    namespaced=True,
    columns=_STATS_COLUMNS,
    not_found_name="networkpolicystats",
)
ANTREA_NETWORK_POLICY_STATS = _stats(
    "antreanetworkpolicystats",
    "AntreaNetworkPolicyStats",
    namespaced=True,
    columns=_STATS_COLUMNS,
    not_found_name="antreanetworkpolicystats",
)
ANTREA_CLUSTER_NETWORK_POLICY_STATS = _stats(
    "antreaclusternetworkpolicystats",
    "AntreaClusterNetworkPolicyStats",
    columns=_STATS_COLUMNS,
    not_found_name="antreaclusternetworkpolicystats",
)
MULTICAST_GROUPS = _stats(
    "multicastgroups",
    "MulticastGroup",
    not_found_name="multicastgroup",
    columns=(
        Column("Group", lambda document: document.get("group", ""), "string", "name"),
        Column("Pods", _pods),
    ),
)
NODE_LATENCY_STATS = _stats(
    "nodelatencystats",
    "NodeLatencyStats",
    verbs=("create", "delete", "get", "list"),
    not_found_name="nodelatencystats",
    columns=(
        Column("Node Name", _name, "string", "name"),
        Column(
            "Num Latency Entries",
            lambda document: len(document.get("peerNodeLatencyStats") or ()),
            "integer",
            "int64",
        ),
        Column("Avg Latency", _average),
        Column("Max Latency", lambda document: go_duration(max(_latencies(document), default=0))),
    ),
)

CONTROLLER_INFOS = ResourceInfo(
    SYSTEM,
    "v1beta1",
    "controllerinfos",
    "AntreaControllerInfo",
    singular="controllerinfo",
    verbs=("get", "list"),
    not_found_name="controllerinfos",
    definitions=definitions(),
)
SUPPORT_BUNDLES = ResourceInfo(
    SYSTEM,
    "v1beta1",
    "supportbundles",
    "SupportBundle",
    verbs=("create", "delete", "get"),
    has_table=False,
    not_found_name="supportBundle",
    subresources=(Subresource("download", "SupportBundle", ("get",)),),
    definitions=definitions(),
)
