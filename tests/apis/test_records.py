"""Versions of groups: the newest reads its source, older ones undo what came after them."""

from __future__ import annotations

import json
import random

from apis.controlplane import wire
from apis.controlplane.records import (
    SPAN_ONLY,
    AddressGroupRecord,
    AppliedToGroupRecord,
    FixedMembers,
    GroupDelta,
    GroupRecord,
    Member,
    PolicyRecord,
)
from apis.controlplane.v1beta2 import decode_message
from apis.record import Delta, Media, Record

SPAN = frozenset({"n1", "n2"})
NS = wire.namespace_field("ns")


def member(name: str, node: str = "", ip: int | None = None) -> Member:
    raw = wire.pod_field(name, NS) + (b"" if ip is None else wire.ip_field(bytes(15) + bytes([ip])))
    return Member(node, wire.member_field(raw))


class Source:
    """A group that changes under its records."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    def published(self, view: str | None) -> list[bytes]:
        return [each.encoded for each in self.members.values() if view in (None, each.node)]


def names(record: GroupRecord, view: str | None = None) -> set[str]:
    document = json.loads(record.encode(Media.JSON, view, "3"))
    return {each["pod"]["name"] for each in document.get("groupMembers", ())}


def test_they_are_records_and_deltas() -> None:
    group = AddressGroupRecord("g", SPAN, FixedMembers([]))
    assert isinstance(group, Record)
    assert isinstance(PolicyRecord("u", 1, SPAN, b"", 0), Record)
    assert isinstance(GroupDelta("g", False), Delta)
    assert isinstance(SPAN_ONLY, Delta)
    assert (group.namespace, group.uid, dict(group.labels), group.has_views) == ("", "g", {}, False)


def test_old_versions_keep_their_members() -> None:
    """Random changes; every version is read again at the end, in each view."""
    rng = random.Random(5)
    source = Source()
    record: GroupRecord = AppliedToGroupRecord("g", SPAN, source)
    versions: list[tuple[GroupRecord, dict[str, Member]]] = [(record, {})]
    for _ in range(60):
        name, node = rng.choice("abcdef"), rng.choice(["n1", "n2"])
        old = source.members.pop(name, None)
        new = member(name, node) if rng.random() < 0.7 else None
        if new is not None:
            source.members[name] = new
        delta = GroupDelta("g", True, (new,) if new else (), (old,) if old else ())
        successor = AppliedToGroupRecord("g", SPAN, source)
        record.superseded(successor, delta)
        record = successor
        versions.append((record, dict(source.members)))
    for version, members in versions:
        assert names(version) == set(members)
        for node in SPAN:
            assert names(version, node) == {name for name, each in members.items() if each.node == node}


def test_a_replaced_member_is_put_back() -> None:
    source = Source()
    old, new = member("a", "", 1), member("a", "", 2)
    first, second = AddressGroupRecord("g", SPAN, source), AddressGroupRecord("g", SPAN, source)
    source.members["a"] = new
    first.superseded(second, GroupDelta("g", False, (new,), (), (old,)))
    assert first.members() == [old.encoded]
    assert second.members() == [new.encoded]


def test_the_last_version_of_a_removed_group() -> None:
    source = Source()
    record = AppliedToGroupRecord("g", SPAN, source)
    record.settled(FixedMembers([member("a").encoded, member("b").encoded], ["n1", "n2"]))
    assert names(record) == {"a", "b"}
    assert names(record, "n2") == {"b"}


def test_a_patch_is_made_for_a_view() -> None:
    delta = GroupDelta("g", True, (member("a", "n1"),), (member("b", "n2"),), leaving=frozenset({"n3"}))
    assert delta.kind == "AppliedToGroupPatch"
    for view, added, removed in ((None, ["a"], ["b"]), ("n1", ["a"], []), ("n2", [], ["b"])):
        message = delta.encode(Media.PROTOBUF, view, "4")
        text = delta.encode(Media.JSON, view, "4")
        assert message is not None
        assert text is not None
        document = json.loads(text)
        assert document == decode_message(delta.kind, message)
        assert [each["pod"]["name"] for each in document.get("addedGroupMembers", ())] == added
        assert [each["pod"]["name"] for each in document.get("removedGroupMembers", ())] == removed
        assert document["metadata"] == {"name": "g", "uid": "g", "resourceVersion": "4"}
    assert delta.encode(Media.JSON, "n3", "4") is None
    assert delta.encode(Media.JSON, "elsewhere", "4") is None


def test_every_node_sees_all_of_an_address_group() -> None:
    record = AddressGroupRecord(
        "g", SPAN, FixedMembers([member("a", "", 1).encoded, member("b", "", 2).encoded])
    )
    assert names(record, "n1") == {"a", "b"}
    delta = GroupDelta("g", False, (member("a", "", 1),))
    assert delta.encode(Media.JSON, "n1", "1") == delta.encode(Media.JSON, None, "1")


def test_tombstones() -> None:
    source = wire.source_field(b"K8sNetworkPolicy", NS, "p", "u")
    body = wire.rule_field("In", b"", (), 0, None, False) + wire.applied_to_field("g")
    policy = PolicyRecord("u", 4, SPAN, body + source, len(body))
    assert json.loads(policy.tombstone(Media.JSON, "8")) == {
        "metadata": {"name": "u", "uid": "u", "resourceVersion": "8", "generation": 4},
        "sourceRef": {"type": "K8sNetworkPolicy", "namespace": "ns", "name": "p", "uid": "u"},
    }
    group = AddressGroupRecord("g", SPAN, FixedMembers([member("a", "", 1).encoded]))
    assert json.loads(group.tombstone(Media.JSON, "8")) == {
        "metadata": {"name": "g", "uid": "g", "resourceVersion": "8"}
    }
    for record, kind in ((policy, "NetworkPolicy"), (group, "AddressGroup")):
        text = json.loads(record.tombstone(Media.JSON, "8"))
        assert decode_message(kind, record.tombstone(Media.PROTOBUF, "8")) == text
