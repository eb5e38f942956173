"""Connections are read from OVS's dump and turned into packets that make them known again."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.openflow.codec import text
from agent.pipeline.conntrack import packet, parse, restoring_message

TCP = (
    "tcp,orig=(src=10.77.1.3,dst=10.77.1.4,sport=40000,dport=80),"
    "reply=(src=10.77.1.4,dst=10.77.1.3,sport=80,dport=40000),zone=65520,mark=3,labels=0x200000000,"
    "protoinfo=(state=ESTABLISHED)"
)
UDP6 = (
    "udp,orig=(src=fd00::3,dst=fd00::4,sport=5,dport=53),"
    "reply=(src=fd00::4,dst=fd00::3,sport=53,dport=5),zone=65510"
)


def test_what_is_read() -> None:
    one, two = parse(f"{TCP}\n{UDP6}\n")
    assert (one.protocol, str(one.src), str(one.dst), one.sport, one.dport) == (
        "tcp",
        "10.77.1.3",
        "10.77.1.4",
        40000,
        80,
    )
    assert (one.zone, one.mark, one.label) == (65520, 3, 0x200000000)
    assert (two.protocol, str(two.src), two.zone, two.mark, two.label) == ("udp", "fd00::3", 65510, 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        TCP.replace("ESTABLISHED", "SYN_SENT"),  # one policy let it pass, another one may have stopped it
        TCP.replace("ESTABLISHED", "TIME_WAIT"),
        TCP.replace("zone=65520", "zone=7"),  # somebody else's
        TCP.replace("reply=(src=10.77.1.4", "reply=(src=10.96.0.1"),  # translated
        TCP.replace("tcp", "sctp"),
        "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=1,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.1,id=1,type=0,code=0)",
        TCP.replace("10.77.1.3", "10.77.1.300"),
        "rubbish",
        "",
    ],
)
def test_what_is_passed_over(line: str) -> None:
    assert parse(line) == []


def test_a_connection_that_was_restored_counts_before_it_looks_established() -> None:
    known = parse(TCP)
    assert parse(TCP.replace("ESTABLISHED", "SYN_SENT"), known) == known
    assert parse(TCP.replace("ESTABLISHED", "TIME_WAIT"), known) == []


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    "line", [TCP, UDP6, TCP.replace("tcp", "udp").replace(",protoinfo=(state=ESTABLISHED)", "")]
)
def test_packets_have_right_checksums(line: str) -> None:
    """The sum over a header with a right checksum is all ones (RFC 1071)."""
    (connection,) = parse(line)
    frame = packet(connection)
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == 0x0800:
        head, segment, number = frame[14:34], frame[34:], frame[23]
        assert checksum(head) == 0xFFFF
        assert int.from_bytes(head[2:4], "big") == len(frame) - 14
        addresses = head[12:20]
    else:
        head, segment, number = frame[14:54], frame[54:], frame[20]
        assert ethertype == 0x86DD
        assert int.from_bytes(head[4:6], "big") == len(segment)
        addresses = head[8:40]
    pseudo = addresses + struct.pack("!II", len(segment), number)
    assert checksum(pseudo + segment) == 0xFFFF
    assert struct.unpack_from("!HH", segment) == (connection.sport, connection.dport)


def test_the_message_commits_and_goes_nowhere() -> None:
    (connection,) = parse(TCP)
    message = restoring_message(1, connection)
    (length,) = struct.unpack_from("!H", message, 12)
    (match_length,) = struct.unpack_from("!H", message, 18)
    start = 16 + match_length + -match_length % 8
    assert text.format_actions(message[start : start + length]) == (
        "ct(commit,zone=65520,exec(set_field:0x3->ct_mark,set_field:0x200000000->ct_label))"
    )


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_any_text_is_read(dump: str) -> None:
    assert parse(dump) == []
