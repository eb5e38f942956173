"""Who a client is: tokens, client certificates, a front proxy; and what becomes of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from apiserver.auth import AllowMasters, Decision, User
from apiserver.authentication import (
    AuthorityPool,
    BearerTokens,
    ClientCertificates,
    RequestHeaders,
    StaticTokens,
)
from apiserver.authorization import ReviewedAccess, access_review_spec
from apiserver.certificates import KeyPair, ServingTLS, create_authority, issue, self_signed, write_private
from apiserver.errors import unavailable
from apiserver.listener import Listener
from apiserver.request import Context, RequestInfo
from apiserver.server import ApiServer
from tests.apiserver.conftest import Serve


def whoami(server: ApiServer) -> None:
    async def answer(ctx: Context) -> aiohttp.web.Response:
        extra = {key: list(values) for key, values in ctx.user.extra.items()}
        return aiohttp.web.json_response([ctx.user.name, list(ctx.user.groups), extra])

    server.path("/whoami", answer)


def bare_server(**arguments: object) -> ApiServer:
    server = ApiServer(title="t", version={"major": "1", "minor": "0"}, **arguments)  # type: ignore[arg-type]
    whoami(server)
    return server


async def test_tokens_are_reviewed_once_and_remembered(serve: Serve) -> None:
    asked: list[str] = []

    async def review(token: str) -> User | None:
        asked.append(token)
        await asyncio.sleep(0.05)
        return User("alice", ("dev",)) if token == "good" else None

    server = bare_server(authenticators=[BearerTokens(review)])
    session = await serve(server)

    async def ask(token: str | None) -> tuple[int, object]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with session.get("/whoami", headers=headers) as response:
            return response.status, (await response.json())

    answers = await asyncio.gather(*(ask("good") for _ in range(10)))
    assert answers == [(200, ["alice", ["dev", "system:authenticated"], {}])] * 10
    assert asked == ["good"]
    assert [(await ask("bad"))[0] for _ in range(3)] == [401] * 3
    assert asked == ["good", "bad"]
    assert await ask(None) == (200, ["system:anonymous", ["system:unauthenticated"], {}])


async def test_a_reviewer_that_fails_lets_nobody_in(serve: Serve) -> None:
    async def broken(token: str) -> User | None:
        if token == "status":
            raise unavailable("the API server cannot be reached")
        raise OSError("connection refused")

    session = await serve(bare_server(authenticators=[BearerTokens(broken)]))
    for token, code in (("status", 503), ("other", 401)):
        async with session.get("/whoami", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Bearer secret", 200),
        ("bearer secret", 200),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        ("Basic secret", 401),
    ],
)
async def test_static_tokens(serve: Serve, header: str, code: int) -> None:
    server = bare_server(authenticators=[StaticTokens({"secret": User("root")})], anonymous=False)
    session = await serve(server)
    async with session.get("/whoami", headers={"Authorization": header}) as response:
        assert response.status == code
    async with session.get("/whoami") as response:
        assert response.status == 401


@dataclass
class Proxied:
    """A TLS server that knows a client CA and a front-proxy CA."""

    url: str
    serving: ServingTLS
    clients: KeyPair
    front: KeyPair
    folder: Path

    def context(self, pair: KeyPair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.serving.pair.certificate.decode())
        if pair is not None:
            for name, data in (("c.crt", pair.certificate), ("c.key", pair.key)):
                write_private(self.folder / name, data)
            context.load_cert_chain(self.folder / "c.crt", self.folder / "c.key")
        return context

    async def ask(self, pair: KeyPair | None, headers: list[tuple[str, str]] = ()) -> list[object]:  # type: ignore[assignment]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/whoami", ssl=self.context(pair), headers=headers) as response,
        ):
            return await response.json()


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    clients, front = create_authority("clients"), create_authority("front")
    serving = ServingTLS(self_signed("server", ["127.0.0.1"]), clients.certificate + front.certificate)
    server = bare_server(
        authenticators=[
            RequestHeaders(AuthorityPool(front.certificate), ["front-proxy-client"]),
            ClientCertificates(AuthorityPool(clients.certificate)),
        ]
    )
    listener = Listener(server)
    host, port = await listener.listen("127.0.0.1", 0, tls=serving.context)
    yield Proxied(f"https://{host}:{port}", serving, clients, front, tmp_path)
    await listener.close(grace=1)


REMOTE = [
    ("X-Remote-User", "bob"),
    ("X-Remote-Group", "a"),
    ("X-Remote-Group", "b"),
    ("X-Remote-Extra-Scopes", "x"),
]
ANONYMOUS = ["system:anonymous", ["system:unauthenticated"], {}]


async def test_client_certificates(proxied: Proxied) -> None:
    alice = issue(proxied.clients, "alice", organizations=["dev", "ops"], client=True)
    assert await proxied.ask(alice) == ["alice", ["dev", "ops", "system:authenticated"], {}]
    assert await proxied.ask(None) == ANONYMOUS
    # A certificate of the proxies' CA makes nobody a user.
    assert await proxied.ask(issue(proxied.front, "alice", client=True)) == ANONYMOUS


async def test_request_headers_count_only_from_the_front_proxy(proxied: Proxied) -> None:
    front = issue(proxied.front, "front-proxy-client", client=True)
    expected = ["bob", ["a", "b", "system:authenticated"], {"scopes": ["x"]}]
    assert await proxied.ask(front, REMOTE) == expected
    assert await proxied.ask(issue(proxied.front, "somebody", client=True), REMOTE) == ANONYMOUS
    alice = issue(proxied.clients, "alice", client=True)
    assert (await proxied.ask(alice, REMOTE))[0] == "alice"
    assert await proxied.ask(None, REMOTE) == ANONYMOUS


async def test_a_certificate_is_replaced_while_serving(proxied: Proxied) -> None:
    old = proxied.serving.pair
    proxied.serving.reload(self_signed("server", ["127.0.0.1"]))
    assert await proxied.ask(None) == ANONYMOUS
    stale = ssl.create_default_context(cadata=old.certificate.decode())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{proxied.url}/whoami", ssl=stale)
    current = proxied.serving.pair
    with pytest.raises(ssl.SSLError):
        proxied.serving.reload(KeyPair(current.certificate, old.key))
    assert proxied.serving.pair is current


@pytest.mark.parametrize(("days", "due"), [(365, False), (91, False), (89, True), (1, True)])
def test_certificates_are_renewed_with_90_days_left(days: int, due: bool) -> None:
    pair = issue(create_authority("ca"), "x", names=["a.b"], lifetime=timedelta(days=days))
    assert pair.needs_renewal() is due
    assert KeyPair(b"nonsense", b"").needs_renewal()
    assert not pair.needs_renewal(datetime.now(UTC) - timedelta(days=400))


class Recorder:
    """An access reviewer that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[RequestInfo] = []

    async def __call__(self, user: User, info: RequestInfo) -> Decision:
        self.asked.append(info)
        if user.name == "broken":
            raise OSError("unreachable")
        return Decision(user.name == "alice", "no rule matches")


