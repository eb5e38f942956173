"""Matches: fragments join in OVS's order, and say what they should."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.text import format_match

ip, network = ipaddress.ip_address, ipaddress.ip_network

CASES = [
    # fragments, as ovs-ofctl prints them
    ((), ""),
    ((m.ip(),), "ip"),
    ((m.tp_dst(6, 80), m.in_port(3)), "tcp,in_port=3,tp_dst=80"),
    ((m.tp_dst(6, 8000, 0xFFC0),), "tcp,tp_dst=0x1f40/0xffc0"),
    ((m.tp_dst(132, 9000, version=6),), "sctp6,tp_dst=9000"),
    ((m.nw_src(ip("10.0.0.1")), m.reg(1, 5)), "ip,reg1=0x5,nw_src=10.0.0.1"),
    ((m.nw_src(network("0.0.0.0/0")),), "ip"),
    ((m.nw_dst(network("::/0")),), "ipv6"),
    ((m.nw_dst(network("fe80::/10")),), "ipv6,ipv6_dst=fe80::/10"),
    ((m.reg(0, 0, 0x200),), "reg0=0/0x200"),
    ((m.reg(0, 0x20, 0xF0), m.reg(0, 2, 0xF)), "reg0=0x22/0xff"),
    ((m.reg(0, 3, 0xF), m.reg(4, 0, 0x100000), m.reg(1, 7)), "reg0=0x3/0xf,reg1=0x7,reg4=0/0x100000"),
    ((m.ct_state("-rpl+trk"), m.ip(), m.ct_mark(0, 0x10)), "ct_state=-rpl+trk,ct_mark=0/0x10,ip"),
    ((m.ct_state("+new"), m.ct_label(0x12, 0xFFFFFFFF)), "ct_state=+new,ct_label=0x12/0xffffffff"),
    ((m.conj_id(18), m.ip()), "conj_id=18,ip"),
    ((m.pkt_mark(1 << 31, 1 << 31),), "pkt_mark=0x80000000/0x80000000"),
    ((m.icmp(8),), "icmp,icmp_type=8"),
    ((m.icmp(135, 0, version=6),), "icmp6,icmp_type=135,icmp_code=0"),
    ((m.tun_id(5),), "tun_id=0x5"),
    (
        (m.arp(), m.arp_op(1), m.arp_tpa(ip("10.0.0.1")), m.arp_spa(ip("10.0.0.2"))),
        "arp,arp_spa=10.0.0.2,arp_tpa=10.0.0.1,arp_op=1",
    ),
]


@pytest.mark.parametrize("fragments,printed", CASES, ids=[printed or "any" for _, printed in CASES])
def test_prints(fragments: tuple[bytes, ...], printed: str) -> None:
    assert format_match(m.match(*fragments)) == printed


@pytest.mark.parametrize("fragments,_", CASES)
def test_order_of_fragments_does_not_matter(fragments: tuple[bytes, ...], _: str) -> None:
    assert m.match(*fragments) == m.match(*reversed(fragments))


@pytest.mark.parametrize("fragments,_", CASES)
def test_canonical_is_a_fixed_point(fragments: tuple[bytes, ...], _: str) -> None:
    joined = m.match(*fragments)
    assert m.canonical(joined) == joined


def test_registers_of_another_width_are_the_same_match() -> None:
    single = m.exact(f.REG[1], 5) + m.masked(f.REG[0], 2, 0xF)
    wide = m.masked(f.XXREG[0], 2 << 96 | 5 << 64, 0xF << 96 | 0xFFFFFFFF << 64)
    expected = m.match(m.reg(0, 2, 0xF), m.reg(1, 5))
    assert m.canonical(single) == m.canonical(wide) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: m.match(m.in_port(1), m.in_port(2)),
        lambda: m.match(m.ip(4), m.ip(6)),
        lambda: m.match(m.reg(0, 1, 0xF), m.reg(0, 2, 0xF)),
        lambda: m.reg(16, 1),
        lambda: m.masked(f.CT_MARK, 3, 1),
        lambda: m.in_port(1 << 32),
        lambda: m.dl_src("d2:01"),
        lambda: m.dl_src("g2:01:93:35:44:9c"),
        lambda: m.ct_state("+old"),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    with pytest.raises(CodecError):
        make()  # type: ignore[operator]


@settings(max_examples=100)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        terms = m.terms(data)
    except CodecError:
        return
    assert sum(4 + term.field.size * (1 if term.mask is None else 2) for term in terms) == len(data)


@settings(max_examples=100)
@given(st.lists(st.sampled_from([fragment for fragments, _ in CASES for fragment in fragments]), max_size=6))
def test_reading_gives_back_what_was_joined(fragments: list[bytes]) -> None:
    try:
        joined = m.match(*fragments)
    except CodecError:
        return  # two of them contradict each other
    again = m.match(
        *(
            m.masked(t.field, t.value, t.mask) if t.mask else m.exact(t.field, t.value)
            for t in m.terms(joined)
        )
    )
    assert again == joined
