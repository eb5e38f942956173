"""Who asks, and may they: the protocols by which a server is told, and the simplest implementations.

Authenticators are asked in order; each returns a user, None for "not mine", or raises Unauthorized for
credentials that it knows to be bad. The authorizer sees every request that no always-allowed path covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from apiserver.request import RequestInfo


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user, as Kubernetes' user.Info."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def authenticated(self) -> User:
        """With the group of all authenticated users, which every authenticator adds in the end."""
        if "system:authenticated" in self.groups or "system:unauthenticated" in self.groups:
            return self
        return User(self.name, (*self.groups, "system:authenticated"), self.uid, self.extra)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
MASTERS = "system:masters"


class Authenticator(Protocol):
    async def authenticate(self, request: web.BaseRequest) -> User | None: ...


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    async def authorize(self, user: User, info: RequestInfo) -> Decision: ...


class AllowAll:
    """Authorizes everything: for tests, and for servers that only the owner of a machine can reach."""

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        return Decision(True)


class AllowMasters:
    """Allows the group system:masters everything and asks ``then`` about the others."""

    def __init__(self, then: Authorizer) -> None:
        self._then = then

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        return await self._then.authorize(user, info)
