"""Asking the Kubernetes API who a token belongs to and what a user may do, with short memories.

An aggregated server knows no users of its own (Kubernetes' delegated authentication and authorization):
TokenReview names the user behind a bearer token, SubjectAccessReview says whether a user may do something.
Answers are kept for ten seconds, as kube-apiserver's extension servers keep them.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from client.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from client.rest import RestClient

TTL = 10.0  # seconds
CAPACITY = 4096  # answers kept at most
TIMEOUT = 10.0

Answer = TypeVar("Answer")


class Memory(Generic[Answer]):
    """Answers by key, each for ``ttl`` seconds; one question at a time per key, errors are not kept."""

    def __init__(self, ttl: float = TTL, capacity: int = CAPACITY) -> None:
        self._ttl = ttl
        self._capacity = capacity
        self._known: dict[Hashable, tuple[float, Answer]] = {}
        self._asked: dict[Hashable, asyncio.Task[Answer]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        task = self._asked.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, ask))
            self._asked[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)  # one impatient client must not cancel the others' answer

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await ask()
        if len(self._known) >= self._capacity:
            now = time.monotonic()
            alive = {name: entry for name, entry in self._known.items() if entry[0] > now}
            self._known = alive if len(alive) < self._capacity else {}
        self._known[key] = (time.monotonic() + self._ttl, answer)
        return answer

    def _finished(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; with nobody left it is of no interest


class TokenUser(msgspec.Struct, frozen=True):
    """The user that a TokenReview names."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: TokenUser | None = None
    error: str = ""


class _TokenReview(msgspec.Struct):
    status: _TokenStatus = msgspec.field(default_factory=_TokenStatus)


class TokenReviews:
    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._memory: Memory[TokenUser | None] = Memory()

    async def review(self, token: str) -> TokenUser | None:
        """The token's user, or None for a token that is not valid. Raises ApiError, ConnectionFailed."""
        key = hashlib.sha256(token.encode()).digest()  # tokens themselves are not kept in memory
        return await self._memory.get(key, lambda: self._ask(token))

    async def _ask(self, token: str) -> TokenUser | None:
        body = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        answer = await self._client.request("POST", TOKEN_REVIEWS.path(), body=body, timeout=TIMEOUT)
        status = msgspec.json.decode(answer.body, type=_TokenReview).status
        return status.user if status.authenticated else None


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    denied: bool = False
    reason: str = ""


class _AccessReview(msgspec.Struct):
    status: _AccessStatus = msgspec.field(default_factory=_AccessStatus)


class AccessReviews:
    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._memory: Memory[tuple[bool, str]] = Memory()

    async def allowed(
        self,
        user: str,
        groups: Sequence[str],
        attributes: Mapping[str, str],
        *,
        uid: str = "",
        extra: Mapping[str, Sequence[str]] | None = None,
        is_resource: bool = True,
    ) -> tuple[bool, str]:
        """Whether the user may, and the reason given. ``attributes`` are those of resourceAttributes, or of
        nonResourceAttributes (path, verb). Raises ApiError, ConnectionFailed."""
        spec: dict[str, Any] = {"user": user, "groups": list(groups)}
        if uid:
            spec["uid"] = uid
        if extra:
            spec["extra"] = {name: list(values) for name, values in extra.items()}
        kind = "resourceAttributes" if is_resource else "nonResourceAttributes"
        spec[kind] = {name: value for name, value in attributes.items() if value}
        key = msgspec.json.encode(spec, order="deterministic")
        return await self._memory.get(key, lambda: self._ask(spec))

    async def _ask(self, spec: dict[str, Any]) -> tuple[bool, str]:
        body = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": "SubjectAccessReview",
            "spec": spec,
        }
        answer = await self._client.request("POST", SUBJECT_ACCESS_REVIEWS.path(), body=body, timeout=TIMEOUT)
        status = msgspec.json.decode(answer.body, type=_AccessReview).status
        return (status.allowed and not status.denied, status.reason)
