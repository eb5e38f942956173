"""Who may use the controller's API: the cluster's own users and rules, asked through the Kubernetes API.

Three ways to be somebody: a bearer token (agents come with their service account's), the headers of the
cluster's front proxy (kube-apiserver, for everything that comes through aggregation; it proves itself by a
client certificate), or the loopback token in a file that only this machine's administrator can read.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

import msgspec
from aiohttp import web

from apiserver.auth import MASTERS, Decision, User
from apiserver.errors import StatusError, unauthorized, unavailable
from apiserver.request import RequestInfo
from client.errors import ApiError, ConnectionFailed
from client.reviews import AccessReviews, TokenReviews
from runtime import log

logger = log.get("controller.authentication")

LOOPBACK_TOKEN = "apiserver/loopback-client-token"  # below the run directory; antctl in the Pod reads it
LOOPBACK_USER = User("system:apiserver", (MASTERS, "system:authenticated"))


def bearer_token(request: web.BaseRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class LoopbackToken:
    """Knows one token, made at start and written to a file of mode 0600."""

    def __init__(self, run_dir: str | Path) -> None:
        self.token = secrets.token_urlsafe(32)
        path = Path(run_dir) / LOOPBACK_TOKEN
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.token)
        temporary.replace(path)

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        token = bearer_token(request)
        return LOOPBACK_USER if token and hmac.compare_digest(token, self.token) else None


class TokenReviewer:
    """Asks the Kubernetes API for the user behind a bearer token."""

    def __init__(self, reviews: TokenReviews) -> None:
        self._reviews = reviews

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        token = bearer_token(request)
        if not token:
            return None
        try:
            user = await self._reviews.review(token)
        except (ApiError, ConnectionFailed, msgspec.MsgspecError) as error:
            logger.warning("Cannot review a token: %s", error)
            raise unavailable("The Kubernetes API cannot review tokens at the moment; try again.") from error
        if user is None:
            raise unauthorized()
        return User(user.username, tuple(user.groups or ()), user.uid, user.extra or {})


class AccessReviewer:
    """Asks the Kubernetes API whether a user may do what a request does."""

    def __init__(self, reviews: AccessReviews) -> None:
        self._reviews = reviews

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        if info.is_resource:
            attributes = {
                "namespace": info.namespace,
                "verb": info.verb,
                "group": info.group,
                "version": info.version,
                "resource": info.resource,
                "subresource": info.subresource,
                "name": info.name,
            }
        else:
            attributes = {"path": info.path, "verb": info.verb}
        try:
            allowed, reason = await self._reviews.allowed(
                user.name,
                user.groups,
                attributes,
                uid=user.uid,
                extra=user.extra,
                is_resource=info.is_resource,
            )
        except (ApiError, ConnectionFailed, msgspec.MsgspecError) as error:
            raise StatusError(500, "InternalError", f"The access review failed: {error}") from error
        return Decision(allowed, reason)
