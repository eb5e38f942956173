"""antctl proxy: what it lets through, where it sends it, and with which credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from antctl.commands import proxy as command
from antctl.errors import CommandError
from antctl.proxy.filters import Filter, patterns, without_port
from antctl.proxy.server import Proxy, Settings, serving
from antctl.proxy.target import Target
from apiserver.certificates import ServingTLS, self_signed
from client.endpoint import Endpoint, bearer, tls_context

CALLER = "token-of-the-caller"


class Agent:
    """An HTTPS server with an agent's certificate that keeps the headers of each request."""

    def __init__(self) -> None:
        self.pair = self_signed("localhost", ("localhost", "127.0.0.1", "::1"))
        self.seen: list[web.BaseRequest] = []
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        if request.path == "/slowly":
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in (b"one\n", b"two\n"):
                await response.write(piece)
                await asyncio.sleep(0.05)
            return response
        if request.path == "/broken":
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return response
        if request.path == "/echo":
            return web.Response(body=await request.content.read(), headers={"X-Method": request.method})
        if request.path == "/packed":
            return web.Response(body=b"\x1f\x8b not really", headers={"Content-Encoding": "gzip"})
        return web.Response(text=request.rel_url.raw_path_qs)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        runner = web.ServerRunner(web.Server(self.answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=ServingTLS(self.pair).context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    def endpoint(self) -> Endpoint:
        url = f"https://127.0.0.1:{self.port}"
        return Endpoint(url, tls_context(ca_data=self.pair.certificate), "localhost", bearer("made-for-it"))


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with Agent().running() as running:
        yield running


def default_filter() -> Filter:
    return Filter(
        patterns("accept-paths", command.ACCEPT_PATHS),
        patterns("reject-paths", command.REJECT_PATHS),
        patterns("accept-hosts", command.ACCEPT_HOSTS),
        patterns("reject-methods", command.REJECT_METHODS),
    )


@contextlib.asynccontextmanager
async def proxied(
    agent: Agent, settings: Settings | None = None, *, own: bool = True, filter: Filter | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    settings = settings or Settings(port=0)
    proxy = Proxy(Target(agent.endpoint, own_credentials=own), settings, filter or default_filter())
    async with serving(proxy, settings) as address:
        connector = aiohttp.UnixConnector(settings.unix_socket) if settings.unix_socket else None
        base = "http://localhost" if settings.unix_socket else f"http://{address}"
        async with aiohttp.ClientSession(base, connector=connector, auto_decompress=False) as session:
            yield session


# -- credentials -----------------------------------------------------------------------------------------

SENT = {
    "Authorization": f"Bearer {CALLER}",
    "Cookie": f"session={CALLER}",
    "Proxy-Authorization": f"Basic {CALLER}",
    "Impersonate-User": "admin",
    "Impersonate-Extra-Scopes": CALLER,
    "X-Remote-User": "admin",
    "X-Other": "kept",
}


async def test_nothing_of_what_says_who_asks_reaches_an_agent(agent: Agent) -> None:
    async with proxied(agent) as session, session.get("/agentinfo", headers=SENT) as answer:
        assert answer.status == 200
    (seen,) = agent.seen
    assert seen.headers.getall("Authorization") == ["Bearer made-for-it"]
    assert seen.headers["X-Other"] == "kept"
    assert CALLER not in str(seen.headers)
    assert not [
        name for name in seen.headers if name.lower().startswith(("impersonate", "x-remote", "cookie"))
    ]


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [({}, "Bearer made-for-it"), ({"Authorization": "Bearer other"}, "Bearer other")],
)
async def test_the_controller_is_shown_the_callers_credentials(
    agent: Agent, sent: dict[str, str], arrives: str
) -> None:
    async with proxied(agent, own=False) as session, session.get("/", headers=sent):
        pass
    assert agent.seen[0].headers.getall("Authorization") == [arrives]


# -- requests and answers --------------------------------------------------------------------------------


async def test_requests_go_through_as_they_are(agent: Agent) -> None:
    async with proxied(agent) as session:
        async with session.get("/a%2Fb/c?x=%3D&y") as answer:
            assert await answer.text() == "/a%2Fb/c?x=%3D&y"
        async with session.post("/echo", data=b"x" * 3_000_000) as answer:
            assert (answer.headers["X-Method"], len(await answer.read())) == ("POST", 3_000_000)
        async with session.get("/packed") as answer:
            assert (answer.headers["Content-Encoding"], await answer.read()) == (
                "gzip",
                b"\x1f\x8b not really",
            )
        async with session.get("/slowly") as answer:
            assert await answer.content.readline() == b"one\n"
            assert await answer.content.readline() == b"two\n"
    assert "Host" in agent.seen[0].headers
    assert agent.seen[0].headers["Host"] == f"127.0.0.1:{agent.port}"


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(agent: Agent) -> None:
    async with proxied(agent) as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.get("/broken") as answer:
                await answer.read()


async def test_an_agent_that_cannot_be_reached_is_a_bad_gateway(agent: Agent) -> None:
    gone = Agent()
    async with gone.running():
        pass
    async with proxied(gone) as session, session.get("/agentinfo") as answer:
        assert answer.status == 502
        assert f"127.0.0.1:{gone.port}" in await answer.text()


async def test_another_certificate_than_the_published_one_is_refused(agent: Agent) -> None:
    published = agent.endpoint()
    agent.pair = self_signed("localhost", ("localhost",))
    async with Agent().running() as other:
        published.url = f"https://127.0.0.1:{other.port}"
        settings = Settings(port=0)
        proxy = Proxy(Target(lambda: published, own_credentials=True), settings, default_filter())
        async with (
            serving(proxy, settings) as address,
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}/agentinfo") as answer,
        ):
            assert answer.status == 502
            assert "certificate" in await answer.text()
        assert other.seen == []


async def test_an_agent_that_was_started_again_is_found_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antctl.proxy.target.LOOK_AGAIN_SECONDS", 0.0)
    first = Agent()
    places = [first]
    settings = Settings(port=0)
    async with first.running():
        target = Target(lambda: places[-1].endpoint(), own_credentials=True)
    places.append(agent)  # with another port and another certificate
    async with (
        serving(Proxy(target, settings, default_filter()), settings) as address,
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/agentinfo") as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/loglevel", "localhost:8001", 200),
        ("GET", "/loglevel", "127.0.0.1", 200),
        ("GET", "/loglevel", "[::1]:8001", 200),
        ("POST", "/loglevel", "localhost", 200),
        ("GET", "/loglevel", "example.org", 403),
        ("GET", "/loglevel", "localhost.example.org:8001", 403),
        ("GET", "/api/v1/namespaces/a/pods/b/exec", "localhost", 403),
        ("GET", "/api/v1/namespaces/a/pods/b/%65xec", "localhost", 403),
    ],
)
async def test_the_filter_knows_hosts_paths_and_methods(
    agent: Agent, method: str, path: str, host: str, status: int
) -> None:
    wanted = URL(path, encoded=True)
    async with (
        proxied(agent) as session,
        session.request(method, wanted, headers={"Host": host}) as answer,
    ):
        assert answer.status == status
        if status == 403:
            assert (await answer.text(), answer.content_type) == ("Forbidden\n", "text/plain")
    assert len(agent.seen) == (status == 200)


