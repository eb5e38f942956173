"""Random sequences of changes: whatever the order, the graph says what the oracle says.

After every flush the clients of four watches (everybody's, and those of three nodes) hold exactly what the
oracle computes from scratch. In between it is checked that a node never has a policy without its groups,
that old versions still encode to what they were, and that an object is told at most once (twice if it grows
and shrinks). A third run cuts each flush into the smallest steps and reads what was told at every pause.
"""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import computation.groups
import computation.links
import computation.namespaces
import computation.scopes
import computation.steps
from apis.record import Change, Media, Record
from computation.graph import Graph
from tests.computation import strategies
from tests.computation.harness import Document, Stream, delete, encoded, member, upsert
from tests.computation.oracle import Oracle

Manifest = dict[str, Any]


def referenced_groups(policy: Document) -> set[tuple[str, str]]:
    found = {("appliedtogroups", name) for name in policy.get("appliedToGroups", ())}
    for each in policy.get("rules", ()):
        for side in ("from", "to"):
            found.update(("addressgroups", name) for name in each[side].get("addressGroups", ()))
    return found


def content(document: Document) -> object:
    """A document with its members as a set."""
    rest = {key: value for key, value in document.items() if key != "groupMembers"}
    return rest, frozenset(map(member, document.get("groupMembers", ())))


class Computation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.oracle = Oracle()
        self.watches = [Stream(None), *map(Stream, strategies.NODES)]
        self.uids = 0
        self.gone: dict[tuple[str, str], str] = {}  # uids of removed policies
        # Versions with what they were when they were told, for one view each.
        self.versions: list[tuple[Record, str, str | None, object]] = []

    @initialize(
        namespaces=st.lists(strategies.namespaces(), max_size=3),
        pods=st.lists(strategies.pods(), min_size=4, max_size=10),
        policies=st.lists(strategies.network_policies(), min_size=1, max_size=4),
    )
    def populate(self, namespaces: list[Manifest], pods: list[Manifest], policies: list[Manifest]) -> None:
        for manifest in (*namespaces, *pods):
            self.apply(manifest)
        for manifest in policies:
            self.place(manifest, again=False)

    def apply(self, manifest: Manifest) -> None:
        self.oracle.apply(manifest)
        upsert(self.graph, manifest)

    @rule(manifest=strategies.namespaces())
    def put_namespace(self, manifest: Manifest) -> None:
        self.apply(manifest)

    @rule(manifest=strategies.pods())
    def put_pod(self, manifest: Manifest) -> None:
        self.apply(manifest)

    @rule(manifest=strategies.pods(), part=st.sampled_from(["labels", "node", "addresses", "ports"]))
    def edit_a_pod(self, manifest: Manifest, part: str) -> None:
        """Change one thing about a pod that is there, whichever comes next after the drawn name."""
        if not self.oracle.pods:
            return
        keys = sorted(self.oracle.pods)
        wanted = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        known = copy.deepcopy(self.oracle.pods[next((key for key in keys if key >= wanted), keys[0])])
        match part:
            case "labels":
                known["metadata"]["labels"] = manifest["metadata"]["labels"]
            case "node":
                known["spec"]["nodeName"] = manifest["spec"]["nodeName"]
            case "addresses":
                known["status"] = manifest["status"]
            case "ports":
                known["spec"]["containers"] = manifest["spec"]["containers"]
        self.apply(known)

    @rule()
    def flush_again(self) -> None:
        """More batches of few changes, as in a quiet cluster."""
        self.run_flush(random.Random(0))

    @rule(manifest=strategies.network_policies(), again=st.booleans())
    def put_policy(self, manifest: Manifest, again: bool) -> None:
        """Update the policy of that name, or replace it by one of another uid."""
        self.place(manifest, again)

    def place(self, manifest: Manifest, again: bool) -> None:
        meta = manifest["metadata"]
        gone = self.gone.get((meta["namespace"], meta["name"]))
        known = self.oracle.network_policies.get((meta["namespace"], meta["name"]))
        if known is not None and not again:
            meta["uid"] = known["metadata"]["uid"]
        elif known is None and gone is not None and not again:
            meta["uid"] = gone  # as after an interruption in which nothing happened to it
        else:
            self.uids += 1
            meta["uid"] = f"uid-{self.uids}"
        self.apply(manifest)

    @rule(
        kind=st.sampled_from(["Namespace", "Pod", "Pod", "NetworkPolicy"]),
        namespace=st.sampled_from(strategies.NAMESPACES),
        pod=st.sampled_from(strategies.PODS),
        policy=st.sampled_from(strategies.POLICIES),
    )
    def remove(self, kind: str, namespace: str, pod: str, policy: str) -> None:
        name = {"Namespace": namespace, "Pod": pod, "NetworkPolicy": policy}[kind]
        known = self.oracle.network_policies.get((namespace, name)) if kind == "NetworkPolicy" else None
        if known is not None:
            self.gone[(namespace, name)] = known["metadata"]["uid"]
        self.oracle.delete(kind, namespace, name)
        delete(self.graph, kind, namespace, name)

    @rule(pick=st.randoms(use_true_random=False))
    def flush(self, pick: random.Random) -> None:
        self.run_flush(pick)

    def run_flush(self, pick: random.Random) -> None:
        told: dict[tuple[str, str], int] = {}
        for change in self.graph.steps():
            self.pause()
            if change is None:
                continue
            self.check_concerned(change)
            key = (change.resource, change.key[1])
            told[key] = told.get(key, 0) + 1
            assert told[key] <= (1 if change.resource == "networkpolicies" else 2)
            for watch in self.watches:
                watch.follow(change)
                for policy in watch.policies.values():
                    assert referenced_groups(policy) <= watch.groups.keys(), "a policy without its groups"
            if change.new is not None:
                view = pick.choice([None, *strategies.NODES]) if change.new.has_views else None
                self.versions.append(
                    (change.new, change.resource, view, content(encoded(change.new, change.resource, view)))
                )
        assert not self.graph.dirty
        assert list(self.graph.flush()) == []
        self.check_watches()

    def check_concerned(self, change: Change) -> None:
        """A delta names the nodes in whose view it is something: the server tells nobody else."""
        if change.delta is None or change.new is None:
            return
        nodes = change.delta.nodes
        for node in strategies.NODES:
            view = node if change.new.has_views else None
            if nodes is not None and node not in nodes:
                assert change.delta.encode(Media.JSON, view, "7") is None

    def pause(self) -> None:
        """The flush is open, and others run."""

    def check_watches(self) -> None:
        policies = self.oracle.policies()
        address_groups = self.oracle.address_groups()
        applied_to_groups = self.oracle.applied_to_groups()
        for watch in self.watches:
            node = watch.node
            assert watch.policies == {
                uid: policy.document
                for uid, policy in policies.items()
                if node is None or node in policy.span
            }
            assert watch.members("addressgroups") == {
                name: group.members
                for name, group in address_groups.items()
                if node is None or node in group.span
            }
            assert watch.members("appliedtogroups") == {
                name: frozenset(
                    member
                    for each, members in group.members.items()
                    if node is None or each == node
                    for member in members
                )
                for name, group in applied_to_groups.items()
                if node is None or node in group.span
            }

    @invariant()
    def old_versions_are_what_they_were(self) -> None:
        self.check_versions()

    def check_versions(self) -> None:
        for record, resource, view, expected in self.versions[-12:]:
            assert content(encoded(record, resource, view)) == expected

    def teardown(self) -> None:
        """What was there goes; nothing may stay behind in the graph."""
        for namespace, name in list(self.oracle.network_policies):
            self.graph.delete_network_policy(namespace, name)
        for namespace, name in list(self.oracle.pods):
            self.graph.delete_pod(namespace, name)
        for name in list(self.oracle.namespaces):
            self.graph.delete_namespace(name)
        for change in self.graph.flush():
            for watch in self.watches:
                watch.follow(change)
        for watch in self.watches:
            assert not watch.policies
            assert not watch.groups
        assert not self.graph._namespaces
        selections = self.graph._selections
        assert not selections._scopes
        assert not selections._scope_index._places
        for index in (selections.links.label_set_index, selections.links.namespace_index):
            assert index is None or not index._keys