USERS = StaticTokens(
    {
        "alice": User("alice"),
        "bob": User("bob"),
        "root": User("root", ("system:masters",)),
        "broken": User("broken"),
    }
)


@pytest.mark.parametrize(
    ("user", "path", "code"),
    [
        ("alice", "/whoami", 200),
        ("bob", "/whoami", 403),
        ("root", "/whoami", 200),
        ("broken", "/whoami", 500),
        ("bob", "/livez", 200),
        ("bob", "/livez/ping", 403),
    ],
)
async def test_authorization(serve: Serve, user: str, path: str, code: int) -> None:
    server = bare_server(authenticators=[USERS], authorizer=AllowMasters(ReviewedAccess(Recorder())))
    session = await serve(server)
    async with session.get(path, headers={"Authorization": f"Bearer {user}"}) as response:
        assert response.status == code
        if code == 403:
            assert (await response.json())["message"] == f'forbidden: User "bob" cannot get path "{path}"'


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=1", ("watch", "", "pods", "", "", "")),
        ("GET", "/api/v1/watch/pods", ("watch", "", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", ("get", "", "pods", "", "a", "p")),
        ("GET", "/api/v1/namespaces/a/pods/p?watch=1", ("get", "", "pods", "", "a", "p")),
        (
            "GET",
            "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp",
            ("list", "", "pods", "", "a", "p"),
        ),
        ("GET", "/api/v1/namespaces/a/pods/p/log", ("get", "", "pods", "log", "a", "p")),
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "", "a", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "namespaces", "finalize", "a", "a")),
        ("POST", "/apis/g.x/v1/things", ("create", "g.x", "things", "", "", "")),
        ("PATCH", "/apis/g.x/v1/namespaces/a/things/t", ("patch", "g.x", "things", "", "a", "t")),
        ("DELETE", "/apis/g.x/v1/namespaces/a/things", ("deletecollection", "g.x", "things", "", "a", "")),
        ("DELETE", "/apis/g.x/v1/things/t", ("delete", "g.x", "things", "", "", "t")),
    ],
)
async def test_requests_in_the_terms_of_authorization(
    serve: Serve, method: str, path: str, expected: tuple[str, ...]
) -> None:
    recorder = Recorder()
    server = bare_server(authenticators=[USERS], authorizer=ReviewedAccess(recorder))
    session = await serve(server)
    for _ in range(2):  # the second answer comes out of the cache
        async with session.request(method, path, headers={"Authorization": "Bearer bob"}) as response:
            assert response.status == 403
            assert f'User "bob" cannot {expected[0]} resource' in (await response.json())["message"]
    (info,) = recorder.asked
    assert (info.verb, info.group, info.resource, info.subresource, info.namespace, info.name) == expected
    spec = access_review_spec(User("bob", ("g",)), info)
    assert spec["user"] == "bob"
    assert spec["resourceAttributes"]["verb"] == expected[0]
