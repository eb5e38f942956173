"""Finding a controller: one of several, by what was known before, while the Kubernetes API is away."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from apiserver.certificates import create_authority
from client.controller import ControllerLocator, Rotation, Whereabouts
from client.endpoint import Endpoint, no_headers
from client.errors import ConnectionFailed
from client.rest import RestClient

CA = create_authority("antrea-ca").certificate.decode()


class Cluster:
    """The two objects that a locator reads, over real HTTP."""

    def __init__(self) -> None:
        self.ca: str | None = CA
        self.addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        self.fails = False
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.fails:
            return web.Response(status=503)
        if request.path.endswith("/configmaps/antrea-ca"):
            return web.json_response({"data": {"ca.crt": self.ca} if self.ca is not None else {}})
        endpoints = [{"addresses": [address]} for address in self.addresses]
        return web.json_response({"items": [{"endpoints": endpoints, "ports": [{"port": 10349}]}]})


class Memory:
    def __init__(self, known: Whereabouts | None = None) -> None:
        self.known = known
        self.saved: list[Whereabouts] = []

    def load(self) -> Whereabouts | None:
        return self.known

    def save(self, known: Whereabouts) -> None:
        self.saved.append(known)


@asynccontextmanager
async def client_to(url: str) -> AsyncIterator[RestClient]:
    async with RestClient(Endpoint(url)) as client:
        yield client


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def urls(*numbers: int) -> set[str]:
    return {f"https://10.0.0.{number}:10349" for number in numbers}


async def test_an_address_is_kept_until_it_fails_and_each_gets_its_turn(cluster: Cluster) -> None:
    async with client_to(cluster.url) as kube:
        locator = ControllerLocator(kube, no_headers)
        first = await locator.locate()
        assert {(await locator.locate()).url for _ in range(20)} == {first.url}
        locator.failed(first)
        second = await locator.locate()
        locator.failed(second)
        third = await locator.locate()
        assert {first.url, second.url, third.url} == urls(1, 2, 3)
        locator.failed(third)
        assert (await locator.locate()).url == first.url, "its failure is longest ago"


async def test_an_address_that_is_gone_is_left_and_one_that_stays_is_kept(cluster: Cluster) -> None:
    async with client_to(cluster.url) as kube:
        locator = ControllerLocator(kube, no_headers)
        used = (await locator.locate()).url
        cluster.addresses = [address for address in cluster.addresses if address in used] + ["10.0.0.9"]
        assert (await locator.locate()).url == used
        cluster.addresses = ["10.0.0.9"]
        assert {(await locator.locate()).url} == urls(9)


def test_clients_spread_over_the_addresses() -> None:
    chosen = set()
    for _ in range(100):
        rotation = Rotation()
        rotation.replace(["a:1", "b:1", "c:1"])
        chosen.add(rotation.choose())
    assert chosen == {"a:1", "b:1", "c:1"}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_no_address_starves(seed: int) -> None:
    """Among N addresses, N failures in a row try each once."""
    generator = random.Random(seed)
    rotation = Rotation()
    addresses = [f"{number}:1" for number in range(generator.randrange(1, 6))]
    rotation.replace(addresses)
    for _ in range(generator.randrange(10)):
        rotation.failed(rotation.choose())
    tried = set()
    for _ in addresses:
        tried.add(rotation.choose())
        rotation.failed(rotation.choose())
    assert tried == set(addresses)


async def test_what_is_found_is_remembered_once_and_again_when_it_changes(cluster: Cluster) -> None:
    memory = Memory()
    async with client_to(cluster.url) as kube:
        locator = ControllerLocator(kube, no_headers, memory=memory)
        for _ in range(3):
            await locator.locate()
        assert memory.saved == [Whereabouts(CA, ("10.0.0.1:10349", "10.0.0.2:10349", "10.0.0.3:10349"))]
        cluster.addresses = ["10.0.0.2"]
        await locator.locate()
        assert memory.saved[1:] == [Whereabouts(CA, ("10.0.0.2:10349",))]


@pytest.mark.parametrize("away", ["refused", "failing"])
async def test_without_the_api_what_was_remembered_serves(cluster: Cluster, away: str) -> None:
    memory = Memory(Whereabouts(CA, ("10.0.0.7:10349",)))
    cluster.fails = True
    async with client_to(cluster.url if away == "failing" else "http://127.0.0.1:1") as kube:
        endpoint = await ControllerLocator(kube, no_headers, memory=memory).locate()
    assert (endpoint.url, endpoint.server_name) == ("https://10.0.0.7:10349", "antrea.kube-system.svc")
    assert endpoint.tls is not None
    assert len(endpoint.tls.get_ca_certs()) == 1
    assert memory.saved == []


async def test_the_api_is_right_where_it_says_something_else(cluster: Cluster) -> None:
    memory = Memory(Whereabouts(create_authority("old").certificate.decode(), ("10.0.0.7:10349",)))
    cluster.addresses = ["10.0.0.1"]
    async with client_to(cluster.url) as kube:
        endpoint = await ControllerLocator(kube, no_headers, memory=memory).locate()
    assert {endpoint.url} == urls(1)
    assert memory.saved == [Whereabouts(CA, ("10.0.0.1:10349",))]


@pytest.mark.parametrize("ca", [None, "", " \n", "no certificate", "é"])
async def test_no_certificate_means_no_connection(cluster: Cluster, ca: Any) -> None:
    """Without one the system's authorities would be trusted."""
    cluster.ca = ca
    async with client_to(cluster.url) as kube:
        with pytest.raises(ConnectionFailed, match="antrea-ca holds no usable certificate"):
            await ControllerLocator(kube, no_headers).locate()


async def test_a_client_goes_on_while_authorities_are_added_and_not_when_one_is_dropped(
    cluster: Cluster,
) -> None:
    other = create_authority("other-ca").certificate.decode()

    def trusted(endpoint: Endpoint) -> int:
        assert endpoint.tls is not None
        return len(endpoint.tls.get_ca_certs())

    async with client_to(cluster.url) as kube:
        locator = ControllerLocator(kube, no_headers)
        before = await locator.locate()
        assert trusted(before) == 1
        cluster.ca = other + CA
        during = await locator.locate()
        assert during.tls is before.tls
        assert trusted(before) == 2
        cluster.ca = other
        after = await locator.locate()
        assert after.tls is not before.tls
        assert trusted(after) == 1
