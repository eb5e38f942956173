"""Authorizers that ask somebody else, and remember."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.auth import Decision, User
from apiserver.errors import StatusError, internal
from apiserver.expiring import Expiring
from apiserver.request import RequestInfo

AccessReviewer = Callable[[User, RequestInfo], Awaitable[Decision]]
"""Decides; raises when it cannot be found out at the moment."""

_MAX_CACHED = 8192
_MAX_REVIEWS = 64  # at once; more wait: strangers with a path for each request are no burden on the cluster
_MAX_KEY = 10_000  # characters; longer questions are asked each time, as kube-apiserver does it


class ReviewedAccess:
    """Asks a reviewer (a SubjectAccessReview) and keeps its decisions for a while, allowing and denying ones
    apart: whoever is refused a thousand things pushes out nobody's permission.

    While the reviewer cannot be asked, what was allowed stays so for ``outage_seconds`` (see BearerTokens).
    """

    def __init__(
        self,
        review: AccessReviewer,
        cache_seconds: float = 10.0,
        timeout: float = 10.0,
        deny_seconds: float | None = None,
        outage_seconds: float = 3600.0,
    ) -> None:
        self._review = review
        self._timeout = timeout
        self._allowed: Expiring[tuple[Any, ...], Decision] = Expiring(
            _MAX_CACHED, cache_seconds, outage_seconds
        )
        self._denied: Expiring[tuple[Any, ...], Decision] = Expiring(
            _MAX_CACHED, cache_seconds if deny_seconds is None else deny_seconds
        )
        self._slots = asyncio.Semaphore(_MAX_REVIEWS)

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        key = _key(user, info)
        if key is not None:
            known = self._allowed.get(key) or self._denied.get(key)
            if known is not None:
                return known
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                decision = await self._review(user, info)
        except Exception as error:
            if key is not None and (known := self._allowed.stale(key)) is not None:
                return known
            if isinstance(error, StatusError):
                raise
            raise internal(f"the access of {user.name!r} could not be reviewed: {error}") from error
        if key is not None and decision.allowed:
            self._allowed.put(key, decision)
        elif key is not None:
            self._allowed.forget(key)
            self._denied.put(key, decision)
        return decision


def _key(user: User, info: RequestInfo) -> tuple[Any, ...] | None:
    """What a decision depends on; None for what is too long to be remembered."""
    what: tuple[str, ...] = (info.verb, info.path)
    if info.is_resource:
        what = (
            info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name,
        )  # fmt: skip
    size = sum(map(len, what)) + len(user.name) + sum(map(len, user.groups))
    size += sum(len(key) + sum(map(len, values)) for key, values in user.extra.items())
    if size > _MAX_KEY:
        return None
    extra = tuple(sorted((key, tuple(values)) for key, values in user.extra.items()))
    return (user.name, user.groups, user.uid, extra, info.is_resource, *what)


def access_review_spec(user: User, info: RequestInfo) -> dict[str, Any]:
    """The spec of a SubjectAccessReview for a request."""
    spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if not info.is_resource:
        spec["nonResourceAttributes"] = {"path": info.path, "verb": info.verb}
        return spec
    attributes = {
        "namespace": info.namespace,
        "verb": info.verb,
        "group": info.group,
        "version": info.version,
        "resource": info.resource,
        "subresource": info.subresource,
        "name": info.name,
    }
    spec["resourceAttributes"] = {key: value for key, value in attributes.items() if value}
    return spec