async def test_prefixes_and_files(agent: Agent, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "index.html").write_text("start")
    (tmp_path / "secret").write_text("secret")
    (site / "link").symlink_to(tmp_path / "secret")
    settings = Settings(port=0, api_prefix="/antrea/", files=site.resolve())
    async with proxied(agent, settings) as session:
        for path, status, text in [
            ("/antrea/loglevel?x=1", 200, "/loglevel?x=1"),
            ("/loglevel", 404, "404 page not found\n"),
            ("/static/", 200, "start"),
            ("/static/index.html", 200, "start"),
            ("/static/sub", 404, "404 page not found\n"),
            ("/static/link", 404, "404 page not found\n"),
            ("/static/..%2Fsecret", 404, "404 page not found\n"),
            ("/static/%2Fetc/passwd", 404, "404 page not found\n"),
            ("/static/a%00b", 404, "404 page not found\n"),
        ]:
            async with session.get(URL(path, encoded=True)) as answer:
                assert (answer.status, await answer.text()) == (status, text), path


async def test_protocols_are_not_switched(agent: Agent) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with proxied(agent) as session, session.get("/x", headers=headers) as answer:
        assert answer.status == 501
    assert agent.seen == []


async def test_a_unix_socket_is_for_its_owner_and_goes_away(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "s"
    settings = Settings(unix_socket=str(path))
    async with proxied(agent, settings) as session:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        async with session.get("/loglevel") as answer:
            assert answer.status == 200
        with pytest.raises(CommandError, match="somebody listens there"):
            async with proxied(agent, settings):
                pass
    assert not path.exists()


async def test_a_port_that_is_taken_is_named(agent: Agent) -> None:
    with pytest.raises(CommandError, match=f"127.0.0.1 port {agent.port} cannot be listened on"):
        async with proxied(agent, Settings(port=agent.port)):
            pass


@pytest.mark.parametrize(
    ("host", "name"), [("a:1", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
)
def test_hosts_without_their_ports(host: str, name: str) -> None:
    assert without_port(host) == name