class IndexedComputation(Computation):
    """The same with every index in use from the first object on, as in a large cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.saved = [
            (computation.namespaces, "INDEX_FROM"),
            (computation.scopes, "SELECTIONS_INDEX_FROM"),
            (computation.links, "NAMESPACES_INDEX_FROM"),
            (computation.links, "CLUSTER_INDEX_FROM"),
            (computation.groups, "LARGE_FROM"),
        ]
        self.values = [getattr(module, name) for module, name in self.saved]
        for module, name in self.saved:
            setattr(module, name, 0)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for (module, name), value in zip(self.saved, self.values, strict=True):
                setattr(module, name, value)


class SlicedComputation(IndexedComputation):
    """Each piece of work is a step of its own, and at every pause somebody reads what was told so far."""

    def __init__(self) -> None:
        super().__init__()
        self.saved.append((computation.steps, "STEP"))
        self.values.append(computation.steps.STEP)
        computation.steps.STEP = 1
        self.pauses = 0

    def pause(self) -> None:
        self.pauses += 1
        self.check_versions()


BUDGET = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestComputation = Computation.TestCase
TestComputation.settings = BUDGET
TestIndexedComputation = IndexedComputation.TestCase
TestIndexedComputation.settings = BUDGET
TestSlicedComputation = SlicedComputation.TestCase
TestSlicedComputation.settings = BUDGET
