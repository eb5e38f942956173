"""Drives a graph with manifests and follows its changes as watches would.

A `Stream` is one watch over all three resources, of a node or of nobody in particular. It knows only what
it was sent, and by the rules of apis.record: whoever selected neither version sees nothing, patches go to
watches of a node, a delta that is empty in the watch's view is no event. Its documents are what a client
would hold.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from apis.addresses import from_bytes
from apis.controlplane.v1beta2 import decode_message
from apis.kubernetes.codec import NAMESPACES, NETWORK_POLICIES, NODES, PODS
from apis.record import Change, Media, Record
from computation.graph import Graph
from tests.computation.oracle import Member

Document = dict[str, Any]

KINDS = {
    "addressgroups": "AddressGroup",
    "appliedtogroups": "AppliedToGroup",
    "networkpolicies": "NetworkPolicy",
}


def upsert(graph: Graph, manifest: Mapping[str, Any]) -> None:
    """As the controller does it: through raw JSON and the partial structs."""
    raw = json.dumps(manifest).encode()
    match manifest["kind"]:
        case "Namespace":
            graph.upsert_namespace(NAMESPACES.object(raw))
        case "Pod":
            graph.upsert_pod(PODS.object(raw))
        case "NetworkPolicy":
            graph.upsert_network_policy(NETWORK_POLICIES.object(raw))
        case "Node":
            graph.upsert_node(NODES.object(raw))


def delete(graph: Graph, kind: str, namespace: str, name: str) -> None:
    match kind:
        case "Namespace":
            graph.delete_namespace(name)
        case "Pod":
            graph.delete_pod(namespace, name)
        case "NetworkPolicy":
            graph.delete_network_policy(namespace, name)
        case "Node":
            graph.delete_node(name)


def member(document: Mapping[str, Any]) -> Member:
    """A groupMembers entry in the oracle's terms."""
    return Member(
        document["pod"]["namespace"],
        document["pod"]["name"],
        tuple(str(from_bytes(base64.b64decode(ip))) for ip in document.get("ips", ())),
        tuple((port["port"], port["name"], port["protocol"]) for port in document.get("ports", ())),
    )


def without_version(document: Document) -> Document:
    """The document without its resourceVersion, which is the server's."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    return {**document, "metadata": metadata}


def encoded(record: Record, resource: str, view: str | None) -> Document:
    """The record as a document; both encodings have to say the same."""
    document: Document = json.loads(record.encode(Media.JSON, view, "7"))
    message = record.encode(Media.PROTOBUF, view, "7")
    assert decode_message(KINDS[resource], message) == document
    return without_version(document)


Event = tuple[str, str, Document]  # type, resource, object


class Stream:
    """One watch. ``policies`` are documents; groups are held as sets of members, as agents hold them."""

    def __init__(self, node: str | None = None) -> None:
        self.node = node
        self.policies: dict[str, Document] = {}
        self.groups: dict[tuple[str, str], dict[object, Member]] = {}

    def _selects(self, record: Record | None) -> bool:
        return record is not None and (self.node is None or self.node in (record.span or ()))

    def event(self, change: Change) -> Event | None:
        """What the server sends for a change, or None."""
        before, after = self._selects(change.old), self._selects(change.new)
        old, new = change.old, change.new
        if not after:
            if not before:
                return None
            assert old is not None
            return "DELETED", change.resource, without_version(json.loads(old.tombstone(Media.JSON, "7")))
        assert new is not None
        view = self.node if new.has_views else None
        if not before:
            return "ADDED", change.resource, encoded(new, change.resource, view)
        if change.delta is None:
            return "MODIFIED", change.resource, encoded(new, change.resource, view)
        patch = change.delta.encode(Media.JSON, view, "7")
        if patch is None:
            return None
        if self.node is None:
            return "MODIFIED", change.resource, encoded(new, change.resource, None)
        message = change.delta.encode(Media.PROTOBUF, view, "7")
        assert message is not None
        document = json.loads(patch)
        assert decode_message(change.delta.kind, message) == document
        return "MODIFIED", change.resource, {"kind": change.delta.kind, **without_version(document)}

    def apply(self, event: Event) -> None:
        """Fold an event, ours or a recorded one, into what the client holds."""
        kind, resource, document = event
        name = document["metadata"]["name"]
        if resource == "networkpolicies":
            if kind == "DELETED":
                del self.policies[name]
            else:
                assert (kind == "MODIFIED") == (name in self.policies), f"{kind} of policy {name}"
                self.policies[name] = document
            return
        key = (resource, name)
        if kind == "DELETED":
            del self.groups[key]
            return
        assert (kind == "MODIFIED") == (key in self.groups), f"{kind} of {resource} {name}"
        if not document.get("kind", "").endswith("Patch"):
            self.groups[key] = {}
            self._put(key, document.get("groupMembers", ()))
            return
        for entry in map(member, document.get("removedGroupMembers", ())):
            identity = (entry.namespace, entry.pod, entry.ips)
            assert identity in self.groups[key], f"{entry} is not in {resource} {name}"
            del self.groups[key][identity]
        self._put(key, document.get("addedGroupMembers", ()))

    def _put(self, key: tuple[str, str], members: Iterable[Mapping[str, Any]]) -> None:
        for entry in map(member, members):
            self.groups[key][(entry.namespace, entry.pod, entry.ips)] = entry

    def follow(self, change: Change) -> Event | None:
        event = self.event(change)
        if event is not None:
            self.apply(event)
        return event

    def members(self, resource: str) -> dict[str, frozenset[Member]]:
        return {
            name: frozenset(members.values())
            for (each, name), members in self.groups.items()
            if each == resource
        }
