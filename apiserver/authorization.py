"""Authorizers that ask somebody else, and remember."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.auth import Decision, User
from apiserver.errors import StatusError, internal
from apiserver.request import RequestInfo

AccessReviewer = Callable[[User, RequestInfo], Awaitable[Decision]]
"""Decides; raises when it cannot be found out at the moment."""

_MAX_CACHED = 8192


class ReviewedAccess:
    """Asks a reviewer (a SubjectAccessReview) and keeps each decision for a while.

    While the reviewer cannot be asked, what was allowed stays so for ``outage_seconds`` (see BearerTokens).
    """

    def __init__(
        self,
        review: AccessReviewer,
        cache_seconds: float = 10.0,
        timeout: float = 10.0,
        outage_seconds: float = 3600.0,
    ) -> None:
        self._review = review
        self._seconds = cache_seconds
        self._outage = outage_seconds
        self._timeout = timeout
        self._cache: dict[tuple[Any, ...], tuple[float, Decision]] = {}

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        extra = tuple(sorted((key, tuple(values)) for key, values in user.extra.items()))
        who = (user.name, user.groups, user.uid, extra)
        what = (
            info.verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            info.namespace,
            info.name,
        )
        key = (*who, *(what if info.is_resource else (info.verb, info.path)))
        now = time.monotonic()
        known = self._cache.get(key)
        if known is not None and now < known[0]:
            return known[1]
        try:
            async with asyncio.timeout(self._timeout):
                decision = await self._review(user, info)
        except Exception as error:
            if known is not None and known[1].allowed and now < known[0] + self._outage:
                return known[1]
            if isinstance(error, StatusError):
                raise
            raise internal(f"the access of {user.name!r} could not be reviewed: {error}") from error
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (now + self._seconds, decision)
        return decision


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
