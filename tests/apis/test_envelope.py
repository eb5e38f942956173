"""The Kubernetes protobuf envelope and the framing of watches, byte by byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.controlplane import v1beta2
from apis.envelope import (
    EnvelopeError,
    JSONWatchDecoder,
    ProtobufWatchDecoder,
    WatchFrame,
    fields,
    type_meta,
    unwrap,
    varint,
    watch_event_type,
    watch_frame,
    watch_frame_typed,
    watch_line,
    wrap,
    wrap_typed,
)

GROUP = {
    "metadata": {"name": "ag1", "uid": "u1"},
    "groupMembers": [{"pod": {"name": "p1", "namespace": "ns1"}, "ips": ["AAAAAAAAAAAAAP//CgAAAQ=="]}],
}
BODY = (
    b"k8s\0"
    + b"\x0a\x2e\x0a\x1econtrolplane.antrea.io/v1beta2\x12\x0cAddressGroup"
    + b"\x12\x36\x0a\x15\x0a\x03ag1\x12\x00\x1a\x00\x22\x00\x2a\x02u1\x32\x00\x38\x00\x42\x00"
    + b"\x12\x1d\x0a\x09\x0a\x02p1\x12\x03ns1\x1a\x10"
    + bytes(10)
    + b"\xff\xff\x0a\x00\x00\x01"
    + b"\x1a\x00\x22\x00"
)


def test_an_address_group_as_the_wire_has_it() -> None:
    message = v1beta2.encode_message("AddressGroup", GROUP)
    assert wrap("controlplane.antrea.io/v1beta2", "AddressGroup", message) == BODY
    enveloped = unwrap(BODY)
    assert (enveloped.api_version, enveloped.kind) == ("controlplane.antrea.io/v1beta2", "AddressGroup")
    assert v1beta2.decode_message("AddressGroup", enveloped.raw) == GROUP


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 4000, 4095, 4096, 16_383, 16_384, 70_000])
@pytest.mark.parametrize("event", ["ADDED", "BOOKMARK"])
def test_a_frame_made_in_one_go_is_the_same(event: str, size: int) -> None:
    prefix, message = type_meta("controlplane.antrea.io/v1beta2", "AddressGroup"), b"m" * size
    made = watch_frame_typed(watch_event_type(event), prefix, message)
    assert made == watch_frame(event, wrap_typed(prefix, message))


def test_a_watch_frame_as_the_wire_has_it() -> None:
    assert watch_frame("ADDED", BODY) == b"\x00\x00\x00\x7b\x0a\x05ADDED\x12\x72\x0a\x70" + BODY
    assert watch_line("ADDED", b'{"a":1}') == b'{"type":"ADDED","object":{"a":1}}\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"k8s",
        b"{}",
        b"k8s\0\xff",
        b"k8s\0\x0a\x7fabc",
        b"k8s\0\x0b",
        b"k8s\0\x0a\x04\x0a\x02\xff\xfe",
        b"k8s\0\x1a\x04gzip",
    ],
)
def test_what_is_no_envelope(body: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unwrap(body)


events = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "BOOKMARK"]), st.binary(max_size=300)), max_size=8
)


@settings(max_examples=100)
@given(events, st.lists(st.integers(1, 50), min_size=1))
def test_protobuf_frames_survive_any_cutting(items: list[tuple[str, bytes]], cuts: list[int]) -> None:
    data = b"".join(watch_frame(event, body) for event, body in items)
    decoder, found, at, turn = ProtobufWatchDecoder(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[at : at + size])
        at += size
        turn += 1
    assert found == [WatchFrame(event, body) for event, body in items]
    assert decoder.pending == 0


@settings(max_examples=60)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=20), max_size=3), max_size=6),
    st.integers(1, 40),
)
def test_json_lines_survive_any_cutting(documents: list[dict[str, str]], size: int) -> None:
    data = b"".join(watch_line("ADDED", json.dumps(document).encode()) for document in documents)
    decoder, found = JSONWatchDecoder(), []
    for at in range(0, len(data), size):
        found += decoder.feed(data[at : at + size])
    assert [json.loads(frame.object) for frame in found] == documents
    assert decoder.pending == 0


@pytest.mark.parametrize("decoder", [ProtobufWatchDecoder, JSONWatchDecoder])
def test_frames_beyond_the_bound_are_refused(decoder: type) -> None:
    with pytest.raises(EnvelopeError, match="limit"):
        decoder(max_frame=1000).feed(b"\x7f" * 2000)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_noise_is_only_ever_refused(data: bytes) -> None:
    for read in (
        unwrap,
        lambda noise: list(fields(noise)),
        ProtobufWatchDecoder(max_frame=10_000).feed,
        JSONWatchDecoder(max_frame=10_000).feed,
    ):
        try:
            read(data)
        except EnvelopeError:
            pass


@given(st.integers(0, 2**63))
def test_varints(value: int) -> None:
    assert list(fields(b"\x08" + varint(value))) == [(1, value)]
