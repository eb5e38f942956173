"""Kubernetes' meta/v1 kinds in both encodings, as far as every API server needs them."""

from __future__ import annotations

from typing import Any

from apis.envelope import wrap
from apis.meta import v1_pb2
from apis.meta.convert import META_RULES, Object, decode, from_json, to_json

_MESSAGES: dict[str, Any] = {
    "Status": v1_pb2.Status,
    "PartialObjectMetadata": v1_pb2.PartialObjectMetadata,
    "PartialObjectMetadataList": v1_pb2.PartialObjectMetadataList,
    "DeleteOptions": v1_pb2.DeleteOptions,
}


def encode_kind(kind: str, document: Object) -> bytes:
    """The protobuf message of a meta/v1 kind (no envelope). Raises ConvertError."""
    return bytes(from_json(_MESSAGES[kind](), document, META_RULES).SerializeToString())


def decode_kind(kind: str, data: bytes) -> Object:
    """The JSON form of a message of a meta/v1 kind. Raises ConvertError."""
    return to_json(decode(_MESSAGES[kind](), data))


def encode_status(document: Object) -> bytes:
    """A whole protobuf body for a Status."""
    return wrap("v1", "Status", encode_kind("Status", document))


def encode_object_meta(metadata: Object) -> bytes:
    """The ObjectMeta message; its first eight fields are written even when empty, as Go does."""
    return bytes(from_json(v1_pb2.ObjectMeta(), metadata, META_RULES).SerializeToString(deterministic=True))


def encode_list_meta(version: str, token: str = "", remaining: int | None = None) -> bytes:
    """The ListMeta message."""
    message = v1_pb2.ListMeta(selfLink="", resourceVersion=version)
    setattr(message, "continue", token)
    if remaining is not None:
        message.remainingItemCount = remaining
    return message.SerializeToString()
