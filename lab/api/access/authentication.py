"""Who is asking: client certificates, static tokens, service-account tokens, and impersonation."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from apiserver import errors
from apiserver.auth import User
from apiserver.documents.registry import Registry
from lab.api.access.rbac import SERVICE_ACCOUNT, Ask, Rbac, Who, denial
from lab.api.access.tokens import TokenError, TokenSigner


class Reviewer:
    """Tells whose token it is: for requests and for TokenReviews alike."""

    def __init__(self, registry: Registry, signer: TokenSigner, static: Mapping[str, User]) -> None:
        self._registry = registry
        self._signer = signer
        self._static = static

    def review(self, token: str, audiences: list[str] | None = None) -> User:
        """The user. Raises TokenError."""
        known = self._static.get(token)
        if known is not None:
            return known
        claims = self._signer.verify(token)
        if audiences and not set(audiences) & set(claims.get("aud", ())):
            raise TokenError("the token is meant for other audiences")
        private: dict[str, Any] = claims.get("kubernetes.io", {})
        namespace, account = private.get("namespace", ""), private.get("serviceaccount", {})
        name = account.get("name", "")
        stored = self._registry.get("serviceaccounts", namespace, name)
        if stored is None or stored["metadata"]["uid"] != account.get("uid"):
            raise TokenError(f"the service account {namespace}/{name} is gone")
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims.get('jti', '')}"]}
        for kind, resource in (("pod", "pods"), ("secret", "secrets")):
            bound = private.get(kind)
            if bound is not None:
                obj = self._registry.get(resource, namespace, bound.get("name", ""))
                if obj is None or obj["metadata"]["uid"] != bound.get("uid"):
                    raise TokenError(f"the {kind} that the token is bound to is gone")
                extra[f"authentication.kubernetes.io/{kind}-name"] = [bound["name"]]
                extra[f"authentication.kubernetes.io/{kind}-uid"] = [bound["uid"]]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return User(f"{SERVICE_ACCOUNT}{namespace}:{name}", groups, account.get("uid", ""), extra)


class ClusterAuthenticator:
    """All of a cluster's ways in one: certificate, then token; then whom the user wants to be."""

    def __init__(self, reviewer: Reviewer, rbac: Rbac) -> None:
        self._reviewer = reviewer
        self._rbac = rbac

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        user = self._certificate(request) or self._token(request)
        if user is None or "Impersonate-User" not in request.headers:
            return user
        return self._impersonate(user.authenticated(), request)

    @staticmethod
    def _certificate(request: web.BaseRequest) -> User | None:
        transport = request.transport
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert() if tls is not None else None
        if not certificate:
            return None
        subject: Any = certificate.get("subject", ())
        parts = [pair for part in subject for pair in part]
        name = next((value for key, value in parts if key == "commonName"), "")
        groups = tuple(value for key, value in parts if key == "organizationName")
        return User(name, groups) if name else None

    def _token(self, request: web.BaseRequest) -> User | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            return self._reviewer.review(token.strip())
        except TokenError:
            raise errors.unauthorized() from None

    def _impersonate(self, user: User, request: web.BaseRequest) -> User:
        wanted = request.headers["Impersonate-User"]
        groups = tuple(request.headers.getall("Impersonate-Group", ()))
        asks = [Ask("impersonate", "", "users", name=wanted)]
        if wanted.startswith(SERVICE_ACCOUNT):
            namespace, _, name = wanted.removeprefix(SERVICE_ACCOUNT).partition(":")
            asks = [Ask("impersonate", "", "serviceaccounts", namespace=namespace, name=name)]
            groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        asks += [
            Ask("impersonate", "", "groups", name=group)
            for group in request.headers.getall("Impersonate-Group", ())
        ]
        who = Who(user.name, user.groups)
        for ask in asks:
            if self._rbac.allowed(who, ask) is None:
                raise errors.forbidden(ask.resource, "", ask.name, denial(who, ask))
        return User(wanted, groups)
