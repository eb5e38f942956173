"""A certificate authority of one's own, serving certificates signed by it, and TLS contexts that reload.

Recipe of Antrea's controller: the leaf lasts a year from an hour ago, is renewed with 90 days left, and the
bundle that clients verify against is leaf and CA. Keys are ECDSA P-256: an RSA key of 2048 bits takes half a
second.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.handshake import accept_any

LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (PEM, possibly a chain) and its key (PEM)."""

    certificate: bytes
    key: bytes

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates(self.certificate)[0]

    def needs_renewal(self, now: datetime | None = None) -> bool:
        """Whether less than 90 days are left. A certificate that cannot be read needs renewal too."""
        try:
            ends = self.leaf.not_valid_after_utc
        except (ValueError, IndexError):
            return True
        return (now or datetime.now(UTC)) > ends - RENEW_BEFORE


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(subject: x509.Name, issuer: x509.Name, lifetime: timedelta) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def create_authority(common_name: str, lifetime: timedelta = LIFETIME) -> KeyPair:
    """A self-signed CA; the name gets the time appended, so that two CAs are never mistaken for each
    other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{common_name}@{int(time.time())}")
    certificate = (
        _builder(subject, subject, lifetime)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def issue(
    authority: KeyPair,
    common_name: str,
    *,
    names: Sequence[str] = (),
    organizations: Sequence[str] = (),
    client: bool = False,
    lifetime: timedelta = LIFETIME,
) -> KeyPair:
    """A certificate signed by the authority; the chain ends with the authority's own certificate.

    ``names`` are DNS names and addresses (serving certificates); ``organizations`` become groups of a client.
    """
    issuer = authority.leaf
    signing_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        _builder(_name(common_name, organizations), issuer.subject, lifetime)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(list(map(_alternative, names))), critical=False
        )
    certificate = builder.sign(signing_key, hashes.SHA256())
    chain = certificate.public_bytes(serialization.Encoding.PEM) + authority.certificate
    return KeyPair(chain, _key_pem(key))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def self_signed(common_name: str, names: Sequence[str]) -> KeyPair:
    """A fresh authority and a serving certificate by it. The authority's key is thrown away."""
    return issue(create_authority(f"{common_name}-ca"), f"{common_name}@{int(time.time())}", names=names)


def write_private(path: Path, data: bytes) -> None:
    """Writes a file of mode 0600, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


class ServingTLS:
    """A server's TLS context. ``reload`` changes the certificate for connections that come later; those that
    are open keep theirs.

    ``ask_clients``: clients are asked for a certificate, and any is taken (apiserver.handshake). Where that
    cannot be had, the handshake accepts certificates of ``trust_clients`` only, and ``takes_any`` is False.
    """

    def __init__(self, pair: KeyPair, client_authorities: bytes = b"", *, ask_clients: bool = False) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        # A resumed session would come without the intermediates of the client's chain.
        self.context.num_tickets = 0
        self.context.options |= ssl.OP_NO_TICKET
        self.pair = pair
        self.reload(pair)
        self.takes_any = (ask_clients or bool(client_authorities)) and accept_any(self.context)
        self.trust_clients(client_authorities)

    def reload(self, pair: KeyPair) -> None:
        """Takes another certificate. Raises ssl.SSLError or OSError when the pair does not fit together; then
        the old one stays in use."""
        # The ssl module reads certificates from files only; a directory of mode 0700 holds them meanwhile.
        with tempfile.TemporaryDirectory(prefix="antrea-tls-") as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            write_private(certificate, pair.certificate)
            write_private(key, pair.key)
            self.context.load_cert_chain(certificate, key)
        self.pair = pair

    def trust_clients(self, authorities: bytes) -> None:
        """Accepts client certificates of these CAs (PEM) in the handshake, where not all are taken anyway.
        Which CA makes whom what is for the authenticators to say."""
        if not self.takes_any and authorities.strip():
            with contextlib.suppress(ssl.SSLError):
                self.context.load_verify_locations(cadata=authorities.decode())
            self.context.verify_mode = ssl.CERT_OPTIONAL
