"""The cluster's keys and certificates, made once and kept in the state directory.

    ca.crt ca.key                    signs serving and client certificates
    serving.crt serving.key          made anew when the addresses change or the end is near
    front-proxy-ca.crt .key          signs the certificate with which the API calls aggregated servers
    front-proxy-client.crt .key
    sa.key                           signs service-account tokens
    admin.token                      the bearer token of the cluster's administrator

EC keys (P-256) throughout: made in under a millisecond. Private files are 0600.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import pathlib
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR = datetime.timedelta(days=365)
_MARGIN = datetime.timedelta(days=30)


def write_private(path: pathlib.Path, data: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _load_key(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds no EC key: remove it, and a new one is made at the next start")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Authority:
    """A certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return _pem(self.certificate)

    @staticmethod
    def ensure(folder: pathlib.Path, name: str, common_name: str) -> Authority:
        """The authority kept in NAME.crt and NAME.key, made if it is not there."""
        certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
        if certificate_path.exists() and key_path.exists():
            return Authority(
                x509.load_pem_x509_certificate(certificate_path.read_bytes()), _load_key(key_path)
            )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + 10 * _YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(key_path, _key_pem(key))
        certificate_path.write_bytes(_pem(certificate))
        return Authority(certificate, key)

    def issue(
        self,
        common_name: str,
        organizations: Sequence[str] = (),
        names: Sequence[str] = (),
        *,
        server: bool = False,
        valid: datetime.timedelta = _YEAR,
    ) -> tuple[bytes, bytes]:
        """Certificate and key as PEM. ``names`` are DNS names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        now = datetime.datetime.now(datetime.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(attributes))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(n) for n in names]), critical=False
            )
        return _pem(builder.sign(self.key, hashes.SHA256())), _key_pem(key)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@dataclass(frozen=True)
class ClusterKeys:
    """Everything above, loaded."""

    folder: pathlib.Path
    authority: Authority
    front_proxy: Authority
    service_accounts: ec.EllipticCurvePrivateKey
    admin_token: str

    @staticmethod
    def ensure(folder: pathlib.Path) -> ClusterKeys:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority = Authority.ensure(folder, "ca", "antrea-lab-ca")
        front_proxy = Authority.ensure(folder, "front-proxy-ca", "antrea-lab-front-proxy-ca")
        signing = folder / "sa.key"
        if not signing.exists():
            write_private(signing, _key_pem(ec.generate_private_key(ec.SECP256R1())))
        token = folder / "admin.token"
        if not token.exists():
            write_private(token, secrets.token_urlsafe(32).encode())
        _ensure_pair(folder, "front-proxy-client", front_proxy, "front-proxy-client", (), server=False)
        return ClusterKeys(folder, authority, front_proxy, _load_key(signing), token.read_text().strip())

    def serving_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """TLS for the listening sockets: our certificate, and client certificates of our CA if offered."""
        _ensure_pair(self.folder, "serving", self.authority, "kube-apiserver", tuple(names), server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.folder / "serving.crt", self.folder / "serving.key")
        context.load_verify_locations(cadata=self.authority.pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context


def _ensure_pair(
    folder: pathlib.Path,
    name: str,
    authority: Authority,
    subject: str,
    names: tuple[str, ...],
    *,
    server: bool,
) -> None:
    """Keeps NAME.crt and NAME.key while they are valid, of this authority, and for these names."""
    certificate_path, key_path, mark = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.for"
    wanted = hashlib.sha256(repr((sorted(names), authority.pem)).encode()).hexdigest()
    if certificate_path.exists() and key_path.exists() and mark.exists() and mark.read_text() == wanted:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        if certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > _MARGIN:
            return
    certificate_pem, key_pem = authority.issue(subject, names=names, server=server)
    write_private(key_path, key_pem)
    certificate_path.write_bytes(certificate_pem)
    mark.write_text(wanted)
