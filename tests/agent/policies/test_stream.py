"""The stream's state machine: what each sequence of events means."""

from __future__ import annotations

import pytest

from agent.policies.objects import Kind
from agent.policies.stream import Deleted, Expired, Marker, Patched, Put, Snapshot, StreamError, WatchStream
from tests.agent.policies.support import (
    added,
    bookmark,
    deleted,
    error,
    frame,
    group_message,
    marker,
    oversized,
    patch_message,
    policy_message,
)

AG, ATG, NP = Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY


def a_group(version: str = "") -> bytes:
    return added(AG, group_message(AG, "g", [], version))


def test_nothing_comes_out_before_the_bookmark_and_then_everything_at_once() -> None:
    stream = WatchStream(Kind)
    assert stream.feed(a_group() + added(ATG, group_message(ATG, "t", []))) == []
    assert not stream.synced
    (snapshot,) = stream.feed(added(NP, policy_message("p", [], ["t"])) + bookmark("42"))
    assert isinstance(snapshot, Snapshot)
    assert set(snapshot.puts) == {(AG, "g"), (ATG, "t"), (NP, "p")}
    assert (stream.synced, stream.version) == (True, "42")


def test_an_empty_state_is_a_state() -> None:
    (snapshot,) = WatchStream((AG,)).feed(bookmark("0", AG))
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.kinds, snapshot.puts) == (frozenset({AG}), {})


def test_other_events_before_the_bookmark_say_nothing() -> None:
    stream = WatchStream((AG,))
    early = frame("MODIFIED", "AddressGroupPatch", patch_message("g")) + deleted(AG, "g")
    assert stream.feed(early) == []
    (snapshot,) = stream.feed(bookmark("1", AG))
    assert isinstance(snapshot, Snapshot)
    assert not snapshot.puts


def test_markers_that_come_early_wait_for_the_snapshot() -> None:
    items = WatchStream(Kind).feed(marker("ns", "pod", "u1") + bookmark("1"))
    assert isinstance(items[0], Snapshot)
    assert items[1:] == [Marker("ns", "pod", "u1")]


def test_after_the_bookmark_events_come_out_as_they_come_in() -> None:
    stream = WatchStream(Kind)
    stream.feed(bookmark("1"))
    items = stream.feed(
        a_group()
        + frame("MODIFIED", "AddressGroupPatch", patch_message("g"))
        + frame("MODIFIED", "NetworkPolicy", policy_message("p", [], ["t"]))
        + deleted(AG, "g")
        + marker("ns", "pod", "u1")
    )
    assert [type(item) for item in items] == [Put, Patched, Put, Deleted, Marker]


def test_a_resumed_stream_has_increments_only_and_remembers_how_far_it_got() -> None:
    stream = WatchStream(Kind, "100")
    assert [type(item) for item in stream.feed(a_group("101"))] == [Put]
    assert stream.version == "101"
    assert stream.feed(bookmark("105")) == []
    assert stream.version == "105"
    stream.feed(deleted(AG, "g", "106"))
    assert stream.version == "106"


def test_upstreams_events_carry_no_version() -> None:
    stream = WatchStream((AG,))
    stream.feed(bookmark("3", AG) + a_group())
    assert stream.version == "3"


def test_the_version_of_an_object_is_not_part_of_it() -> None:
    """A controller that was restarted sends the same objects with new versions."""
    stream = WatchStream(Kind, "1")
    one, other = stream.feed(
        added(NP, policy_message("p", [], ["t"], version="7"))
        + added(NP, policy_message("p", [], ["t"], version="8"))
    )
    assert isinstance(one, Put)
    assert isinstance(other, Put)
    assert one.value == other.value


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("an error event", error(500, "boom")),
        ("a kind that was not asked for", frame("ADDED", "EgressGroup", group_message(AG, "e", []))),
        ("an object without a name", added(AG, group_message(AG, "", []))),
        ("an unknown event", frame("CHANGED", "AddressGroup", group_message(AG, "g", []))),
        ("a patch of a policy", frame("MODIFIED", "NetworkPolicyPatch", b"")),
        ("a body that is no protobuf", frame("ADDED", "AddressGroup", b"\xff\xff\xff")),
        ("a frame of a gigabyte", oversized(1 << 30)),
        ("a frame that is no event", (3).to_bytes(4, "big") + b"\x0a\xff\x01"),
    ],
)
def test_what_cannot_be_followed_ends_the_stream(name: str, data: bytes) -> None:
    stream = WatchStream(Kind)
    stream.feed(bookmark("1"))
    with pytest.raises(StreamError) as raised:
        stream.feed(data)
    assert not isinstance(raised.value, Expired)


def test_an_error_event_410_asks_for_the_full_state() -> None:
    with pytest.raises(Expired, match="too old"):
        WatchStream(Kind, "5").feed(error(410, "too old"))


def test_a_watch_of_one_kind_refuses_the_others() -> None:
    stream = WatchStream((ATG,))
    with pytest.raises(StreamError, match="AddressGroup on a watch of appliedtogroups"):
        stream.feed(a_group())
