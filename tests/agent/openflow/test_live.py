"""The codec against a real switch: what ovs-ofctl adds we read and print the same, what we add it prints."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.openflow.bundle import Bundle, BundleRejected
from agent.openflow.codec import actions as a
from agent.openflow.codec import descriptions
from agent.openflow.codec import events as e
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec import messages as msg
from agent.openflow.codec.events import PacketIn
from agent.openflow.codec.flow import Flow
from agent.openflow.codec.messages import FlowCommand, Multipart
from agent.openflow.connection import Connection
from tests.support.ovs import OpenVSwitch, unique

pytestmark = pytest.mark.lab

BRIDGE = "br-int"
RECORDINGS = sorted((Path(__file__).parents[2] / "data/flows").glob("*.flows"))

OTHERS = """
table=0,priority=3,reg0=0x1/0xf,reg1=5,reg2=7,reg3=9/9,pkt_mark=0x80000000/0x80000000,ct_state=-rpl+trk,ct_mark=0x10/0x10,ct_label=0x1/0xff,ct_zone=5,tcp,in_port=4,dl_src=aa:bb:cc:dd:ee:ff,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,nw_src=10.0.0.0/8,nw_dst=10.1.1.1,tp_dst=0x50/0xfff0,tp_src=4,tun_id=5,metadata=4 actions=push_vlan:0x8100,pop_vlan,output:3,NORMAL,IN_PORT,ct_clear,ct(commit,force,zone=NXM_NX_REG8[0..15],nat(src=1.2.3.4-1.2.3.9:5-9)),set_field:1->xxreg3,set_field:1/3->xreg2,load:1->NXM_NX_REG1[0..3],goto_table:4
table=0,priority=4,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,ipv6_src=fe80::/10,ipv6_dst=ff00::/8 actions=set_field:fe80::1->tun_ipv6_dst,set_field:5->tun_id,CONTROLLER:65535,resubmit(1,2),ct(table=4,zone=5,nat)
table=0,priority=5,arp,arp_op=1,arp_spa=1.2.3.4,arp_tpa=3.4.5.6,arp_sha=aa:bb:cc:dd:ee:ff actions=drop
table=0,priority=6,ip,nw_proto=2,nw_dst=224.0.0.1 actions=ct(commit,nat(dst=1.2.3.4:5),exec(set_field:1->ct_mark))
table=0,priority=7,reg12=0,reg13=0,reg14=0,reg15=5,udp6,tp_src=5,conj_id=5,tun_dst=1.2.3.4 actions=output:NXM_NX_REG1[]
table=0,priority=8,dl_vlan=5,icmp,icmp_type=8 actions=FLOOD,ALL,LOCAL
table=0,priority=9,sctp,tp_src=5,tp_dst=6,reg9=0/1 actions=conjunction(1,2/3),conjunction(7,1/2)
table=0,priority=10,vlan_tci=0x1000/0x1000 actions=controller(reason=no_match,id=7,userdata=01.02,pause)
table=0,priority=11,tcp6 actions=learn(table=20,idle_timeout=60,priority=200,cookie=0x10,eth_type=0x86dd,nw_proto=6,NXM_NX_IPV6_SRC[]=NXM_NX_IPV6_DST[],OXM_OF_TCP_SRC[]=OXM_OF_TCP_DST[],load:1->NXM_NX_REG10[0],output:NXM_OF_IN_PORT[]),goto_table:5
table=0,priority=12,ct_state=+new+trk,ip,ct_nw_src=1.2.3.0/24 actions=set_queue:3,dec_ttl,group:9
"""  # noqa: E501


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    with OpenVSwitch(tmp_path_factory.mktemp("l"), unique("aopf")) as ovs:
        ovs.vsctl(
            "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
            "protocols=OpenFlow10,OpenFlow15",
        )  # fmt: skip
        yield ovs


@pytest_asyncio.fixture
async def connection(ovs: OpenVSwitch) -> AsyncIterator[Connection]:
    connection = await Connection.open(ovs.run_dir / f"{BRIDGE}.mgmt")
    connection.send(msg.delete_all_flows(connection.next_xid()))
    await connection.barrier()
    yield connection
    await connection.close()


async def read(connection: Connection) -> list[Flow]:
    xid = connection.next_xid()
    parts = await connection.collect(xid, msg.flow_desc_request(xid))
    return [flow for part in parts for flow in descriptions.flows(part)]


def with_numbers(line: str, tables: list[str]) -> str | None:
    """A recorded line for a switch that knows neither the recorded names nor groups."""
    if "meter:" in line or "group:" in line:
        return None
    line = re.sub(r'in_port="([^"]+)"', lambda found: f"in_port={len(found[1])}", line.strip())
    return re.sub(
        r"\b[A-Z]\w+\b", lambda found: str(tables.index(found[0])) if found[0] in tables else found[0], line
    )


@pytest.mark.parametrize(
    "source",
    [*(path.read_text() for path in RECORDINGS), OTHERS],
    ids=[*(path.stem for path in RECORDINGS), "others"],
)
async def test_what_ovs_ofctl_adds(
    ovs: OpenVSwitch, connection: Connection, source: str, tmp_path: Path
) -> None:
    lines = source.strip().splitlines()
    tables = list(dict.fromkeys(re.findall(r", table=([A-Z]\w+),", "\n".join(lines))))
    lines = [line for line in (with_numbers(line, tables) for line in lines) if line is not None]
    file = tmp_path / "flows"
    file.write_text("\n".join(line.replace(",group:9", "") for line in lines))
    ovs.ofctl("--bundle", "add-flows", ovs.bridge(BRIDGE), str(file))
    flows = await read(connection)
    printed = ovs.ofctl("--no-names", "--no-stats", "dump-flows", ovs.bridge(BRIDGE)).splitlines()
    assert sorted(flow.format() for flow in flows) == sorted(line for line in printed if "actions=" in line)
    for flow in flows:
        assert m.canonical(flow.match) == flow.match, flow.format()

    # The same bytes, sent by us, give the same flows.
    connection.send(msg.delete_all_flows(connection.next_xid()))
    async with Bundle(connection) as bundle:
        for flow in flows:
            bundle.add_flow(FlowCommand.ADD, flow.cookie, flow.key, flow.body)
    assert {flow.key: flow for flow in await read(connection)} == {flow.key: flow for flow in flows}


async def test_bundles_are_all_or_nothing(connection: Connection) -> None:
    good, bad = Flow.of(5, 1, b"", a.goto(6)), Flow.of(5, 2, b"", a.goto(4))
    with pytest.raises(BundleRejected) as raised:
        async with Bundle(connection) as bundle:
            for flow in (good, bad, good):
                bundle.add_flow(FlowCommand.ADD, 0, flow.key, flow.body)
    assert list(raised.value.faults) == [1]
    assert await read(connection) == []
    with pytest.raises(RuntimeError):
        async with Bundle(connection) as bundle:
            bundle.add_flow(FlowCommand.ADD, 0, good.key, good.body)
            raise RuntimeError("the caller changed its mind")
    await connection.barrier()
    assert await read(connection) == []
    async with Bundle(connection) as bundle:
        bundle.add_flow(FlowCommand.ADD, 0, good.key, good.body)
    assert await read(connection) == [good]


async def test_late_errors_of_a_bundle_that_was_given_up_do_no_harm(connection: Connection) -> None:
    bad = Flow.of(5, 2, b"", a.goto(4))
    with pytest.raises(RuntimeError):
        async with Bundle(connection) as bundle:
            for _ in range(50):
                bundle.add_flow(FlowCommand.ADD, 0, bad.key, bad.body)
            raise RuntimeError("given up while the switch is about to refuse")
    async with Bundle(connection) as bundle:
        for priority in range(50):
            bundle.add_flow(FlowCommand.ADD, 0, Flow.of(5, priority, b"").key, b"")
    assert len(await read(connection)) == 50


async def test_packets_come_up_and_go_on(ovs: OpenVSwitch, connection: Connection) -> None:
    """A packet is paused by the pipeline, seen here, resumed, and counted behind the pause."""
    connection.send(msg.set_controller_id(connection.next_xid(), 77))
    punt = Flow.of(0, 9, m.ip(), a.apply(a.load(3, 5) + a.controller(77, b"\x02", pause=True)) + a.goto(1))
    behind = Flow.of(1, 9, m.reg(3, 5), b"")
    for flow in (punt, behind):
        connection.send(msg.flow_mod(connection.next_xid(), FlowCommand.ADD, flow.key, flow.body))
    seen: asyncio.Future[PacketIn] = asyncio.get_running_loop().create_future()
    connection.on(PacketIn, lambda event: seen.set_result(event))  # type: ignore[arg-type]
    frame = bytes.fromhex("020000000002020000000001") + bytes.fromhex("0800") + bytes.fromhex(
        "4500001c00000000401100000a0000010a000002") + bytes(8)  # fmt: skip
    connection.send(msg.packet_out(connection.next_xid(), frame, a.output(a.TABLE), m.in_port(a.LOCAL)))
    event = await asyncio.wait_for(seen, 5)
    assert (event.packet, event.userdata, event.table) == (frame, b"\x02", 0)
    registers = {term.field.name: term.value for term in event.fields()}
    assert registers["xreg1"] == 5
    connection.send(msg.resume(connection.next_xid(), event.properties))
    await connection.barrier()
    xid = connection.next_xid()
    (part,) = await connection.collect(xid, msg.flow_desc_request(xid, table=1))
    assert [record.packets for record in descriptions.flow_records(part)] == [1]


async def test_a_flow_monitor_sees_what_others_do(ovs: OpenVSwitch, connection: Connection) -> None:
    updates: asyncio.Queue[descriptions.FlowUpdate] = asyncio.Queue()

    def handler(event: e.Event) -> None:
        assert isinstance(event, e.MultipartReply)
        for update in descriptions.flow_updates(event.body):
            updates.put_nowait(update)

    connection.on(e.MultipartReply, handler)
    xid = connection.next_xid()
    await connection.collect(xid, msg.flow_monitor_request(xid, 1))
    ovs.ofctl("add-flow", ovs.bridge(BRIDGE), "table=3,priority=8,tcp,tp_dst=80,actions=drop")
    ovs.ofctl("del-flows", ovs.bridge(BRIDGE), "table=3")
    first, second = [await asyncio.wait_for(updates.get(), 5) for _ in range(2)]
    assert (first.event, first.table, first.priority, first.match) == ("added", 3, 8, m.tp_dst(6, 80))
    assert (second.event, second.table) == ("removed", 3)


async def test_ports(ovs: OpenVSwitch, connection: Connection) -> None:
    (part,) = await connection.multipart(Multipart.PORT_DESC, b"\xff\xff\xff\xff" + bytes(4))
    assert [(port.number, port.name) for port in descriptions.ports(part)] == [(a.LOCAL, BRIDGE)]


def test_fields_have_distinct_names_and_numbers() -> None:
    assert len(f.BY_NAME) == len({(field.oxm_class, field.number) for field in f.BY_NAME.values()})
