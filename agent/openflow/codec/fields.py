"""Every match field the pipeline may use: its number on the wire, its width and its names.

A field has up to three names: the one in ``set_field:…->NAME``, the one in ``move`` and ``learn``
(``NXM_OF_ETH_SRC``), and the keyword in a printed match (``dl_src``). The order of ``MATCH_ORDER`` is the
order in which Open vSwitch writes a match (measured on 3.1 with OpenFlow 1.5); the matches built here
follow it, so that a flow read back is equal to the one sent, byte for byte.
"""

from __future__ import annotations

import struct

OXM_BASIC = 0x8000
OXM_REGISTERS = 0x8001
NXM_0 = 0x0000
NXM_1 = 0x0001

REGISTERS = 16


class Field:
    """A field of a match. ``size`` in bytes; ``shape`` says how a value is written by people.

    ``header`` are the four bytes in front of an exact value, ``masked_header`` those in front of a value with
    its mask. There is one object per field: fields are compared by identity.
    """

    __slots__ = (
        "bits",
        "header",
        "keyword",
        "masked_header",
        "name",
        "number",
        "nxm",
        "oxm_class",
        "shape",
        "size",
    )

    def __init__(
        self, oxm_class: int, number: int, size: int, name: str, nxm: str, keyword: str, shape: str = "hex"
    ) -> None:
        self.oxm_class = oxm_class
        self.number = number
        self.size = size
        self.name = name  # as in set_field
        self.nxm = nxm  # as in move and learn
        self.keyword = keyword  # as in a printed match
        self.shape = shape  # hex, decimal, mac, ipv4, ipv6, port (a transport port), ct_state
        self.bits = _ODD_WIDTHS.get(name, size * 8)
        self.header = struct.pack("!HBB", oxm_class, number << 1, size)
        self.masked_header = struct.pack("!HBB", oxm_class, number << 1 | 1, size * 2)

    def __repr__(self) -> str:
        return f"<Field {self.name}>"


# Fields whose width in bits is not their size in bytes.
_ODD_WIDTHS = {"vlan_vid": 13, "vlan_pcp": 3, "ip_dscp": 6, "ip_ecn": 2, "ipv6_label": 20, "tcp_flags": 12}


def _basic(number: int, size: int, name: str, nxm: str, keyword: str, shape: str = "hex") -> Field:
    return Field(OXM_BASIC, number, size, name, nxm, keyword, shape)


def _nxm1(number: int, size: int, name: str, shape: str = "hex") -> Field:
    return Field(NXM_1, number, size, name, f"NXM_NX_{name.upper()}", name, shape)


