"""The local API over HTTPS against recordings of upstream's: same objects in, same bodies out."""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.info import AgentInfo, Sources
from agent.interfaces import InterfaceStore
from agent.localapi.paths import LocalPaths
from agent.localapi.server import LocalServer
from agent.model import IPAddress, NodeConfig, PodInterface
from agent.policies.controller import PolicyController
from agent.policies.objects import Kind
from agent.policies.stream import decode
from apis.controlplane.v1beta2 import encode_message
from client.endpoint import Endpoint
from client.rest import RestClient
from runtime.features import FeatureGates
from tests.agent.policies.support import Datapath

RECORDED = Path(__file__).parents[2] / "data" / "agent-api"


def body(name: str) -> str:
    return (RECORDED / f"{name}.body").read_text()


def documents(name: str) -> list[dict[str, Any]]:
    found = json.loads(body(name))
    return found["items"] if isinstance(found, dict) else found


@dataclass
class Answer:
    status: int
    content_type: str
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class World:
    """The server with a state, a client with the loopback token, and a Kubernetes API that knows one user."""

    server: LocalServer
    token_file: Path
    port: int
    reviews: list[dict[str, Any]]

    async def get(self, path: str, token: str | None = None) -> Answer:
        token = self.token_file.read_text() if token is None else token
        trust = ssl.create_default_context(cadata=self.server.certificate.decode())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{self.port}{path}", ssl=trust, headers=headers) as response,
        ):
            return Answer(response.status, response.headers.get("Content-Type", ""), await response.text())


async def kubernetes(reviews: list[dict[str, Any]]) -> tuple[web.AppRunner, int]:
    async def review(request: web.Request) -> web.Response:
        asked = await request.json()
        reviews.append(asked)
        if asked["kind"] == "TokenReview":
            known = asked["spec"]["token"] == "good"
            status: dict[str, Any] = {"authenticated": known}
            if known:
                status["user"] = {"username": "ann", "groups": ["ops"]}
        else:
            status = {"allowed": asked["spec"]["nonResourceAttributes"]["path"] == "/podinterfaces"}
        return web.json_response({**asked, "status": status}, status=201)

    app = web.Application()
    app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]


def address(text: str) -> IPAddress:
    import ipaddress

    return ipaddress.ip_address(text)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    import ipaddress

    recorded = documents("podinterfaces")
    interfaces = InterfaceStore(
        PodInterface(
            name=entry["interfaceName"],
            namespace=entry["podNamespace"],
            pod=entry["name"],
            container_id=entry["containerID"],
            mac=entry["mac"],
            ips=tuple(map(address, entry["ips"])),
            ofport=entry["ofPort"],
        )
        for entry in recorded
    )
    datapath = Datapath()

    async def nobody() -> RestClient:
        raise AssertionError("no controller in this test")

    policies = PolicyController(
        node="up1",
        directory=tmp_path / "networkpolicy",
        connect=nobody,
        flows=datapath,
        commit=datapath.commit,
        interfaces=interfaces,
        families=frozenset({4}),
    )
    for name, kind in (("networkpolicies", Kind.NETWORK_POLICY), ("appliedtogroups", Kind.APPLIED_TO_GROUP)):
        for document in documents(name):
            policies.cache.put(kind, decode(kind, encode_message(kind.singular, document)))
    for group in ("46508574-7958-5d17-911b-af63368a5ada", "340bc571-6ae8-550e-ad1e-55d10033e0ae"):
        message = encode_message("AddressGroup", {"metadata": {"name": group}, "groupMembers": []})
        policies.cache.put(Kind.ADDRESS_GROUP, decode(Kind.ADDRESS_GROUP, message))
    reviews: list[dict[str, Any]] = []
    runner, kube_port = await kubernetes(reviews)
    kube = RestClient(Endpoint(f"http://127.0.0.1:{kube_port}"))
    token_file = tmp_path / "apiserver" / "loopback-client-token"
    server = LocalServer(kube, token_file)
    info = AgentInfo(
        Sources(
            node=NodeConfig(
                name="up1",
                transport_ips=(address("192.0.2.1"),),
                pod_cidrs=(ipaddress.ip_network("10.77.1.0/24"),),
                gateway_name="antrea-gw0",
                gateway_mac="02:00:00:00:00:01",
                gateway_ips=(address("10.77.1.1"),),
                gateway_ofport=32769,
                tunnel_ofport=32768,
            ),
            pod_name="agent-up1",
            namespace="kube-system",
            bridge="br-int",
            api_port=10350,
            transport={
                "transportInterface": "br-phy",
                "transportInterfaceMTU": 1500,
                "transportInterfaceIPs": ["192.0.2.1/24"],
            },
            interfaces=interfaces,
            policies=policies,
            ovs_version=lambda: "3.1.0",
            flow_counts=lambda: json.loads(body("agentinfo"))["ovsInfo"]["flowTable"],
            openflow_connected=lambda: True,
        )
    )
    uuids = {entry["interfaceName"]: entry["portUUID"] for entry in recorded}
    LocalPaths(info, interfaces, uuids.__getitem__, policies, FeatureGates("A")).register(
        server.api, with_metrics=True
    )
    _, port = await server.listen("127.0.0.1", 0)
    yield World(server, token_file, port, reviews)
    await server.close()
    await kube.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "recording"),
    [
        ("/podinterfaces", "podinterfaces"),
        ("/podinterfaces?name=web-0", "podinterfaces_name_web-0"),
        ("/networkpolicies", "networkpolicies"),
        ("/networkpolicies?type=acnp", "networkpolicies_type_acnp"),
        ("/appliedtogroups", "appliedtogroups"),
        ("/featuregates", "featuregates"),
    ],
)
async def test_bodies_are_those_of_upstream(world: World, path: str, recording: str) -> None:
    answer = await world.get(path)
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    assert answer.text.strip() == body(recording).strip()


