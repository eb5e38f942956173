"""Following a controller over real HTTP: one stream, three streams, and everything that can end them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from aiohttp import web

from agent.interfaces import InterfaceStore
from agent.policies.controller import PolicyController
from agent.policies.objects import Kind
from agent.policies.readiness import Readiness
from apis import envelope
from apis.controlplane import v1beta2_pb2 as pb
from client.endpoint import Endpoint
from client.rest import RestClient
from runtime.tasks import Supervisor
from tests.agent.policies.support import (
    Datapath,
    added,
    bookmark,
    deleted,
    error,
    frame,
    group_message,
    marker,
    patch_message,
    pod_interface,
    policy_message,
)

AG, ATG, NP = Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY
PROTOBUF = "application/vnd.kubernetes.protobuf;stream=watch"
STATUS = "/apis/controlplane.antrea.io/v1beta2/networkpolicies/"


class FakeController:
    """Serves what a test puts on its streams. A script is a list of chunks; None ends the response."""

    def __init__(self, *, multiplexed: bool = True) -> None:
        self.multiplexed = multiplexed
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.reports: list[pb.NetworkPolicyStatus] = []
        self.unknown = 404  # how a controller answers that does not know the multiplexed watch
        self.answers: list[int] = []  # statuses with which the next watches are refused
        self.first: dict[str, list[bytes]] = {}  # what a new watch on a path begins with
        self.open: dict[str, list[asyncio.Queue[bytes | None]]] = {}
        self.app = web.Application()
        self.app.router.add_route("*", "/{tail:.*}", self.handle)
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        self.runner = web.AppRunner(self.app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        for path in list(self.open):
            self.send(path, None)
        if self.runner is not None:
            await self.runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path.startswith(STATUS):
            body = envelope.unwrap(await request.read())
            assert body.kind == "NetworkPolicyStatus"
            self.reports.append(pb.NetworkPolicyStatus.FromString(body.raw))
            return web.Response(status=201, text="{}")
        self.requests.append((request.path, dict(request.query)))
        if request.path == "/agentwatch" and not self.multiplexed:
            return web.Response(status=self.unknown, text='{"paths":[]}')
        if self.answers:
            return web.Response(status=self.answers.pop(0), text="refused")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if "resourceVersion" not in request.query:
            for chunk in self.first.get(request.path, []):
                queue.put_nowait(chunk)
        self.open.setdefault(request.path, []).append(queue)
        response = web.StreamResponse(headers={"Content-Type": PROTOBUF})
        await response.prepare(request)
        try:
            while (chunk := await queue.get()) is not None:
                await response.write(chunk)
        finally:
            self.open[request.path].remove(queue)
        return response

    def send(self, path: str, *chunks: bytes | None) -> None:
        for queue in self.open.get(path, []):
            for chunk in chunks:
                queue.put_nowait(chunk)


class Agent:
    """A policy controller on a fake datapath, following the fake controller."""

    def __init__(self, server: FakeController, directory: Path) -> None:
        self.datapath = Datapath()
        self.interfaces = InterfaceStore([pod_interface("ns", "a", 1, "10.0.0.1")])
        self.client = RestClient(Endpoint(f"http://127.0.0.1:{server.port}"))
        self.policies = PolicyController(
            node="n1",
            directory=directory,
            connect=self.connect,
            flows=self.datapath,
            commit=self.datapath.commit,
            interfaces=self.interfaces,
            families=frozenset({4}),
        )
        self.supervisor = Supervisor()

    async def connect(self) -> RestClient:
        return self.client

    async def start(self) -> None:
        await self.policies.restore()
        self.policies.start(self.supervisor)
        self.policies.start_reconciling(self.supervisor)

    async def stop(self) -> None:
        await self.supervisor.close()
        await self.client.close()

    @property
    def names(self) -> set[str]:
        return {rule.policy.name.removesuffix("-source") for rule in self.datapath.committed.values()}


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something holds; the test fails by its own time-out of ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def server() -> AsyncIterator[FakeController]:
    made = FakeController()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def agent(server: FakeController, tmp_path: Path) -> AsyncIterator[Agent]:
    made = Agent(server, tmp_path)
    yield made
    await made.stop()


PEER = {"pod": ("ns", "b"), "ips": ["10.0.0.2"]}
TARGET = {"pod": ("ns", "a")}
MUX = "/agentwatch"


def policy(name: str, **more: object) -> bytes:
    return added(NP, policy_message(name, [{"direction": "In", "groups": ["g"]}], ["t"], **more))  # type: ignore[arg-type]


def groups() -> bytes:
    return added(AG, group_message(AG, "g", [PEER])) + added(ATG, group_message(ATG, "t", [TARGET]))


async def test_the_state_is_programmed_and_reported(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [groups() + policy("p1") + policy("p2", generation=7) + bookmark("100")]
    await agent.start()
    await until(lambda: len(server.reports) == 2)
    assert agent.names == {"p1", "p2"}
    assert agent.datapath.commits == 1  # the whole snapshot is one commit
    assert server.requests == [(MUX, {"nodeName": "n1"})]
    by_name = {report.metadata.name: report for report in server.reports}
    assert [(n.nodeName, n.generation, n.realizationFailure) for n in by_name["p2"].nodes] == [
        ("n1", 7, False)
    ]


async def test_events_that_come_together_are_one_commit(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [groups() + bookmark("100")]
    await agent.start()
    await until(lambda: agent.policies.synced.is_set())
    await until(lambda: server.open.get(MUX))
    commits = agent.datapath.commits
    server.send(MUX, b"".join(policy(f"p{number}") for number in range(50)))
    await until(lambda: len(agent.names) == 50)
    assert agent.datapath.commits - commits <= 2


async def test_a_group_patch_touches_the_rules_that_use_the_group_only(
    server: FakeController, agent: Agent
) -> None:
    other = added(NP, policy_message("p2", [{"direction": "In", "blocks": [("10.9.0.0/16", [])]}], ["t"]))
    server.first[MUX] = [groups() + policy("p1") + other + bookmark("100")]
    await agent.start()
    await until(lambda: len(agent.names) == 2)
    operations = agent.datapath.operations
    server.send(
        MUX, frame("MODIFIED", "AddressGroupPatch", patch_message("g", [{**PEER, "ips": ["10.0.0.3"]}]))
    )
    await until(lambda: agent.datapath.operations > operations)
    await asyncio.sleep(0.05)
    assert agent.datapath.operations == operations + 1


async def test_a_stream_that_ends_is_resumed_where_it_was(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    server.send(MUX, policy("p2", version="101"), None)
    await until(lambda: len(server.requests) == 2)
    assert server.requests[1] == (MUX, {"nodeName": "n1", "resourceVersion": "101"})
    await until(lambda: server.open.get(MUX))
    server.send(MUX, deleted(NP, "p1", "102"))
    await until(lambda: agent.names == {"p2"})


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(error(410, "gone"), id="an ERROR event 410"),
        pytest.param(b"\xff\xff\xff\xff garbage", id="bytes that are no frame"),
        pytest.param(
            frame("MODIFIED", "AddressGroupPatch", patch_message("unknown")),
            id="a patch for an unknown group",
        ),
    ],
)
async def test_a_stream_that_cannot_be_trusted_is_started_over(
    server: FakeController, agent: Agent, trouble: bytes
) -> None:
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    server.first[MUX] = [groups() + policy("p2") + bookmark("200")]
    server.send(MUX, trouble)
    await until(lambda: agent.names == {"p2"})
    assert server.requests[-1] == (MUX, {"nodeName": "n1"})


async def test_410_on_opening_asks_for_the_full_state(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    server.answers = [410]
    server.send(MUX, None)
    await until(lambda: len(server.requests) == 3)
    assert ["resourceVersion" in query for _, query in server.requests] == [False, True, False]


async def test_a_controller_that_is_not_ready_changes_nothing(server: FakeController, agent: Agent) -> None:
    """503 says nothing about the version: the agent goes on with what it has and resumes."""
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    server.answers = [503, 500]
    server.send(MUX, None)
    await until(lambda: len(server.requests) == 4)
    assert server.requests[-1][1].get("resourceVersion") == "100"
    assert agent.names == {"p1"}


async def test_a_restarted_controller_with_the_same_state_costs_nothing(
    server: FakeController, agent: Agent
) -> None:
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: len(server.reports) == 1)
    operations = agent.datapath.operations
    await server.stop()
    await until(lambda: not agent.policies.connected)
    server.first[MUX] = [groups() + policy("p1", version="9") + bookmark("900")]
    server.answers = [410]
    await server.start()
    # The new process does not know what this node has realized: it is told again.
    await until(lambda: len(server.reports) == 2)
    assert agent.datapath.operations == operations


async def test_upstreams_controller_is_followed_by_three_watches(
    server: FakeController, agent: Agent
) -> None:
    server.multiplexed = False
    base = "/apis/controlplane.antrea.io/v1beta2"
    server.first = {
        f"{base}/networkpolicies": [policy("p1") + bookmark("3", NP)],
        f"{base}/appliedtogroups": [added(ATG, group_message(ATG, "t", [TARGET])) + bookmark("1", ATG)],
        f"{base}/addressgroups": [],
    }
    await agent.start()
    await until(lambda: len(server.requests) == 4)
    assert {(path, query.get("fieldSelector")) for path, query in server.requests[1:]} == {
        (f"{base}/{kind.value}", "nodeName=n1") for kind in Kind
    }
    await until(lambda: "p1" in agent.policies.cache.policies)
    await asyncio.sleep(0.05)
    # Effective, but its address group is still on its way: it waits.
    assert not agent.datapath.committed
    assert not agent.policies.synced.is_set()
    await until(lambda: server.open.get(f"{base}/addressgroups"))
    server.send(f"{base}/addressgroups", added(AG, group_message(AG, "g", [PEER])) + bookmark("1", AG))
    await until(lambda: agent.names == {"p1"})
    await until(lambda: agent.policies.synced.is_set())
    # One of the three ends and comes back, with nothing lost.
    server.first[f"{base}/addressgroups"] = [added(AG, group_message(AG, "g", [PEER])) + bookmark("2", AG)]
    server.send(f"{base}/addressgroups", None)
    await until(lambda: [path for path, _ in server.requests].count(f"{base}/addressgroups") == 2)
    assert agent.names == {"p1"}
    assert not server.reports  # upstream would take them for reports on Antrea policies


async def test_an_edited_policy_keeps_its_old_rules_until_the_new_ones_have_all_they_need(
    server: FakeController, agent: Agent
) -> None:
    """Between separate watches the policy may come before its groups: no moment without isolation."""
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    (before,) = agent.datapath.committed
    rule = {"direction": "In", "groups": ["later"]}
    server.send(MUX, frame("MODIFIED", "NetworkPolicy", policy_message("p1", [rule], ["t"], generation=2)))
    await until(lambda: agent.policies.cache.policies["p1"].generation == 2)
    await asyncio.sleep(0.05)
    assert set(agent.datapath.committed) == {before}
    assert [report.nodes[0].generation for report in server.reports] == [1]
    server.send(MUX, added(AG, group_message(AG, "later", [PEER])))
    await until(lambda: before not in agent.datapath.committed)
    assert len(agent.datapath.committed) == 1
    await until(lambda: [report.nodes[0].generation for report in server.reports] == [1, 2])


async def test_a_policy_that_is_not_enforced_is_reported_as_such(
    server: FakeController, agent: Agent
) -> None:
    server.first[MUX] = [groups() + policy("acnp", type="AntreaClusterNetworkPolicy") + bookmark("1")]
    await agent.start()
    await until(lambda: server.reports)
    (node,) = server.reports[0].nodes
    assert node.realizationFailure
    assert "AntreaClusterNetworkPolicy are not enforced" in node.message


async def test_a_rule_that_cannot_be_carried_is_reported_and_holds_up_no_other(
    server: FakeController, agent: Agent
) -> None:
    agent.datapath.impossible = "p1"
    server.first[MUX] = [groups() + policy("p1") + policy("p2") + bookmark("100")]
    await agent.start()
    await until(lambda: len(server.reports) == 2)
    assert agent.names == {"p2"}
    nodes = {report.metadata.name: report.nodes[0] for report in server.reports}
    assert nodes["p1"].realizationFailure
    assert nodes["p1"].message == "the rule cannot be expressed"
    assert not nodes["p2"].realizationFailure


async def test_what_the_switch_refuses_for_a_while_is_tried_again(
    server: FakeController, agent: Agent
) -> None:
    agent.datapath.fail_next = 2
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    await until(lambda: len(server.reports) == 1)


async def test_without_a_controller_the_disk_speaks(server: FakeController, tmp_path: Path) -> None:
    first = Agent(server, tmp_path)
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await first.start()
    await until(lambda: first.names == {"p1"})
    await first.stop()
    await server.stop()
    second = Agent(server, tmp_path)
    try:
        await second.start()
        assert await second.policies.wait_for_state(0.1)
        await until(lambda: second.names == {"p1"})
        assert set(second.datapath.committed) == set(first.datapath.committed)
        assert not second.policies.connected
        second.interfaces.add(pod_interface("ns", "new", 5, "10.0.0.5"))
        assert await second.policies.readiness.wait("uid-new", 0.2) is Readiness.FROM_DISK
        assert second.policies.readiness.unconfirmed == 1
    finally:
        await second.stop()


async def test_a_pod_waits_for_its_marker_and_for_what_came_before_it(
    server: FakeController, agent: Agent
) -> None:
    server.first[MUX] = [groups() + policy("p1") + bookmark("100")]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    agent.interfaces.add(pod_interface("ns", "new", 5, "10.0.0.5"))
    assert await agent.policies.readiness.wait("uid-new", 0.1) is Readiness.TIMED_OUT
    waiting = asyncio.create_task(agent.policies.readiness.wait("uid-new", 5))
    patch = frame("MODIFIED", "AppliedToGroupPatch", patch_message("t", [{"pod": ("ns", "new")}]))
    server.send(MUX, patch + marker("ns", "new", "uid-new"))
    assert await waiting is Readiness.REALIZED
    (rule,) = agent.datapath.committed.values()
    assert {getattr(address, "number", None) for address in rule.destinations} == {1, 5}
    # The next attempt for the same pod need not wait for another marker.
    assert await agent.policies.readiness.wait("uid-new", 0.1) is Readiness.REALIZED


async def test_markers_of_the_initial_state_count(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [marker("ns", "new", "uid-new") + bookmark("100")]
    await agent.start()
    agent.interfaces.add(pod_interface("ns", "new", 5, "10.0.0.5"))
    assert await agent.policies.readiness.wait("uid-new", 5) is Readiness.REALIZED


async def test_a_group_of_many_members_arrives_whole(server: FakeController, agent: Agent) -> None:
    members = [{"pod": ("ns", f"m{n}"), "ips": [f"10.8.{n >> 8}.{n & 255}"]} for n in range(20_000)]
    server.first[MUX] = [
        added(AG, group_message(AG, "g", members))
        + added(ATG, group_message(ATG, "t", [TARGET]))
        + policy("p1")
        + bookmark("100")
    ]
    await agent.start()
    await until(lambda: agent.names == {"p1"})
    (rule,) = agent.datapath.committed.values()
    assert len(rule.sources) == 20_000


async def test_nothing_stays_open_at_the_end(server: FakeController, agent: Agent) -> None:
    server.first[MUX] = [bookmark("100")]
    await agent.start()
    await until(lambda: agent.policies.connected)
    await agent.stop()
    await until(lambda: not server.open[MUX])
    assert not agent.policies.connected


def test_the_reports_of_a_burst_coalesce() -> None:
    from agent.policies.reconcile import Realization
    from agent.policies.report import Reporter

    async def play(rounds: Iterable[int]) -> list[int]:
        sent: list[int] = []

        class Sink:
            async def request(self, method: str, path: str, **more: object) -> object:
                body = more["body"]
                assert isinstance(body, bytes)
                status = pb.NetworkPolicyStatus.FromString(envelope.unwrap(body).raw)
                sent.append(status.nodes[0].generation)
                return None

        async def connect() -> Sink:
            return Sink()

        reporter = Reporter("n1", connect, lambda policy: True)
        running = asyncio.create_task(reporter.run())
        for generation in rounds:
            reporter.put([Realization("p", generation)])
        await until(lambda: sent)
        await asyncio.sleep(0.1)
        running.cancel()
        return sent

    assert asyncio.run(play(range(1, 30))) == [29]
