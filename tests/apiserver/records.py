"""Records for tests: control-plane objects given as JSON data, with spans, views and patches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from apis.controlplane import v1beta2
from apis.record import Media
from apiserver.resources import READ_VERBS, ResourceInfo

KINDS = {
    "addressgroups": "AddressGroup",
    "appliedtogroups": "AppliedToGroup",
    "networkpolicies": "NetworkPolicy",
    "egressgroups": "EgressGroup",
}


def controlplane_info(plural: str) -> ResourceInfo:
    kind = KINDS[plural]
    return ResourceInfo(
        group="controlplane.antrea.io",
        version="v1beta2",
        plural=plural,
        kind=kind,
        verbs=READ_VERBS,
        store=plural,
        node_scoped=True,
        bookmark_always=True,
        media=frozenset({Media.JSON, Media.PROTOBUF}),
        not_found_name=kind.lower(),
    )


class GroupRecord:
    """A group whose members may differ by node: ``members`` maps node → list of members."""

    def __init__(
        self,
        kind: str,
        name: str,
        members: Mapping[str, list[dict[str, Any]]],
        *,
        views: bool = False,
        labels: Mapping[str, str] | None = None,
        uid: str = "",
    ) -> None:
        self.kind = kind
        self.name = name
        self.namespace = ""
        self.uid = uid or name
        self.labels: Mapping[str, str] = labels or {}
        self.span = frozenset(members)
        self.has_views = views
        self.members = members
        self.encoded = 0  # how often encode was called

    def _body(self, media: Media, fields: dict[str, Any]) -> bytes:
        if media is Media.PROTOBUF:
            return v1beta2.encode_message(self.kind, fields)
        return json.dumps(fields, separators=(",", ":")).encode()

    def _metadata(self, version: str) -> dict[str, Any]:
        metadata = {"name": self.name, "uid": self.uid}
        return metadata | ({"resourceVersion": version} if version else {})

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        self.encoded += 1
        nodes = [view] if view is not None else sorted(self.members)
        members = [member for node in nodes for member in self.members.get(node, ())]
        fields: dict[str, Any] = {"metadata": self._metadata(version)}
        return self._body(media, fields | ({"groupMembers": members} if members else {}))

    def tombstone(self, media: Media, version: str) -> bytes:
        return self._body(media, {"metadata": self._metadata(version)})


class GroupDelta:
    """The difference of two group records, as the patch kinds carry it."""

    def __init__(self, old: GroupRecord, new: GroupRecord) -> None:
        self.kind = new.kind + "Patch"
        self._old = old
        self._new = new

    @property
    def nodes(self) -> frozenset[str] | None:
        if not self._new.has_views:
            return None
        nodes = self._old.span | self._new.span
        return frozenset(node for node in nodes if self.encode(Media.JSON, node, "") is not None)

    def encode(self, media: Media, view: str | None, version: str) -> bytes | None:
        def members(record: GroupRecord) -> list[dict[str, Any]]:
            nodes = [view] if view is not None else sorted(record.members)
            return [member for node in nodes for member in record.members.get(node, ())]

        before, after = members(self._old), members(self._new)
        added = [member for member in after if member not in before]
        removed = [member for member in before if member not in after]
        if not added and not removed:
            return None
        fields: dict[str, Any] = {"metadata": self._new._metadata(version)}
        if added:
            fields["addedGroupMembers"] = added
        if removed:
            fields["removedGroupMembers"] = removed
        if media is Media.PROTOBUF:
            return v1beta2.encode_message(self.kind, fields)
        return json.dumps(fields, separators=(",", ":")).encode()


def pod(name: str, namespace: str = "ns") -> dict[str, Any]:
    return {"pod": {"name": name, "namespace": namespace}}
