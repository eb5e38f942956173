"""Authenticators: bearer tokens, a front proxy's headers, client certificates.

Where trust comes from is the caller's: token reviewers are functions, certificate authorities are objects
whose PEM bundle may be replaced while the server runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from apiserver.auth import MASTERS, User
from apiserver.errors import StatusError, unauthorized

TokenReviewer = Callable[[str], Awaitable[User | None]]
"""The user of a token, None if it is not valid; raises when it cannot be found out at the moment."""

_MAX_TOKEN = 64 * 1024
_MAX_CACHED = 4096


def bearer_token(request: web.BaseRequest) -> str:
    """The token of the Authorization header, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN else ""


class BearerTokens:
    """Asks a reviewer about tokens and remembers the answers, good ones and bad ones alike, for a while.

    While the reviewer cannot be asked, a token that was good stays so for ``outage_seconds``: agents must get
    back to their controller without the Kubernetes API, and without it no token is revoked either.
    """

    def __init__(
        self,
        review: TokenReviewer,
        cache_seconds: float = 10.0,
        timeout: float = 10.0,
        outage_seconds: float = 3600.0,
    ) -> None:
        self._review = review
        self._seconds = cache_seconds
        self._outage = outage_seconds
        self._timeout = timeout
        self._cache: dict[bytes, tuple[float, User | None]] = {}
        self._asking: dict[bytes, asyncio.Future[User | None]] = {}

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        token = bearer_token(request)
        if not token:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        now = time.monotonic()
        known = self._cache.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        # Requests with the same token that come meanwhile wait for the same review.
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(token))
            self._asking[digest] = asking
            asking.add_done_callback(lambda _done: self._asking.pop(digest, None))
        try:
            user = await asyncio.shield(asking)
        except StatusError:
            if known is not None and known[1] is not None and now < known[0] + self._outage:
                return known[1]
            raise
        if len(self._cache) >= _MAX_CACHED:
            self._cache = {key: entry for key, entry in self._cache.items() if now < entry[0]}
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
        self._cache[digest] = (time.monotonic() + self._seconds, user)
        return user

    async def _ask(self, token: str) -> User | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._review(token)
        except StatusError:
            raise
        except Exception as error:
            # Whoever cannot be reviewed is not let in; that it may be our fault is in the log of the
            # reviewer.
            raise unauthorized() from error


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


@dataclass
class AuthorityPool:
    """A replaceable bundle of certificate authorities."""

    pem: bytes = b""
    _loaded: bytes = field(default=b"", repr=False)
    _certificates: list[x509.Certificate] = field(default_factory=list, repr=False)

    def certificates(self) -> list[x509.Certificate]:
        if self._loaded != self.pem:
            try:
                self._certificates = x509.load_pem_x509_certificates(self.pem)
            except ValueError:
                self._certificates = []
            self._loaded = self.pem
        return self._certificates

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether one of the authorities has signed the certificate itself (no intermediates)."""
        for authority in self.certificates():
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return True
        return False


def peer_certificate(request: web.BaseRequest) -> x509.Certificate | None:
    """The client's certificate, whose chain and dates the TLS handshake has verified; read once a
    connection."""
    transport = request.transport
    if transport is None:
        return None
    ssl_object = transport.get_extra_info("ssl_object")
    raw = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    if not raw:
        return None
    try:
        return x509.load_der_x509_certificate(raw)
    except ValueError:
        return None


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


class ClientCertificates:
    """The common name is the user, the organizations are the groups."""

    def __init__(self, authorities: AuthorityPool) -> None:
        self._authorities = authorities

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        certificate = peer_certificate(request)
        if certificate is None or not self._authorities.signed(certificate):
            return None
        name = common_name(certificate)
        groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return User(name, tuple(str(group.value) for group in groups)) if name else None


class RequestHeaders:
    """The headers of a front proxy that shows a certificate of the right authority and one of the right
    names.

    ``allowed_names`` empty: any name that the authority has signed.
    """

    def __init__(
        self,
        authorities: AuthorityPool,
        allowed_names: Sequence[str] = (),
        user_headers: Sequence[str] = ("X-Remote-User",),
        group_headers: Sequence[str] = ("X-Remote-Group",),
        extra_prefixes: Sequence[str] = ("X-Remote-Extra-",),
    ) -> None:
        self.authorities = authorities
        self.allowed_names = frozenset(allowed_names)
        self.user_headers = tuple(user_headers)
        self.group_headers = tuple(group_headers)
        self.extra_prefixes = tuple(extra_prefixes)

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        name = next((request.headers[h] for h in self.user_headers if request.headers.get(h)), "")
        if not name:
            return None
        certificate = peer_certificate(request)
        if certificate is None or not self.authorities.signed(certificate):
            return None
        if self.allowed_names and common_name(certificate) not in self.allowed_names:
            return None
        groups = [value for header in self.group_headers for value in request.headers.getall(header, [])]
        extra: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            for prefix in self.extra_prefixes:
                if key.lower().startswith(prefix.lower()):
                    extra.setdefault(unquote(key[len(prefix) :]).lower(), []).append(value)
        return User(name, tuple(groups), extra=extra)
