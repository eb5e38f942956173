"""Writes os-ken.json: messages as os-ken encodes them, the oracle for agent/openflow/codec.

os-ken pulls in eventlet, which has no place in the project's environment, so it gets one of its own:

    python3 -m venv /tmp/os-ken && /tmp/os-ken/bin/pip install os-ken
    /tmp/os-ken/bin/python tests/data/openflow/make_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as parser

DATAPATH = SimpleNamespace(ofproto=ofp, ofproto_parser=parser, id=1)
XID = 0x01020304


def encoded(message: object) -> str:
    message.xid = XID
    message.serialize()
    return bytes(message.buf).hex()


def flow(match: dict, actions: list, goto: int | None = None, **more: object) -> str:
    instructions = []
    if actions:
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
    if goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(goto))
    settings = {"cookie": 0x1020000000000, "table_id": 8, "priority": 200, "buffer_id": ofp.OFP_NO_BUFFER}
    return encoded(
        parser.OFPFlowMod(
            DATAPATH,
            out_port=ofp.OFPP_ANY,
            out_group=ofp.OFPG_ANY,
            match=parser.OFPMatch(**match),
            instructions=instructions,
            **{**settings, **more},
        )
    )


def vectors() -> dict[str, str]:
    p, a = parser, parser
    tcp = {"eth_type": 0x0800, "ip_proto": 6}
    return {
        "echo request": encoded(p.OFPEchoRequest(DATAPATH, data=b"abc")),
        "barrier": encoded(p.OFPBarrierRequest(DATAPATH)),
        "features": encoded(p.OFPFeaturesRequest(DATAPATH)),
        "set config": encoded(p.OFPSetConfig(DATAPATH, flags=0, miss_send_len=0xFFFF)),
        "role": encoded(p.OFPRoleRequest(DATAPATH, ofp.OFPCR_ROLE_EQUAL, 0xFFFF, 0)),
        "bundle open": encoded(
            p.OFPBundleCtrlMsg(DATAPATH, 7, ofp.OFPBCT_OPEN_REQUEST, ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED, [])
        ),
        "flow description": encoded(
            p.OFPFlowDescStatsRequest(
                DATAPATH, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, p.OFPMatch()
            )
        ),
        "group description": encoded(p.OFPGroupDescStatsRequest(DATAPATH, 0, ofp.OFPG_ALL)),
        "port description": encoded(p.OFPPortDescStatsRequest(DATAPATH, 0, ofp.OFPP_ANY)),
        "drop": flow({}, [], priority=0),
        "goto": flow({"in_port": 32769}, [], goto=9),
        "tcp port": flow({**tcp, "tcp_dst": 80}, [], goto=9),
        "port range": flow({**tcp, "tcp_dst": (8000, 0xFFC0)}, [], goto=9),
        "sctp port": flow({"eth_type": 0x86DD, "ip_proto": 132, "sctp_dst": 9000}, [], goto=9),
        "network": flow({"eth_type": 0x0800, "ipv4_src": ("10.77.0.0", "255.255.0.0")}, [], goto=9),
        "network 6": flow({"eth_type": 0x86DD, "ipv6_dst": ("fd00:1::", "ffff:ffff::")}, [], goto=9),
        "neighbour solicitation": flow(
            {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 135, "icmpv6_code": 0},
            [a.OFPActionOutput(ofp.OFPP_NORMAL, 0)],
        ),
        "arp": flow(
            {"in_port": 1, "eth_type": 0x0806, "arp_spa": "10.77.1.3", "arp_sha": "d2:01:93:35:44:9c"},
            [],
            goto=9,
        ),
        "mac": flow(
            {"eth_src": "d2:01:93:35:44:9c", "eth_dst": "aa:bb:cc:dd:ee:ff"},
            [a.OFPActionSetField(eth_src="82:75:0d:08:31:00"), a.OFPActionDecNwTtl()],
            goto=12,
        ),
        "group": flow({}, [a.OFPActionGroup(5)]),
        "meter": flow({}, [a.OFPActionMeter(256)]),
        "vlan": flow({}, [a.OFPActionPushVlan(0x8100), a.OFPActionPopVlan()]),
        "conjunction clause": flow(
            {"eth_type": 0x0800, "ipv4_src": "10.77.2.2"},
            [a.NXActionConjunction(clause=0, n_clauses=3, id_=18)],
        ),
        "conjunction id": flow(
            {"conj_id": 18, "eth_type": 0x0800}, [a.NXActionResubmitTable(in_port=0xFFF8, table_id=20)]
        ),
        "ct": flow(
            {"eth_type": 0x0800},
            [
                a.NXActionCT(
                    flags=1,
                    zone_src="",
                    zone_ofs_nbits=65520,
                    recirc_table=17,
                    alg=0,
                    actions=[a.OFPActionSetField(ct_mark=(0x10, 0x10))],
                )
            ],
        ),
        "ct nat": flow(
            {"eth_type": 0x0800},
            [
                a.NXActionCT(
                    flags=0,
                    zone_src="",
                    zone_ofs_nbits=65520,
                    recirc_table=6,
                    alg=0,
                    actions=[a.NXActionNAT(flags=0)],
                )
            ],
        ),
        "move": flow(
            {}, [a.OFPActionCopyField(n_bits=48, oxm_ids=[p.OFPOxmId("eth_src"), p.OFPOxmId("eth_dst")])]
        ),
        "register": flow({}, [a.OFPActionSetField(reg5=18), a.OFPActionSetField(reg0=(0x200000, 0x600000))]),
        "tunnel": flow({}, [a.OFPActionSetField(tun_ipv4_dst="192.0.2.2")]),
        "delete strict": flow({"eth_type": 0x0800}, [], command=ofp.OFPFC_DELETE_STRICT, cookie=0),
        "group all": encoded(
            p.OFPGroupMod(
                DATAPATH,
                ofp.OFPGC_ADD,
                ofp.OFPGT_ALL,
                3,
                ofp.OFPG_BUCKET_ALL,
                [p.OFPBucket(bucket_id=0, actions=[a.OFPActionOutput(1, 0)], properties=[])],
            )
        ),
        "meter mod": encoded(
            p.OFPMeterMod(
                DATAPATH,
                ofp.OFPMC_ADD,
                ofp.OFPMF_PKTPS | ofp.OFPMF_BURST,
                256,
                [p.OFPMeterBandDrop(rate=5000, burst_size=10000)],
            )
        ),
        "packet out": encoded(
            p.OFPPacketOut(
                DATAPATH,
                ofp.OFP_NO_BUFFER,
                p.OFPMatch(in_port=ofp.OFPP_CONTROLLER),
                [a.OFPActionOutput(ofp.OFPP_TABLE, 0)],
                b"\x00" * 14,
            )
        ),
    }


def main() -> None:
    found = {}
    for name, value in vectors().items():
        found[name] = value
    target = Path(__file__).with_name("os-ken.json")
    target.write_text(json.dumps({"xid": XID, "messages": found}, indent=1) + "\n")
    print(f"{len(found)} messages in {target}")


if __name__ == "__main__":
    main()
