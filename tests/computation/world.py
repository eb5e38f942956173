"""A graph with an oracle beside it, and the watches of everybody and of some nodes."""

from __future__ import annotations

from computation.graph import Graph
from tests.computation.harness import Document, Event, Stream, delete, upsert
from tests.computation.manifests import Manifest
from tests.computation.oracle import Member, Oracle, group_name


class World:
    """Every `change` is flushed at once, and the watches are held to the oracle."""

    def __init__(self, *manifests: Manifest, nodes: tuple[str, ...] = ()) -> None:
        self.warnings: list[str] = []
        self.graph = Graph(self.warnings.append)
        self.oracle = Oracle()
        self.all = Stream(None)
        self.nodes = {node: Stream(node) for node in nodes}
        self.node_events: dict[str, list[Event]] = {}  # of the last flush
        self.change(*manifests)

    def change(self, *manifests: Manifest) -> list[Event]:
        """Put objects; the events of the watch of everybody."""
        for manifest in manifests:
            self.oracle.apply(manifest)
            upsert(self.graph, manifest)
        return self.flush()

    def remove(self, *manifests: Manifest) -> list[Event]:
        for manifest in manifests:
            meta = manifest["metadata"]
            self.oracle.delete(manifest["kind"], meta.get("namespace", ""), meta["name"])
            delete(self.graph, manifest["kind"], meta.get("namespace", ""), meta["name"])
        return self.flush()

    def flush(self) -> list[Event]:
        events = []
        self.node_events = {node: [] for node in self.nodes}
        for change in self.graph.flush():
            event = self.all.follow(change)
            if event is not None:
                events.append(event)
            for node, stream in self.nodes.items():
                event = stream.follow(change)
                if event is not None:
                    self.node_events[node].append(event)
        self.check()
        return events

    def check(self) -> None:
        assert self.all.policies == {uid: policy.document for uid, policy in self.oracle.policies().items()}
        assert self.all.members("addressgroups") == {
            name: group.members for name, group in self.oracle.address_groups().items()
        }

    def policy(self, uid: str = "uid-p") -> Document:
        return self.all.policies[uid]

    def span(self, resource: str, name: str) -> set[str]:
        """The nodes whose watches have an object."""
        found = set()
        for node, stream in self.nodes.items():
            if (
                name in stream.policies
                if resource == "networkpolicies"
                else (resource, name) in stream.groups
            ):
                found.add(node)
        return found

    def pods(self, resource: str, name: str) -> set[str]:
        members: frozenset[Member] = self.all.members(resource)[name]
        return {member.pod for member in members}


def name(peer: Manifest, home: str = "nsA") -> str:
    """The name of the group that a peer (or a podSelector's labels) selects."""
    return group_name(home, peer.get("podSelector"), peer.get("namespaceSelector"))


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    """(type, resource, name) of events, sorted."""
    return sorted((kind, resource, document["metadata"]["name"]) for kind, resource, document in events)