CONJ_ID = _nxm1(37, 4, "conj_id", "decimal")
IN_PORT = _basic(0, 4, "in_port", "OXM_OF_IN_PORT", "in_port", "decimal")
METADATA = _basic(2, 8, "metadata", "OXM_OF_METADATA", "metadata")
ETH_DST = _basic(3, 6, "eth_dst", "NXM_OF_ETH_DST", "dl_dst", "mac")
ETH_SRC = _basic(4, 6, "eth_src", "NXM_OF_ETH_SRC", "dl_src", "mac")
ETH_TYPE = _basic(5, 2, "eth_type", "NXM_OF_ETH_TYPE", "dl_type")
VLAN_VID = _basic(6, 2, "vlan_vid", "OXM_OF_VLAN_VID", "vlan_vid")
VLAN_PCP = _basic(7, 1, "vlan_pcp", "OXM_OF_VLAN_PCP", "dl_vlan_pcp", "decimal")
IP_DSCP = _basic(8, 1, "ip_dscp", "OXM_OF_IP_DSCP", "ip_dscp", "decimal")
IP_ECN = _basic(9, 1, "nw_ecn", "NXM_NX_IP_ECN", "nw_ecn", "decimal")
IP_PROTO = _basic(10, 1, "nw_proto", "NXM_OF_IP_PROTO", "nw_proto", "decimal")
IPV4_SRC = _basic(11, 4, "ip_src", "NXM_OF_IP_SRC", "nw_src", "ipv4")
IPV4_DST = _basic(12, 4, "ip_dst", "NXM_OF_IP_DST", "nw_dst", "ipv4")
TCP_SRC = _basic(13, 2, "tcp_src", "NXM_OF_TCP_SRC", "tp_src", "port")
TCP_DST = _basic(14, 2, "tcp_dst", "NXM_OF_TCP_DST", "tp_dst", "port")
UDP_SRC = _basic(15, 2, "udp_src", "NXM_OF_UDP_SRC", "tp_src", "port")
UDP_DST = _basic(16, 2, "udp_dst", "NXM_OF_UDP_DST", "tp_dst", "port")
SCTP_SRC = _basic(17, 2, "sctp_src", "OXM_OF_SCTP_SRC", "tp_src", "port")
SCTP_DST = _basic(18, 2, "sctp_dst", "OXM_OF_SCTP_DST", "tp_dst", "port")
ICMP_TYPE = _basic(19, 1, "icmp_type", "NXM_OF_ICMP_TYPE", "icmp_type", "decimal")
ICMP_CODE = _basic(20, 1, "icmp_code", "NXM_OF_ICMP_CODE", "icmp_code", "decimal")
ARP_OP = _basic(21, 2, "arp_op", "NXM_OF_ARP_OP", "arp_op", "decimal")
ARP_SPA = _basic(22, 4, "arp_spa", "NXM_OF_ARP_SPA", "arp_spa", "ipv4")
ARP_TPA = _basic(23, 4, "arp_tpa", "NXM_OF_ARP_TPA", "arp_tpa", "ipv4")
ARP_SHA = _basic(24, 6, "arp_sha", "NXM_NX_ARP_SHA", "arp_sha", "mac")
ARP_THA = _basic(25, 6, "arp_tha", "NXM_NX_ARP_THA", "arp_tha", "mac")
IPV6_SRC = _basic(26, 16, "ipv6_src", "NXM_NX_IPV6_SRC", "ipv6_src", "ipv6")
IPV6_DST = _basic(27, 16, "ipv6_dst", "NXM_NX_IPV6_DST", "ipv6_dst", "ipv6")
IPV6_LABEL = _basic(28, 4, "ipv6_label", "NXM_NX_IPV6_LABEL", "ipv6_label")
ICMPV6_TYPE = _basic(29, 1, "icmpv6_type", "NXM_NX_ICMPV6_TYPE", "icmp_type", "decimal")
ICMPV6_CODE = _basic(30, 1, "icmpv6_code", "NXM_NX_ICMPV6_CODE", "icmp_code", "decimal")
ND_TARGET = _basic(31, 16, "nd_target", "NXM_NX_ND_TARGET", "nd_target", "ipv6")
ND_SLL = _basic(32, 6, "nd_sll", "NXM_NX_ND_SLL", "nd_sll", "mac")
ND_TLL = _basic(33, 6, "nd_tll", "NXM_NX_ND_TLL", "nd_tll", "mac")
TUN_ID = _basic(38, 8, "tun_id", "NXM_NX_TUN_ID", "tun_id")
TCP_FLAGS = _basic(42, 2, "tcp_flags", "NXM_NX_TCP_FLAGS", "tcp_flags")
IP_FRAG = _nxm1(26, 1, "ip_frag")
IP_TTL = Field(NXM_1, 29, 1, "nw_ttl", "NXM_NX_IP_TTL", "nw_ttl", "decimal")
TUN_SRC = Field(NXM_1, 31, 4, "tun_src", "NXM_NX_TUN_IPV4_SRC", "tun_src", "ipv4")
TUN_DST = Field(NXM_1, 32, 4, "tun_dst", "NXM_NX_TUN_IPV4_DST", "tun_dst", "ipv4")
PKT_MARK = _nxm1(33, 4, "pkt_mark")
CT_STATE = _nxm1(105, 4, "ct_state", "ct_state")
CT_ZONE = _nxm1(106, 2, "ct_zone", "decimal")
CT_MARK = _nxm1(107, 4, "ct_mark")
CT_LABEL = _nxm1(108, 16, "ct_label")
TUN_IPV6_SRC = _nxm1(109, 16, "tun_ipv6_src", "ipv6")
TUN_IPV6_DST = _nxm1(110, 16, "tun_ipv6_dst", "ipv6")
CT_NW_PROTO = _nxm1(119, 1, "ct_nw_proto", "decimal")
CT_NW_SRC = _nxm1(120, 4, "ct_nw_src", "ipv4")
CT_NW_DST = _nxm1(121, 4, "ct_nw_dst", "ipv4")
CT_IPV6_SRC = _nxm1(122, 16, "ct_ipv6_src", "ipv6")
CT_IPV6_DST = _nxm1(123, 16, "ct_ipv6_dst", "ipv6")
CT_TP_SRC = _nxm1(124, 2, "ct_tp_src", "port")
CT_TP_DST = _nxm1(125, 2, "ct_tp_dst", "port")
REG = tuple(_nxm1(number, 4, f"reg{number}") for number in range(REGISTERS))
XXREG = tuple(_nxm1(111 + number, 16, f"xxreg{number}") for number in range(REGISTERS // 4))
# Two registers in one field: how OVS writes registers into matches when it speaks OpenFlow 1.5.
XREG = tuple(
    Field(OXM_REGISTERS, number, 8, f"xreg{number}", f"OXM_OF_PKT_REG{number}", f"xreg{number}")
    for number in range(REGISTERS // 2)
)

MATCH_ORDER: tuple[Field, ...] = (
    CONJ_ID, IN_PORT, ETH_SRC, ETH_DST, ETH_TYPE, VLAN_VID, VLAN_PCP,
    IPV4_SRC, IPV4_DST, IPV6_SRC, IPV6_DST, IP_FRAG, IP_DSCP, IP_ECN, IP_TTL, IP_PROTO,
    TCP_SRC, TCP_DST, TCP_FLAGS, UDP_SRC, UDP_DST, SCTP_SRC, SCTP_DST, ICMP_TYPE, ICMP_CODE,
    ICMPV6_TYPE, ICMPV6_CODE, IPV6_LABEL, ND_TARGET, ND_SLL, ND_TLL,
    ARP_OP, ARP_SPA, ARP_TPA, ARP_SHA, ARP_THA,
    TUN_ID, TUN_SRC, TUN_DST, TUN_IPV6_SRC, TUN_IPV6_DST,
    *XREG,
    PKT_MARK, CT_STATE, CT_ZONE, CT_MARK, CT_LABEL,
    CT_NW_SRC, CT_NW_DST, CT_IPV6_SRC, CT_IPV6_DST, CT_NW_PROTO, CT_TP_SRC, CT_TP_DST,
    METADATA,
)  # fmt: skip

_ALL = (*MATCH_ORDER, *REG, *XXREG)

# Older numbers under which OVS still writes some fields in move and learn.
_ALIASES: dict[tuple[int, int], Field] = {
    (NXM_0, 0): Field(NXM_0, 0, 2, "in_port", "NXM_OF_IN_PORT", "in_port", "decimal"),  # 16 bits of it
    (NXM_0, 1): ETH_DST,
    (NXM_0, 2): ETH_SRC,
    (NXM_0, 3): ETH_TYPE,
    (NXM_0, 6): IP_PROTO,
    (NXM_0, 7): IPV4_SRC,
    (NXM_0, 8): IPV4_DST,
    (NXM_0, 9): TCP_SRC,
    (NXM_0, 10): TCP_DST,
    (NXM_0, 11): UDP_SRC,
    (NXM_0, 12): UDP_DST,
    (NXM_0, 13): ICMP_TYPE,
    (NXM_0, 14): ICMP_CODE,
    (NXM_0, 15): ARP_OP,
    (NXM_0, 16): ARP_SPA,
    (NXM_0, 17): ARP_TPA,
    (NXM_1, 16): TUN_ID,
    (NXM_1, 17): ARP_SHA,
    (NXM_1, 18): ARP_THA,
    (NXM_1, 19): IPV6_SRC,
    (NXM_1, 20): IPV6_DST,
    (NXM_1, 34): TCP_FLAGS,
}

BY_NUMBER: dict[tuple[int, int], Field] = {(f.oxm_class, f.number): f for f in _ALL} | _ALIASES
BY_NAME: dict[str, Field] = {f.name: f for f in _ALL}
RANK: dict[tuple[int, int], int] = {(f.oxm_class, f.number): i for i, f in enumerate(MATCH_ORDER)}

# ct_state bits.
CT_NEW, CT_EST, CT_REL, CT_RPL, CT_INV, CT_TRK, CT_SNAT, CT_DNAT = (1 << n for n in range(8))
CT_STATE_NAMES = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")

ETH_IPV4, ETH_IPV6, ETH_ARP = 0x0800, 0x86DD, 0x0806
PROTO_ICMP, PROTO_IGMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6, PROTO_SCTP = 1, 2, 6, 17, 58, 132
