"""Authenticators by bearer token. What a token is worth is for a reviewer to say, a function of the caller's.

Those by client certificate are in apiserver.clientcertificates.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from apiserver.auth import MASTERS, User
from apiserver.errors import StatusError, unauthorized, unavailable
from apiserver.expiring import Expiring

TokenReviewer = Callable[[str], Awaitable[User | None]]
"""The user of a token, None if it is not valid; raises when it cannot be found out at the moment."""

_MAX_TOKEN = 64 * 1024
_MAX_GOOD, _MAX_BAD = 4096, 1024
_BAD_SECONDS = 2.0
_MAX_REVIEWS = 64  # at once; more wait, and strangers with made-up tokens are no burden on the cluster


def bearer_token(request: web.BaseRequest) -> str:
    """The token of the Authorization header, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN else ""


class BearerTokens:
    """Asks a reviewer about tokens and remembers the answers: good ones for ``cache_seconds``, bad ones
    shorter and apart, so that a flood of them pushes nobody out.

    While the reviewer cannot be asked, a token that was good stays so for ``outage_seconds``: agents must get
    back to their controller without the Kubernetes API, and without it no token is revoked either.
    """

    def __init__(
        self,
        review: TokenReviewer,
        cache_seconds: float = 10.0,
        timeout: float = 10.0,
        bad_seconds: float | None = None,
        outage_seconds: float = 3600.0,
    ) -> None:
        self._review = review
        self._timeout = timeout
        self._good: Expiring[bytes, User] = Expiring(_MAX_GOOD, cache_seconds, outage_seconds)
        self._bad: Expiring[bytes, bool] = Expiring(
            _MAX_BAD, min(_BAD_SECONDS, cache_seconds) if bad_seconds is None else bad_seconds
        )
        self._asking: dict[bytes, asyncio.Future[User | None]] = {}
        self._slots = asyncio.Semaphore(_MAX_REVIEWS)

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        token = bearer_token(request)
        if not token:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._good.get(digest)
        if known is not None:
            return known
        if self._bad.get(digest):
            return None
        # Requests with the same token that come meanwhile wait for the same review.
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(digest, token))
            self._asking[digest] = asking
            asking.add_done_callback(lambda done: self._done(digest, done))
        try:
            return await asyncio.shield(asking)
        except StatusError:
            if (known := self._good.stale(digest)) is not None:
                return known
            raise

    def _done(self, digest: bytes, asked: asyncio.Future[User | None]) -> None:
        self._asking.pop(digest, None)
        if not asked.cancelled():
            asked.exception()  # whoever waited for it may have left

    async def _ask(self, digest: bytes, token: str) -> User | None:
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                user = await self._review(token)
        except StatusError:
            raise
        except TimeoutError:
            raise unavailable("The token could not be reviewed in time; try again.") from None
        except Exception as error:
            # Whoever cannot be reviewed is not let in; that it may be our fault is in the log of the
            # reviewer.
            raise unauthorized() from error
        if user is not None:
            self._good.put(digest, user)
        else:
            self._good.forget(digest)
            self._bad.put(digest, True)
        return user


class StaticTokens:
    """Fixed tokens, such as the loopback token in a file of mode 0600."""

    def __init__(self, tokens: Mapping[str, User] | None = None) -> None:
        self._tokens = dict(tokens or {})

    def add(self, token: str, user: User) -> None:
        self._tokens[token] = user

    def remove(self, token: str) -> None:
        self._tokens.pop(token, None)

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        given = bearer_token(request).encode("utf-8", "surrogateescape")
        if not given:
            return None
        for token, user in self._tokens.items():
            if hmac.compare_digest(token.encode(), given):
                return user
        return None


LOOPBACK = User("system:apiserver", (MASTERS,))
