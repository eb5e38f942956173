"""controlplane.antrea.io/v1beta2: the JSON form of its messages, by Antrea v2.7's conventions.

The messages themselves are in v1beta2_pb2, generated from openapi/apis/controlplane/v1beta2.proto. What
stands here is what .proto files cannot say: which fields are pointers in upstream's Go types, which JSON
keeps when empty, and the odd JSON of EgressGroupPatch. The controller's hot paths do not go through here:
they write messages by hand (apis.controlplane.wire); this is for bodies that agents post, for answers, and
for tests.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from apis.controlplane import v1beta2_pb2
from apis.meta.convert import META_RULES, ConvertError, Object, Rules, decode, from_json, merged, to_json

GROUP = "controlplane.antrea.io"
VERSION = "v1beta2"
API_VERSION = f"{GROUP}/{VERSION}"

RULES = merged(
    META_RULES,
    Rules(
        pointers=frozenset(
            {
                "GroupMember.pod",
                "GroupMember.externalEntity",
                "GroupMember.node",
                "GroupMember.service",
                "NetworkPolicy.priority",
                "NetworkPolicy.tierPriority",
                "NetworkPolicy.sourceRef",
                "NetworkPolicyRule.action",
                "Service.protocol",
                "Service.port",
                "Service.endPort",
                "Service.icmpType",
                "Service.icmpCode",
                "Service.igmpType",
                "Service.srcPort",
                "Service.srcEndPort",
                "L7Protocol.http",
                "L7Protocol.tls",
                "NetworkPolicyEvaluation.request",
                "NetworkPolicyEvaluation.response",
                "Entity.pod",
                "RuleRef.action",
                "BundleServerAuthConfiguration.basicAuthentication",
            }
        ),
        always=frozenset(
            {
                "NetworkPolicyRule.enableLogging",
                "NetworkPolicyNodeStatus.realizationFailure",
                "ClusterGroupMembers.effectiveMembers",
                "ClusterGroupMembers.effectiveIPBlocks",
                "GroupMembers.effectiveMembers",
                "GroupMembers.effectiveIPBlocks",
                "*.totalMembers",
                "*.totalPages",
                "*.currentPage",
                "*.associatedGroups",
                "*.items",
                "SupportBundleCollection.expiredAt",
                "BundleFileServer.url",
                "BasicAuthentication.username",
                "BasicAuthentication.password",
                "TargetIPLatencyStats.lastSendTime",
                "TargetIPLatencyStats.lastRecvTime",
            }
        ),
        names={
            "EgressGroupPatch.addedGroupMembers": "AddedGroupMembers",
            "EgressGroupPatch.removedGroupMembers": "RemovedGroupMembers",
        },
        inlined=frozenset({"EgressGroupPatch.objectMeta"}),
    ),
)


def message_class(kind: str) -> type[Message]:
    """The generated class of a kind; raises ConvertError for a kind that the group does not have."""
    found: Any = getattr(v1beta2_pb2, kind, None)
    if not (isinstance(found, type) and issubclass(found, Message)):
        raise ConvertError(f'no kind "{kind}" is registered for version "{API_VERSION}"')
    return found


def decode_message(kind: str, data: bytes) -> Object:
    """The JSON form of a protobuf message, without kind and apiVersion. Raises ConvertError."""
    document = to_json(decode(message_class(kind)(), data), RULES)
    if kind == "EgressGroupPatch":
        document.setdefault("AddedGroupMembers", None)
        document.setdefault("RemovedGroupMembers", None)
    return document


def encode_message(kind: str, document: Object) -> bytes:
    """The protobuf message of the JSON form. Raises ConvertError."""
    return bytes(from_json(message_class(kind)(), document, RULES).SerializeToString(deterministic=True))


class Codec:
    """The two directions as one object, for API servers that take and give these kinds."""

    def decode(self, kind: str, message: bytes) -> Object:
        return decode_message(kind, message)

    def encode(self, kind: str, document: Object) -> bytes:
        return encode_message(kind, document)
