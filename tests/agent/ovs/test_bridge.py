"""The bridge and its ports in a real OVSDB: rows as Antrea v2.7 writes them, what survives which death."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.model import PodInterface
from agent.ovs.bridge import OVSBridge
from agent.ovs.database import Database, DatabaseError
from tests.support.ovs import OpenVSwitch, unique

pytestmark = pytest.mark.lab


@pytest.fixture
def ovs(tmp_path: Path) -> Iterator[OpenVSwitch]:
    with OpenVSwitch(tmp_path, unique("aocn")) as instance:
        yield instance


@pytest_asyncio.fixture
async def database(ovs: OpenVSwitch) -> AsyncIterator[Database]:
    database = Database(ovs.run_dir, timeout=5)
    await database.connect(patience=5)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def bridge(database: Database) -> OVSBridge:
    bridge = OVSBridge(database, datapath_type="netdev")
    await bridge.ensure()
    return bridge


def pod(name: str = "web-0-6156c2", ofport: int = 0) -> PodInterface:
    return PodInterface(
        name=name,
        namespace="default",
        pod="web-0",
        container_id="cid-web-0",
        mac="d2:01:93:35:44:9c",
        ips=(ipaddress.ip_address("10.77.1.3"),),
        ofport=ofport,
        pod_uid="u-1",
    )


def add_veth(ovs: OpenVSwitch, name: str) -> None:
    ovs.namespace.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name[:12]}-p")


def get(ovs: OpenVSwitch, table: str, record: str, column: str) -> str:
    return ovs.vsctl("get", table, record, column).strip()


async def test_bridge_row(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    expected = {
        "datapath_type": "netdev",
        "fail_mode": "secure",
        "protocols": "[OpenFlow10, OpenFlow15]",
        "external_ids": "{}",
        "controller": "[]",
    }
    assert {column: get(ovs, "bridge", "br-int", column) for column in expected} == expected
    assert len(bridge.datapath_id or "") == 16
    assert bridge.management_socket.exists()


async def test_an_existing_bridge_keeps_its_round_number(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    assert bridge.round_number is None
    await bridge.set_round_number(7)
    await bridge.ensure()
    assert bridge.round_number == 7
    assert get(ovs, "bridge", "br-int", "external_ids") == '{roundNum="7"}'


async def test_gateway_and_tunnel_rows(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    gateway = await bridge.ensure_gateway(mtu=1450)
    tunnel = await bridge.ensure_tunnel()
    assert (gateway.ofport, tunnel.ofport) == (32769, 32768)
    rows = {
        ("interface", "antrea-gw0", "type"): "internal",
        ("interface", "antrea-gw0", "ofport_request"): "32769",
        ("interface", "antrea-gw0", "mtu_request"): "1450",
        ("interface", "antrea-gw0", "mac"): f'"{gateway.mac}"',
        ("interface", "antrea-gw0", "mac_in_use"): f'"{gateway.mac}"',
        ("interface", "antrea-tun0", "type"): "geneve",
        ("interface", "antrea-tun0", "options"): "{key=flow, remote_ip=flow}",
        ("port", "antrea-gw0", "external_ids"): "{antrea-type=gateway}",
        ("port", "antrea-tun0", "external_ids"): "{antrea-type=tunnel}",
    }
    assert {key: get(ovs, *key) for key in rows} == rows


async def test_ensuring_again_changes_nothing(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    gateway, tunnel = await bridge.ensure_gateway(mtu=1450), await bridge.ensure_tunnel()
    before = ovs.vsctl("list", "interface")
    assert (await bridge.ensure_gateway(mtu=1450), await bridge.ensure_tunnel()) == (gateway, tunnel)
    assert [line for line in ovs.vsctl("list", "interface").splitlines() if "_uuid" in line] == [
        line for line in before.splitlines() if "_uuid" in line
    ]


async def test_a_tunnel_of_another_type_is_made_anew(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    await bridge.ensure_tunnel()
    changed = await bridge.ensure_tunnel(tunnel_type="vxlan", port=4790, csum=True)
    assert (changed.type, changed.ofport) == ("vxlan", 32768)
    assert get(ovs, "interface", "antrea-tun0", "options") == (
        '{csum="true", dst_port="4790", key=flow, remote_ip=flow}'
    )


async def test_a_gateway_of_another_name_keeps_it(bridge: OVSBridge) -> None:
    await bridge.ensure_gateway("old-gw", mtu=1450)
    assert (await bridge.ensure_gateway("antrea-gw0", mtu=1400)).name == "old-gw"


async def test_pod_port_row_and_back(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    add_veth(ovs, "web-0-6156c2")
    ofport = await bridge.add_pod_port(pod(), "/run/netns/p-web-0")
    assert ofport > 0
    columns = json.loads(ovs.vsctl("--format=json", "--columns=external_ids", "list", "port", "web-0-6156c2"))
    assert dict(columns["data"][0][0][1]) == {
        "antrea-type": "container",
        "attached-mac": "d2:01:93:35:44:9c",
        "container-id": "cid-web-0",
        "ip-address": "10.77.1.3",
        "net-ns": "/run/netns/p-web-0",
        "pod-name": "web-0",
        "pod-namespace": "default",
        "pod-uid": "u-1",
    }
    assert list(bridge.pod_interfaces()) == [pod(ofport=ofport)]
    await bridge.delete_port("web-0-6156c2")
    await bridge.delete_port("web-0-6156c2")
    assert list(bridge.pod_interfaces()) == []
    assert ovs.vsctl("list-ports", "br-int") == ""


async def test_a_port_without_a_device_is_an_error_that_says_so(bridge: OVSBridge) -> None:
    with pytest.raises(DatabaseError, match="cannot open the port no-such-veth"):
        await bridge.add_pod_port(pod("no-such-veth"), "/run/netns/x")


async def test_a_port_with_unreadable_ids_is_skipped(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    ids = ("external_ids:antrea-type=container", "external_ids:ip-address=nonsense")
    ovs.vsctl("add-port", "br-int", "odd", "--", "set", "interface", "odd", "type=internal")
    ovs.vsctl("set", "port", "odd", *ids)
    ovs.vsctl("add-port", "br-int", "plain", "--", "set", "interface", "plain", "type=internal")
    await bridge.database.wait_for("the ports", lambda: bridge.port("plain") and bridge.port("odd"), 5)
    assert list(bridge.pod_interfaces()) == []


async def test_vswitchd_dead_does_not_block_ovsdb(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    ovs.kill_vswitchd()
    async with asyncio.timeout(2):  # without vswitchd: no waiting for it
        await bridge.set_round_number(3)
    assert bridge.round_number == 3
    add_veth(ovs, "late-000000")
    waiting = asyncio.create_task(bridge.add_pod_port(pod("late-000000"), "/run/netns/x", timeout=10))
    await asyncio.sleep(0.3)
    assert not waiting.done()  # the row is written; its number comes with vswitchd
    ovs.start_vswitchd()
    assert await waiting > 0


async def test_ofports_survive_vswitchd(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    gateway = await bridge.ensure_gateway(mtu=1450)
    add_veth(ovs, "web-0-6156c2")
    ofport = await bridge.add_pod_port(pod(), "/run/netns/x")
    ovs.kill_vswitchd()
    ovs.start_vswitchd()
    assert (await bridge.ensure_gateway(mtu=1450)).ofport == gateway.ofport
    assert (await bridge.wait_ofport("web-0-6156c2")).ofport == ofport


async def test_ovsdb_server_killed_and_restarted(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    ovs.kill_ovsdb()
    writing = asyncio.create_task(bridge.set_round_number(11))
    await asyncio.sleep(0.1)
    assert bridge.datapath_id  # reads go on
    ovs.start_ovsdb()
    await writing
    assert get(ovs, "bridge", "br-int", "external_ids") == '{roundNum="11"}'


async def test_what_went_while_ovsdb_was_away_is_noticed(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    await bridge.ensure_tunnel()
    ovs.kill_ovsdb()
    db = ovs.run_dir / "conf.db"
    db.unlink()
    from tests.support.ovs import SCHEMA, run

    run("ovsdb-tool", "create", str(db), SCHEMA)
    ovs.start_ovsdb()
    ovs.vsctl("--no-wait", "init")
    await bridge.database.wait_for("the bridge's end", lambda: bridge.datapath_id is None, 10)
    await bridge.ensure()
    assert (await bridge.ensure_tunnel()).ofport == 32768


async def test_transaction_times_out_with_a_sentence(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    ovs.kill_ovsdb()
    with pytest.raises(DatabaseError, match="did not answer a transaction within"):
        await bridge.database.transact(lambda api: _noop(api), timeout=0.3)


def _noop(api: object) -> object:
    from agent.ovs.commands import set_bridge_external_ids

    return set_bridge_external_ids("br-int", {"x": "y"})(api)


async def test_an_error_in_a_transaction_changes_nothing(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    from agent.ovs.commands import set_bridge_external_ids, set_interface

    with pytest.raises(DatabaseError, match="there is no interface missing"):
        await bridge.database.transact(
            set_bridge_external_ids("br-int", {"roundNum": "9"}),
            set_interface("missing", {"mtu_request": [1]}),
        )
    assert bridge.round_number is None


async def test_flow_restore_wait_is_cleared(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    ovs.vsctl(
        "set", "open_vswitch", ".", "other_config:flow-restore-wait=true", "other_config:max-revalidator=200"
    )
    await bridge.database.wait_for("the setting", lambda: bridge.flow_restore_wait, 5)
    await bridge.clear_flow_restore_wait()
    assert get(ovs, "open_vswitch", ".", "other_config") == '{max-revalidator="200"}'
    assert not bridge.flow_restore_wait


async def test_many_writers_at_once(ovs: OpenVSwitch, bridge: OVSBridge) -> None:
    names = [f"p{number:03}-000000" for number in range(30)]
    for name in names:
        add_veth(ovs, name)
    ofports = await asyncio.gather(*(bridge.add_pod_port(pod(name), "/run/netns/x") for name in names))
    assert len(set(ofports)) == len(names)
    assert {interface.name for interface in bridge.pod_interfaces()} == set(names)


async def test_connecting_to_nothing_gives_up_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="is Open vSwitch running"):
        await Database(tmp_path, timeout=0.2).connect(patience=0.3)
