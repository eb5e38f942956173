"""The flow programmer and a real Open vSwitch: only differences are sent, faults are named, restarts are
mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from agent.model import Direction, NodeConfig, ServicePort
from agent.openflow.codec import actions as a
from agent.openflow.codec import match as m
from agent.openflow.codec.messages import GROUP_ALL
from agent.pipeline.client import (
    Bucket,
    ConjunctionIds,
    Flow,
    FlowProgrammer,
    Group,
    Meter,
    Moment,
    PodConnectivity,
    PolicyFlows,
    ProgrammerError,
)
from tests.agent.pipeline.nodes import CLI0, DUAL, NODE1, NODE2, WEB0, peer, rule
from tests.support.ovs import OpenVSwitch, unique

pytestmark = pytest.mark.lab

BRIDGE = "br-int"
NETDEV = replace(NODE1, userspace_datapath=True)


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    with OpenVSwitch(tmp_path_factory.mktemp("p"), unique("aopf")) as ovs:
        yield ovs


@pytest.fixture
def bridge(ovs: OpenVSwitch) -> Iterator[OpenVSwitch]:
    ovs.vsctl(
        "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
        "protocols=OpenFlow10,OpenFlow15",
    )  # fmt: skip
    yield ovs
    ovs.vsctl("del-br", BRIDGE)


def make(ovs: OpenVSwitch, run_dir: Path, node: NodeConfig = NETDEV) -> FlowProgrammer:
    return FlowProgrammer(ovs.run_dir / f"{BRIDGE}.mgmt", node, run_dir, unixctl=ovs.vswitchd_control)


@pytest_asyncio.fixture
async def programmer(bridge: OpenVSwitch, tmp_path: Path) -> AsyncIterator[FlowProgrammer]:
    programmer = make(bridge, tmp_path)
    await programmer.start()
    await programmer.synchronize()
    yield programmer
    await programmer.stop()


def dump(ovs: OpenVSwitch) -> list[str]:
    return ovs.ofctl("--names", "--no-stats", "dump-flows", ovs.bridge(BRIDGE)).splitlines()


def flow(priority: int, body: bytes = b"", table: int = 7) -> Flow:
    return Flow.of(table, priority, m.ip(), body, 1 << 48)


def populate(programmer: FlowProgrammer, node: NodeConfig, run_dir: Path) -> PolicyFlows:
    """A node with pods, a peer and policies."""
    pods = PodConnectivity(programmer, node)
    policies = PolicyFlows(programmer, node, ConjunctionIds(run_dir / "ids"))
    pods.install_static()
    policies.install_static()
    for pod in (WEB0, CLI0):
        pods.install_pod(pod)
    pods.install_node(peer(NODE2))
    for number in range(20):
        policies.set(
            rule(f"r{number}", Direction.INGRESS, [f"10.77.2.{number + 2}"], [1],
                 (ServicePort("TCP", 80), ServicePort("SCTP", 8000, 8000 + number)), isolated=[1])
        )  # fmt: skip
    return policies


@pytest.mark.parametrize("node", [NODE1, NETDEV, DUAL, replace(DUAL, userspace_datapath=True)],
                         ids=["IPv4", "IPv4 userspace", "dual", "dual userspace"])  # fmt: skip
async def test_a_second_agent_finds_everything_as_it_is(
    bridge: OpenVSwitch, tmp_path: Path, node: NodeConfig
) -> None:
    first = make(bridge, tmp_path, node)
    policies = populate(first, node, tmp_path)
    await first.start()
    assert (await first.synchronize()).added == len(first._desired)
    assert (await first.synchronize()).total == 0
    await first.stop()
    policies._ids.close()

    second = make(bridge, tmp_path, node)
    populate(second, node, tmp_path)
    await second.start()
    assert (await second.synchronize()).total == 0
    await second.stop()


async def test_what_ovs_prints_is_what_a_flow_prints(bridge: OpenVSwitch, tmp_path: Path) -> None:
    node = replace(DUAL, userspace_datapath=True)
    programmer = make(bridge, tmp_path, node)
    populate(programmer, node, tmp_path)
    await programmer.start()
    await programmer.synchronize()
    flows = [programmer._desired.flow(key) for key in list(programmer._desired.keys())]
    assert sorted(dump(bridge)) == sorted(made.format(programmer.layout.names) for made in flows if made)
    await programmer.stop()


async def test_before_the_first_synchronize_nothing_is_sent(bridge: OpenVSwitch, tmp_path: Path) -> None:
    programmer = make(bridge, tmp_path)
    await programmer.start()
    result = await programmer.commit()
    assert result.deferred
    assert dump(bridge) == []
    await programmer.stop()


async def test_counts(programmer: FlowProgrammer) -> None:
    programmer.want("x", [flow(1), flow(2)])
    assert (await programmer.commit()).added == 2
    programmer.want("x", [flow(2, a.goto(8)), flow(3)])
    result = await programmer.commit()
    assert (result.added, result.modified, result.deleted) == (1, 1, 1)
    assert (await programmer.commit()).total == 0
    programmer.drop("x")
    assert (await programmer.commit()).deleted == 2


async def test_a_refused_flow_is_named_and_the_rest_goes_on(
    programmer: FlowProgrammer, bridge: OpenVSwitch
) -> None:
    backwards = flow(5, a.goto(2))  # refused when it is added to the bundle
    no_group = flow(6, a.apply(a.group(77)))  # refused at the commit
    programmer.want("rule/good", [flow(1), flow(2)])
    programmer.want("rule/bad", [backwards, flow(3)])
    programmer.want("rule/worse", [no_group])
    result = await programmer.commit()
    assert result.added == 3
    assert {(failure.owners, failure.reason) for failure in result.failures} == {
        (("rule/bad",), "bad instruction: no such table to go to, or it lies before this one (3,2)"),
        (("rule/worse",), "bad action: no such group (2,9)"),
    }
    assert str(result.failures[0]).startswith("rule/")
    assert len(programmer.failures("rule/bad")) == 1
    assert programmer.failures("rule/good") == []
    programmer.want("rule/bad", [flow(3)])
    assert (await programmer.commit()).failures == ()
    assert programmer.failures("rule/bad") == []


async def test_groups_and_meters(programmer: FlowProgrammer, bridge: OpenVSwitch) -> None:
    buckets = (Bucket(a.resubmit(9)), Bucket(a.load(0, 0x400000, 0x600000) + a.resubmit(19)))
    programmer.want_group("logging", Group(1, GROUP_ALL, buckets))
    programmer.want_meter("logging", Meter(256, 5000, 10000))
    programmer.want("logging", [flow(9, a.apply(a.meter(256) + a.group(1)))])
    result = await programmer.commit()
    assert (result.added, result.groups, result.meters) == (1, 1, 1)
    groups = bridge.ofctl("dump-groups", bridge.bridge(BRIDGE))
    assert (
        "group_id=1,type=all,bucket=bucket_id:0,actions=resubmit(,9),"
        "bucket=bucket_id:1,actions=set_field:0x400000/0x600000->reg0,resubmit(,19)" in groups
    )
    assert "rate=5000 burst_size=10000" in bridge.ofctl("dump-meters", bridge.bridge(BRIDGE))
    assert (await programmer.synchronize()).total == 0
    programmer.want_group("logging", Group(1, GROUP_ALL, buckets[:1]))
    assert (await programmer.commit()).groups == 1
    with pytest.raises(ValueError, match="belongs to logging"):
        programmer.want_group("other", Group(1))
    programmer.drop("logging")
    result = await programmer.commit()
    assert (result.deleted, result.groups, result.meters) == (1, 1, 1)
    assert "group_id" not in bridge.ofctl("dump-groups", bridge.bridge(BRIDGE))


async def test_a_group_of_many_buckets_arrives_whole(programmer: FlowProgrammer, bridge: OpenVSwitch) -> None:
    buckets = tuple(Bucket(a.load(3, number) + a.resubmit(9), 100) for number in range(1500))
    with pytest.raises(ValueError, match="exceeds one message"):
        programmer.want_group("service", Group(3, 1, buckets))
    group = Group(3, 1, buckets[:1200])
    programmer.want_group("service", group)
    await programmer.commit()
    assert (await programmer.synchronize()).total == 0
    assert bridge.ofctl("dump-groups", bridge.bridge(BRIDGE)).count("bucket_id") == 1200


async def test_foreign_flows_stay_until_pruned(bridge: OpenVSwitch, tmp_path: Path) -> None:
    first = make(bridge, tmp_path)
    policies = populate(first, NETDEV, tmp_path)
    await first.start()
    await first.synchronize()
    before = set(dump(bridge))
    await first.stop()
    policies._ids.close()

    second = make(bridge, tmp_path)  # knows nothing yet
    await second.start()
    assert (await second.synchronize(keep_unclaimed=True)).total == 0
    policies = PolicyFlows(second, NETDEV, ConjunctionIds(tmp_path / "ids"))
    policies.set(rule("r0", Direction.INGRESS, ["10.77.2.2"], [1], (ServicePort("TCP", 80),), isolated=[1]))
    await second.commit()
    assert before <= set(dump(bridge)) | {line for line in before if "sctp" in line}
    await second.prune()
    assert (
        sum("conj_id" in line for line in dump(bridge)) == 2
    )  # one rule: ip, and sctp of the userspace datapath
    await second.stop()


async def test_flows_that_packets_wrote_are_left_alone(
    programmer: FlowProgrammer, bridge: OpenVSwitch
) -> None:
    number = next(iter(programmer.layout.learned))
    learned = f"table={number},cookie={1 << 48},idle_timeout=60,sctp,tp_src=80,actions=set_field:1->reg10"
    old = f"table={number},cookie={7 << 48},udp,actions=drop"  # from when the tables had other numbers
    bridge.ofctl("add-flow", bridge.bridge(BRIDGE), learned)
    bridge.ofctl("add-flow", bridge.bridge(BRIDGE), old)
    bridge.ofctl("add-flow", bridge.bridge(BRIDGE), "table=3,priority=7,tcp,actions=drop")
    result = await programmer.synchronize()
    assert (result.added, result.modified, result.deleted) == (0, 0, 2)
    assert any("SCTPLearned" in line for line in dump(bridge))


async def test_a_flow_that_somebody_changed_or_removed_comes_back(
    programmer: FlowProgrammer, bridge: OpenVSwitch
) -> None:
    before = sorted(dump(bridge))
    bridge.ofctl("--strict", "del-flows", bridge.bridge(BRIDGE), "table=0,priority=200,ip")
    bridge.ofctl("mod-flows", bridge.bridge(BRIDGE), "table=1,actions=NORMAL")
    result = await programmer.synchronize()
    assert (result.added, result.modified, result.deleted) == (1, 1, 0)
    assert sorted(dump(bridge)) == before


async def test_commits_at_the_same_time(programmer: FlowProgrammer, bridge: OpenVSwitch) -> None:
    async def one(number: int) -> int:
        programmer.want(f"o{number}", [flow(1000 + number)])
        await asyncio.sleep(0)
        result = await programmer.commit()
        assert any(f"priority={1000 + number}," in line for line in await asyncio.to_thread(dump, bridge))
        return result.added

    assert sum(await asyncio.gather(*map(one, range(15)))) == 15


async def test_a_killed_vswitchd_gets_everything_back_in_order(
    programmer: FlowProgrammer, bridge: OpenVSwitch
) -> None:
    programmer.want_group("g", Group(1, GROUP_ALL, (Bucket(a.resubmit(9)),)))
    programmer.want("x", [flow(number) for number in range(1, 500)] + [flow(999, a.apply(a.group(1)))])
    await programmer.commit()
    before = sorted(dump(bridge))
    steps: list[tuple[str, int]] = []

    def hook(name: str) -> object:
        async def run() -> None:
            steps.append((name, len(await asyncio.to_thread(dump, bridge))))

        return run

    for moment in Moment:
        programmer.restoration.on(moment, moment.name, hook(moment.name))  # type: ignore[arg-type]

    async def failing() -> None:
        raise RuntimeError("a hook that fails stops nothing")

    programmer.restoration.on(Moment.BEFORE_FLOWS, "failing", failing)
    await asyncio.to_thread(bridge.kill_vswitchd)
    programmer.want("while away", [flow(1000)])
    await asyncio.to_thread(bridge.start_vswitchd)
    assert (await programmer.commit()).failures == ()
    while not any("table=Output," in line for line in dump(bridge)):  # names come after the flows
        await asyncio.sleep(0.01)
    after = sorted(dump(bridge))
    assert [line for line in after if "priority=1000," not in line] == before
    assert len(after) == len(before) + 1
    while len(steps) < 3:  # the last hooks run when commits may go on: they may commit themselves
        await asyncio.sleep(0.01)
    assert steps == [("BEFORE_FLOWS", 0), ("AFTER_FLOWS", len(after)), ("AFTER_CONNECT", len(after))]


async def test_the_tables_have_names(programmer: FlowProgrammer, bridge: OpenVSwitch) -> None:
    assert any("table=IngressSecurityClassifier," in line for line in dump(bridge))


async def test_a_bridge_that_is_not_there(ovs: OpenVSwitch, tmp_path: Path) -> None:
    programmer = FlowProgrammer(ovs.run_dir / "br-none.mgmt", NODE1, tmp_path)
    with pytest.raises(ProgrammerError, match=r"br-none\.mgmt gave no connection"):
        await programmer.start(timeout=0.3)


@pytest.mark.parametrize("delay", [0, 0.001, 0.005, 0.02])
async def test_a_commit_that_is_cancelled_loses_nothing(programmer: FlowProgrammer, delay: float) -> None:
    programmer.want("x", [flow(number) for number in range(1, 5000)])
    task = asyncio.create_task(programmer.commit())
    await asyncio.sleep(delay)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await programmer.commit()).failures == ()
    assert (await programmer.synchronize()).total == 0
    assert programmer.table_counts()["DNAT"] == 5000
