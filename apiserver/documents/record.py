"""Objects as clients write them: JSON documents, kept as records.

A document is stored without kind, apiVersion and resourceVersion: the server adds the first two for the
version that is asked for, the store knows the third. Stored documents are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from apis.record import Media
from apiserver.resources import Object, ResourceInfo

_encoder = msgspec.json.Encoder()


class Document:
    """A record made of JSON data. ``document`` is shared by all readers: copy before changing."""

    __slots__ = ("_json", "_version", "document", "labels", "name", "namespace", "uid")

    span: frozenset[str] | None = None
    has_views = False

    def __init__(self, document: Object) -> None:
        metadata = document["metadata"]
        self.document = document
        self.name: str = metadata.get("name", "")
        self.namespace: str = metadata.get("namespace", "")
        self.uid: str = metadata.get("uid", "")
        self.labels: Mapping[str, str] = metadata.get("labels") or {}
        self._json = b""
        self._version = ""

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        if media is not Media.JSON:
            raise ValueError("documents have no protobuf form")
        if self._version != version or not self._json:
            self._json = _encoder.encode(self._with_version(version))
            self._version = version
        return self._json

    def tombstone(self, media: Media, version: str) -> bytes:
        """The last state, under the version of the deletion."""
        return _encoder.encode(self._with_version(version))

    def _with_version(self, version: str) -> Object:
        metadata = self.document["metadata"]
        if version:
            metadata = ordered_metadata(metadata, version)
        return {"metadata": metadata, **{k: v for k, v in self.document.items() if k != "metadata"}}


def ordered_metadata(metadata: Mapping[str, Any], version: str) -> Object:
    """A copy with the resourceVersion after name, namespace and uid, where readers look for it."""
    head = {k: metadata[k] for k in ("name", "generateName", "namespace", "uid") if k in metadata}
    return {**head, "resourceVersion": version, **{k: v for k, v in metadata.items() if k not in head}}


def full_object(info: ResourceInfo, document: Object, version: int) -> Object:
    """The document as a client sees it. Shares its values: deep-copy before changing."""
    return {
        "kind": info.kind,
        "apiVersion": info.api_version,
        "metadata": ordered_metadata(document["metadata"], str(version)),
        **{k: v for k, v in document.items() if k != "metadata"},
    }