async def test_agentinfo_has_upstreams_fields_in_upstreams_order(world: World) -> None:
    ours, theirs = (await world.get("/agentinfo")).json(), json.loads(body("agentinfo"))
    assert list(ours) == list(theirs)
    assert ours["version"].startswith("v2.7.0")
    for document in (ours, theirs):
        del document["version"]
        for condition in document["agentConditions"]:
            assert condition.pop("lastHeartbeatTime").endswith("Z")
    assert ours["agentConditions"][1] == {"type": "ControllerConnectionUp", "status": "False"}
    ours["agentConditions"][1]["status"] = "True"  # the recorded agent had its controller
    assert ours == theirs


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/networkpolicies?namespace=default", {"a"}),
        ("/networkpolicies?source=a", {"a"}),
        ("/networkpolicies?pod=default/web-0", {"a"}),
        ("/networkpolicies?pod=default/nobody", set()),
        ("/networkpolicies?name=8432cd5e-ef4e-418e-bbdf-05171a5dfa0c", {"a"}),
        ("/networkpolicies?name=unknown", set()),
        ("/networkpolicies?type=K8sNP&namespace=default", {"a"}),
        ("/networkpolicies?type=ANNP", set()),
    ],
)
async def test_policies_are_filtered(world: World, path: str, names: set[str]) -> None:
    items = (await world.get(path)).json()["items"]
    assert {item["sourceRef"]["name"] for item in items} == names


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/podinterfaces?name=nobody", 404, "nobody is not on this Node"),
        (
            "/networkpolicies?pod=web-0",
            400,
            "invalid pod option format. Expected format is podNamespace/podName",
        ),
        ("/networkpolicies?pod=a/b&namespace=c", 400, "namespace option should not be used with pod option"),
        (
            "/networkpolicies?name=x&type=ACNP",
            400,
            "with a policy name, none of the other options should be set",
        ),
        ("/networkpolicies?type=other", 400, "invalid policy type"),
        ("/addressgroups?name=nosuch", 404, "nosuch not found"),
        ("/bgppolicy", 503, "bgp is not enabled"),
        ("/memberlist", 503, "memberlist is not enabled"),
        ("/loglevel?level=-1", 400, "log level must be a positive integer"),
        ("/nope", 404, '"/podinterfaces"'),
    ],
)
async def test_what_is_refused(world: World, path: str, status: int, text: str) -> None:
    answer = await world.get(path)
    assert answer.status == status
    assert text in answer.text


async def test_one_group_by_its_name(world: World) -> None:
    name = "0f4789f6-6f28-5440-8ad4-46d8ac276643"
    answer = (await world.get(f"/appliedtogroups?name={name}")).json()
    assert answer == documents("appliedtogroups")[0]


async def test_no_pods_is_a_null_as_upstream_says_it(world: World) -> None:
    assert (await world.get("/podinterfaces?namespace=empty")).text == "null\n"


async def test_the_log_level_is_read_and_set(world: World) -> None:
    from runtime import log

    before = log.verbosity()
    try:
        assert (await world.get("/loglevel?level=4")).text == ""
        assert (await world.get("/loglevel")).text == "4\n"
    finally:
        log.set_verbosity(before)


async def test_the_token_file_is_for_the_administrator_only(world: World) -> None:
    assert stat.S_IMODE(world.token_file.stat().st_mode) == 0o600
    assert (await world.get("/agentinfo")).status == 200
    assert not world.reviews  # the loopback token needs no Kubernetes API


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/healthz", "", 200),
        ("/livez", "", 200),
        ("/agentinfo", "", 403),
        ("/agentinfo", "bad", 401),
        ("/agentinfo", "good", 403),
        ("/podinterfaces", "good", 200),
        ("/metrics", "good", 403),
    ],
)
async def test_others_may_what_the_cluster_says(world: World, path: str, token: str, status: int) -> None:
    assert (await world.get(path, token)).status == status


async def test_metrics_are_served(world: World) -> None:
    answer = await world.get("/metrics")
    assert answer.status == 200
    assert "antrea_event_loop_lag_seconds" in answer.text
