"""Authenticators by client certificate: users of a client CA, and the front proxy with its headers.

The TLS handshake accepts any certificate (apiserver.handshake); here each authenticator verifies it against
the authorities that count for it, and for nothing else: chain, dates, and that it is meant for clients
(RFC 5280; Kubernetes, "X509 client certificates" and "Configure the Aggregation Layer"). A certificate that
does not pass is no credential; the request goes on with its other ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.auth import User
from apiserver.errors import unavailable
from apiserver.expiring import Expiring

VERDICT_SECONDS = 10.0
_MAX_VERDICTS = 1024
_MAX_INTERMEDIATES = 8
_CLIENT_USAGES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}

Chain = tuple[bytes, ...]
"""What a client has sent: its certificate and intermediates, DER."""


def _for_clients(_policy: object, _certificate: x509.Certificate, usage: object) -> None:
    if isinstance(usage, x509.ExtendedKeyUsage) and not _CLIENT_USAGES & set(usage):
        raise ValueError("the certificate is not meant for clients")


def _may_sign(_policy: object, _certificate: x509.Certificate, usage: object) -> None:
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        raise ValueError("the certificate may not sign others")


# What Kubernetes demands, which is less than the profile of the public web: no alternative names, no key
# identifiers. Usages of an authority bind what is below it.
_ANY = verification.Criticality.AGNOSTIC
_AUTHORITIES = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, _ANY, None)
    .may_be_present(x509.KeyUsage, _ANY, _may_sign)
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _for_clients)
)
_LEAVES = verification.ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, _ANY, _for_clients)


class AuthorityPool:
    """A replaceable bundle of certificate authorities (PEM), each of which is trusted by itself."""

    def __init__(self, pem: bytes = b"") -> None:
        self._verdicts: Expiring[Chain, x509.Certificate | ValueError] = Expiring(
            _MAX_VERDICTS, VERDICT_SECONDS
        )
        self.problem = ""
        self.replace(pem)

    def replace(self, pem: bytes) -> None:
        """Other authorities from now on. A bundle that cannot be read is an empty one, with a ``problem``."""
        self.pem = pem
        self.problem = ""
        self._verdicts.clear()
        self._store: verification.Store | None = None
        if pem.strip():
            try:
                self._store = verification.Store(x509.load_pem_x509_certificates(pem))
            except ValueError as error:
                self.problem = f"the bundle of authorities cannot be read: {error}"

    def verified(self, chain: Chain) -> x509.Certificate | None:
        """The client's certificate if one of the authorities vouches for it now, as a client's."""
        if not chain or self._store is None:
            return None
        key = tuple(hashlib.sha256(part).digest() for part in chain)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verify(chain, self._store)
            self._verdicts.put(key, verdict)
        return verdict if isinstance(verdict, x509.Certificate) else None

    @staticmethod
    def _verify(chain: Chain, store: verification.Store) -> x509.Certificate | ValueError:
        builder = verification.PolicyBuilder().store(store)
        builder = builder.extension_policies(ca_policy=_AUTHORITIES, ee_policy=_LEAVES)
        try:
            leaf, *others = (x509.load_der_x509_certificate(part) for part in chain)
            builder.build_client_verifier().verify(leaf, others)
        except (ValueError, verification.VerificationError) as error:
            return ValueError(str(error))
        return leaf


def peer_chain(request: web.BaseRequest) -> Chain:
    """The certificates that the client has sent in the handshake, its own first; unverified."""
    transport = request.transport
    ssl_object = transport.get_extra_info("ssl_object") if transport is not None else None
    if ssl_object is None:
        return ()
    leaf = ssl_object.getpeercert(binary_form=True)
    if not leaf:
        return ()
    return (leaf, *_intermediates(ssl_object, leaf))


def _intermediates(ssl_object: object, leaf: bytes) -> list[bytes]:
    """Public since Python 3.13, an internal of the ssl module before."""
    source = (
        ssl_object if hasattr(ssl_object, "get_unverified_chain") else getattr(ssl_object, "_sslobj", None)
    )
    sent = source.get_unverified_chain() if hasattr(source, "get_unverified_chain") else None
    found: list[bytes] = []
    for part in sent or ():
        der = part if isinstance(part, bytes) else part.public_bytes(_DER)
        if der != leaf and len(found) < _MAX_INTERMEDIATES:
            found.append(der)
    return found


_DER = 2  # _ssl.ENCODING_DER


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


class ClientCertificates:
    """The common name is the user, the organizations are the groups."""

    def __init__(self, authorities: AuthorityPool) -> None:
        self._authorities = authorities

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        certificate = self._authorities.verified(peer_chain(request))
        if certificate is None:
            return None
        name = common_name(certificate)
        groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return User(name, tuple(str(group.value) for group in groups)) if name else None


class RequestHeaders:
    """The headers of a front proxy that shows a certificate of the right authority and one of the right
    names. From anybody else they mean nothing.

    ``allowed_names`` empty: any name that the authority has signed. ``known`` False: the authorities are
    still to be learned, and whoever may be a proxy is asked to come again.
    """

    def __init__(
        self,
        authorities: AuthorityPool,
        allowed_names: Sequence[str] = (),
        user_headers: Sequence[str] = ("X-Remote-User",),
        group_headers: Sequence[str] = ("X-Remote-Group",),
        extra_prefixes: Sequence[str] = ("X-Remote-Extra-",),
        uid_headers: Sequence[str] = (),
        known: bool = True,
    ) -> None:
        self.authorities = authorities
        self.allowed_names = frozenset(allowed_names)
        self.user_headers = tuple(user_headers)
        self.group_headers = tuple(group_headers)
        self.extra_prefixes = tuple(extra_prefixes)
        self.uid_headers = tuple(uid_headers)
        self.known = known

    async def authenticate(self, request: web.BaseRequest) -> User | None:
        name = _first(request, self.user_headers)
        if not name:
            return None
        chain = peer_chain(request)
        if chain and not self.known:
            raise unavailable("The cluster's front proxies are not known yet; try again.")
        certificate = self.authorities.verified(chain)
        if certificate is None:
            return None
        if self.allowed_names and common_name(certificate) not in self.allowed_names:
            return None
        groups = [value for header in self.group_headers for value in request.headers.getall(header, [])]
        extra: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            for prefix in self.extra_prefixes:
                if key.lower().startswith(prefix.lower()):
                    extra.setdefault(unquote(key[len(prefix) :]).lower(), []).append(value)
        return User(name, tuple(groups), _first(request, self.uid_headers), extra)


def _first(request: web.BaseRequest, headers: Sequence[str]) -> str:
    return next((request.headers[name] for name in headers if request.headers.get(name)), "")
