"""While nobody can be asked: who was let in before stays in for a while, and nobody else comes in."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import make_mocked_request

from apiserver.auth import Decision, User
from apiserver.authentication import BearerTokens
from apiserver.authorization import ReviewedAccess
from apiserver.errors import StatusError, unavailable
from apiserver.request import RequestInfo, parse_path

EXPIRED = -1.0  # an answer is asked for again each time
AWAY = (unavailable("away"), OSError("away"), 30.0)  # a number: seconds of silence


class Reviewers:
    """Knows alice, whom it lets do everything, and bob, whom it lets do nothing; or is away."""

    def __init__(self) -> None:
        self.away: Exception | float | None = None

    async def _answer(self) -> None:
        if isinstance(self.away, Exception):
            raise self.away
        if self.away is not None:
            await asyncio.sleep(self.away)

    async def token(self, token: str) -> User | None:
        await self._answer()
        return User(token) if token in ("alice", "bob") else None

    async def access(self, user: User, info: RequestInfo) -> Decision:
        await self._answer()
        return Decision(user.name == "alice", "")


async def who(tokens: BearerTokens, token: str) -> str | None:
    user = await tokens.authenticate(
        make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    )
    return user.name if user is not None else None


@pytest.mark.parametrize("away", AWAY, ids=["503", "broken", "silent"])
async def test_a_token_that_was_good_stays_good_while_nobody_can_be_asked(away: Exception | float) -> None:
    reviewers = Reviewers()
    tokens = BearerTokens(reviewers.token, EXPIRED, timeout=0.1)
    assert (await who(tokens, "alice"), await who(tokens, "stranger")) == ("alice", None)
    reviewers.away = away
    assert await who(tokens, "alice") == "alice"
    assert await who(tokens, "alice") == "alice"
    for never_seen_good in ("stranger", "bob"):
        with pytest.raises(StatusError):
            await who(tokens, never_seen_good)


async def test_the_patience_with_a_token_ends() -> None:
    reviewers = Reviewers()
    tokens = BearerTokens(reviewers.token, EXPIRED, outage_seconds=0.0)
    assert await who(tokens, "alice") == "alice"
    reviewers.away = unavailable("away")
    with pytest.raises(StatusError):
        await who(tokens, "alice")


@pytest.mark.parametrize("away", AWAY, ids=["503", "broken", "silent"])
async def test_what_was_allowed_stays_allowed_while_nobody_can_be_asked(away: Exception | float) -> None:
    reviewers = Reviewers()
    access = ReviewedAccess(reviewers.access, EXPIRED, timeout=0.1)
    seen, new = (parse_path("GET", path, {}) for path in ("/api/v1/pods", "/api/v1/nodes"))
    assert (await access.authorize(User("alice"), seen)).allowed
    assert not (await access.authorize(User("bob"), seen)).allowed
    reviewers.away = away
    assert (await access.authorize(User("alice"), seen)).allowed
    for user, info in (("bob", seen), ("alice", new)):
        with pytest.raises(StatusError):
            await access.authorize(User(user), info)


async def test_the_patience_with_a_decision_ends() -> None:
    reviewers = Reviewers()
    access = ReviewedAccess(reviewers.access, EXPIRED, outage_seconds=0.0)
    info = parse_path("GET", "/api/v1/pods", {})
    assert (await access.authorize(User("alice"), info)).allowed
    reviewers.away = unavailable("away")
    with pytest.raises(StatusError):
        await access.authorize(User("alice"), info)
