"""Asking the Kubernetes API who a token belongs to and what a user may do.

An aggregated server knows no users of its own (Kubernetes' delegated authentication and authorization):
TokenReview names the user behind a bearer token, SubjectAccessReview says whether a user may do something.
Nothing is remembered here: that is for whoever serves the requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from client.errors import ConnectionFailed
from client.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource
from client.rest import RestClient

TIMEOUT = 10.0  # seconds


class TokenUser(msgspec.Struct, frozen=True):
    """The user that a TokenReview names."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: TokenUser | None = None


class _TokenReview(msgspec.Struct):
    status: _TokenStatus = msgspec.field(default_factory=_TokenStatus)


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    denied: bool = False
    reason: str = ""


class _AccessReview(msgspec.Struct):
    status: _AccessStatus = msgspec.field(default_factory=_AccessStatus)


async def review_token(client: RestClient, token: str) -> TokenUser | None:
    """The token's user, or None for a token that is not valid. Raises ApiError, ConnectionFailed."""
    answer = await _ask(client, TOKEN_REVIEWS, "TokenReview", {"token": token})
    status = _decode(answer, _TokenReview).status
    return status.user if status.authenticated else None


async def review_access(client: RestClient, spec: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether what the spec describes is allowed, and the reason given. Raises ApiError, ConnectionFailed."""
    answer = await _ask(client, SUBJECT_ACCESS_REVIEWS, "SubjectAccessReview", spec)
    status = _decode(answer, _AccessReview).status
    return status.allowed and not status.denied, status.reason


async def _ask(client: RestClient, resource: Resource, kind: str, spec: Mapping[str, Any]) -> bytes:
    body = {"apiVersion": resource.api_version, "kind": kind, "spec": spec}
    return (await client.request("POST", resource.path(), body=body, timeout=TIMEOUT)).body


def _decode(answer: bytes, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(answer, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConnectionFailed(f"The answer to a review cannot be read: {error}") from error
