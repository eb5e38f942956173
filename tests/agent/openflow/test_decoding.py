"""Received bytes: messages are framed at any cut, and garbage raises the codec's own error and nothing
else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.openflow.codec import actions as a
from agent.openflow.codec import descriptions as d
from agent.openflow.codec import events as e
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec import messages as msg
from agent.openflow.codec import text
from agent.openflow.codec.errors import CodecError, describe
from agent.openflow.codec.flow import Flow, conjunctions, join_conjunctions
from agent.openflow.codec.stream import Stream


def described(flow: Flow, packets: int = 0) -> bytes:
    """A flow description as OVS sends it."""
    match = msg.match_field(flow.match)
    counters = struct.pack("!HBBQ", 0x8002, 4 << 1, 8, packets) + struct.pack(
        "!HBBQ", 0x8002, 5 << 1, 8, 60 * packets
    )
    stats = struct.pack("!HH", 0, 4 + len(counters)) + counters
    stats += bytes(-len(stats) % 8)
    length = 24 + len(match) + len(stats) + len(flow.body)
    head = struct.pack("!H2xBxHHHHHQ", length, flow.table, flow.priority, 0, 0, 0, 0, flow.cookie)
    return head + match + stats + flow.body


FLOWS = [
    Flow.of(0, 0, b"", b"", 1 << 48),
    Flow.of(5, 200, m.match(m.tp_dst(6, 80)), a.goto(6), 2 << 40),
    Flow.of(19, 200, m.match(m.reg(0, 1 << 21, 3 << 21)), a.apply(a.output_field(f.REG[1])), 7),
]

MESSAGES = [
    msg.hello(1),
    msg.echo_request(2, b"abc"),
    msg.message(msg.BARRIER_REPLY, 3),
    msg.message(msg.ERROR, 4, struct.pack("!HH", 5, 1) + b"x" * 64),
    msg.message(msg.MULTIPART_REPLY, 5, struct.pack("!HH4x", 1, 1) + b"".join(map(described, FLOWS))),
    msg.message(msg.BUNDLE_CONTROL, 6, struct.pack("!IHH", 7, 5, 3)),
    msg.message(77, 7, b"what is this"),
]


def test_each_kind_has_its_event() -> None:
    received = Stream().receive(b"".join(MESSAGES))
    assert [type(event).__name__ for event in received] == [
        "Hello", "EchoRequest", "BarrierReply", "ErrorMessage", "MultipartReply", "BundleReply", "Unknown",
    ]  # fmt: skip
    assert [event.xid for event in received] == [1, 2, 3, 4, 5, 6, 7]
    assert str(received[3]) == "flow-mod failed: the table is full (5,1)"


@settings(max_examples=50)
@given(st.lists(st.integers(1, 400), max_size=40))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    data = b"".join(MESSAGES)
    stream, received, offset = Stream(), [], 0
    for size in [*cuts, len(data)]:
        received += stream.receive(data[offset : offset + size])
        offset += size
    assert received == Stream().receive(data)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    stream = Stream()
    try:
        stream.receive(data)
    except CodecError:
        with pytest.raises(CodecError):  # and it stays refused
            stream.receive(b"")


@settings(max_examples=100)
@given(st.integers(0, 255), st.binary(max_size=200))
def test_random_bodies_are_read_or_refused(kind: int, body: bytes) -> None:
    try:
        event = e.decode(kind, 1, body)
    except CodecError:
        return
    assert event.xid == 1


READERS = [d.flows, d.flow_records, d.groups, d.meters, d.ports, d.table_features, d.flow_updates]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@settings(max_examples=60)
@given(data=st.binary(max_size=150))
def test_random_descriptions_are_read_or_refused(reader: object, data: bytes) -> None:
    try:
        reader(data)  # type: ignore[operator]
    except CodecError:
        pass


@settings(max_examples=100)
@given(st.sampled_from(FLOWS), st.data())
def test_a_damaged_flow_description_is_read_or_refused(flow: Flow, data: st.DataObject) -> None:
    raw = bytearray(described(flow))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for reader in (d.flows, d.flow_records):
        try:
            for found in reader(bytes(raw[:cut])):
                str(found if isinstance(found, Flow) else found.flow)
        except CodecError:
            pass


@settings(max_examples=100)
@given(st.binary(max_size=120))
def test_random_actions_are_printed_or_refused(data: bytes) -> None:
    for show in (text.format_actions, text.format_instructions):
        try:
            assert isinstance(show(data), str)
        except CodecError:
            pass


def test_descriptions_give_back_the_flows() -> None:
    body = b"".join(described(flow, packets=3) for flow in FLOWS)
    assert d.flows(body) == FLOWS
    assert [(record.flow, record.packets, record.bytes) for record in d.flow_records(body)] == [
        (flow, 3, 180) for flow in FLOWS
    ]


def test_packet_in_gives_metadata_and_userdata() -> None:
    frame = bytes(range(14))
    properties = b"".join(
        part + bytes(-len(part) % 8)
        for part in (
            struct.pack("!HH", 0, 4 + len(frame)) + frame,
            struct.pack("!HHB", 3, 5, 9),
            struct.pack("!HH4xQ", 4, 16, 77),
            struct.pack("!HH", 6, 4 + len(m.in_port(3))) + m.in_port(3),
            struct.pack("!HH", 7, 6) + b"\x01\x02",
        )
    )
    data = msg.message(msg.EXPERIMENTER, 1, struct.pack("!II", 0x2320, msg.NX_PACKET_IN2) + properties)
    (event,) = Stream().receive(data)
    assert isinstance(event, e.PacketIn)
    assert (event.packet, event.table, event.cookie, event.userdata) == (frame, 9, 77, b"\x01\x02")
    assert [(term.field.name, term.value) for term in event.fields()] == [("in_port", 3)]
    assert event.properties == properties


def test_an_older_version_is_refused_except_in_a_newer_hello() -> None:
    with pytest.raises(CodecError, match="version 0x04"):
        Stream().receive(bytes((4, msg.ECHO_REQUEST, 0, 8, 0, 0, 0, 1)))
    assert Stream().receive(bytes((7, msg.HELLO, 0, 8, 0, 0, 0, 1)))


def test_conjunctions_are_found_and_joined() -> None:
    one, two = a.conjunction(9, 1, 2), a.conjunction(4, 2, 3)
    joined = join_conjunctions(sorted([two, one]))
    assert sorted(conjunctions(joined) or ()) == sorted([one, two])
    assert conjunctions(a.apply(one)) == [one]
    for other in (b"", a.goto(4), a.apply(one + a.dec_ttl()), a.apply(one) + a.goto(9)):
        assert conjunctions(other) is None


def test_a_flow_too_large_for_a_message_is_refused() -> None:
    with pytest.raises(CodecError, match="do not fit into one flow"):
        join_conjunctions([a.conjunction(number, 1, 2) for number in range(4096)])
    with pytest.raises(CodecError, match="does not fit into one message"):
        msg.bundled_flow_mods(1, 3)(1, 0, 0, Flow.of(1, 1, b"").key, bytes(0xFFF0))


def test_errors_have_words_and_numbers() -> None:
    assert describe(3, 2) == "bad instruction: no such table to go to, or it lies before this one (3,2)"
    assert describe(99, 1) == "unknown error (99,1)"
