"""The lab's INIT and INIT-ACK, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.nodes import sctp
from lab.nodes.sctp import ABORT, INIT, INIT_ACK, Packet


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),  # the check value of CRC-32C
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
    ],
)
def test_crc32c_equals_published_values(data: bytes, checksum: int) -> None:
    assert sctp.crc32c(data) == checksum


packets = st.builds(
    Packet,
    source_port=st.integers(1, 65535),
    destination_port=st.integers(1, 65535),
    tag=st.integers(0, 2**32 - 1),
    chunk=st.just(INIT_ACK),
    initiate_tag=st.integers(1, 2**32 - 1),
    cookie=st.binary(max_size=80),
)


@given(packets)
@settings(max_examples=100)
def test_what_is_encoded_is_decoded(packet: Packet) -> None:
    encoded = sctp.encode(packet)
    assert len(encoded) % 4 == 0
    assert sctp.decode(encoded) == packet


@pytest.mark.parametrize("chunk", [INIT, ABORT])
def test_init_and_abort_carry_no_cookie(chunk: int) -> None:
    packet = Packet(1, 2, 3, chunk, 4 if chunk == INIT else 0)
    assert sctp.decode(sctp.encode(packet)) == packet


@given(packets, st.data())
@settings(max_examples=100)
def test_a_damaged_packet_is_none(packet: Packet, data: st.DataObject) -> None:
    encoded = bytearray(sctp.encode(packet))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    assert sctp.decode(bytes(encoded)) is None


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_arbitrary_bytes_raise_nothing(data: bytes) -> None:
    sctp.decode(data)
    sctp.ip_payload(data)
