"""Who a client is by its token, and what it may do."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from apiserver import authentication, authorization
from apiserver.auth import AllowMasters, Decision, User
from apiserver.authentication import BearerTokens, StaticTokens
from apiserver.authorization import ReviewedAccess, access_review_spec
from apiserver.certificates import KeyPair, create_authority, issue
from apiserver.errors import unavailable
from apiserver.expiring import Expiring
from apiserver.request import RequestInfo
from tests.apiserver.conftest import Serve, bare_server


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


async def test_a_token_is_remembered_by_its_very_bytes(serve: Serve) -> None:
    async def review(token: str) -> User | None:
        return User("alice") if token == "good?" else None

    session = await serve(bare_server(authenticators=[BearerTokens(review)]))
    for token, status in (("good?", 200), ("good\udcff", 401), ("good\udcfe", 401), ("good?", 200)):
        reader, writer = await asyncio.open_connection("127.0.0.1", session._base_url.port)  # type: ignore[union-attr]
        raw = token.encode("utf-8", "surrogateescape")
        writer.write(b"GET /whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + raw + b"\r\n\r\n")
        assert int((await reader.readline()).split()[1]) == status
        writer.close()


async def test_strangers_with_made_up_tokens_push_nobody_out(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "_MAX_GOOD", 4)
    monkeypatch.setattr(authentication, "_MAX_BAD", 4)
    monkeypatch.setattr(authentication, "_MAX_REVIEWS", 3)
    asked: Counter[str] = Counter()
    at_once, most = 0, 0

    async def review(token: str) -> User | None:
        nonlocal at_once, most
        asked[token] += 1
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return User("alice") if token == "good" else None

    server = bare_server(authenticators=[BearerTokens(review, bad_seconds=0.05)])
    session = await serve(server)

    async def ask(token: str) -> int:
        async with session.get("/whoami", headers={"Authorization": f"Bearer {token}"}) as response:
            return response.status

    assert await ask("good") == 200
    assert await asyncio.gather(*(ask(f"bad{i}") for i in range(50))) == [401] * 50
    assert await ask("good") == 200
    assert asked["good"] == 1
    assert most == 3
    await asyncio.sleep(0.1)
    assert await ask("bad49") == 401  # what was bad is asked again soon
    assert asked["bad49"] == 2


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


async def test_requests_without_end_are_reviewed_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger asks for another path each time: none of it is remembered, all of it has to be asked."""
    monkeypatch.setattr(authorization, "_MAX_REVIEWS", 3)
    now, most = 0, 0

    async def review(user: User, info: RequestInfo) -> Decision:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return Decision(False)

    access = ReviewedAccess(review)
    asked = [RequestInfo(f"/{number}", "get") for number in range(20)]
    decisions = await asyncio.gather(*(access.authorize(User("x"), info) for info in asked))
    assert most == 3
    assert not any(decision.allowed for decision in decisions)


async def test_decisions_are_remembered_apart_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorization, "_MAX_CACHED", 3)
    recorder = Recorder()
    access = ReviewedAccess(recorder)
    alice, bob = User("alice"), User("bob")
    page = RequestInfo("/page", "get")
    for _ in range(2):
        assert (await access.authorize(alice, page)).allowed
        for number in range(10):
            assert not (await access.authorize(bob, RequestInfo(f"/{number}", "get"))).allowed
    assert recorder.asked.count(page) == 1
    assert len(recorder.asked) == 1 + 20  # of ten refusals none was among the last three

    long = RequestInfo("/" + "x" * 20_000, "get")
    for _ in range(2):
        await access.authorize(alice, long)
    assert recorder.asked.count(long) == 2


def test_what_is_remembered_ends() -> None:
    now = 0.0
    memory: Expiring[str, int] = Expiring(2, 10.0, clock=lambda: now)
    memory.put("a", 1)
    now = 5.0
    memory.put("b", 2)
    now = 9.9
    assert (memory.get("a"), memory.get("b")) == (1, 2)
    now = 10.0
    assert (memory.get("a"), memory.get("b")) == (None, 2)
    for key in "cde":
        memory.put(key, 3)
    assert len(memory) == 2
