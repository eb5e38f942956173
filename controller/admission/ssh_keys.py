"""Public keys of SSH servers, in the wire format of RFC 4253 §6.6.

Antrea's agents hand the key to Go's SSH library (golang.org/x/crypto/ssh); what it would not read is refused,
in its words.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_identity

_SHORT: Final = "ssh: short read"
_CERTIFICATE: Final = b"-cert-v01@openssh.com"


class KeyRefused(ValueError):
    """The bytes are no public key; the text says why."""


class _Reader:
    """Fields of the wire format: each has its length before it, 4 bytes."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def string(self) -> bytes:
        if len(self.rest) < 4:
            raise KeyRefused(_SHORT)
        length = int.from_bytes(self.rest[:4])
        if len(self.rest) - 4 < length:
            raise KeyRefused(_SHORT)
        value, self.rest = self.rest[4 : 4 + length], self.rest[4 + length :]
        return value

    def number(self) -> int:
        return int.from_bytes(self.string(), signed=True)


def check(key: bytes) -> None:
    """Raises KeyRefused."""
    reader = _Reader(key)
    algorithm = reader.string()
    if algorithm.endswith(_CERTIFICATE):
        _certificate(algorithm, key)
        return
    read = _ALGORITHMS.get(algorithm)
    if read is None:
        raise KeyRefused(f"ssh: unknown key algorithm: {algorithm[:100].decode('utf-8', 'replace')}")
    read(reader)
    if reader.rest:
        raise KeyRefused("ssh: trailing junk in public key")


def _rsa(reader: _Reader) -> None:
    exponent, _ = reader.number(), reader.number()
    if exponent.bit_length() > 24:
        raise KeyRefused("ssh: exponent too large")
    if exponent < 3 or exponent % 2 == 0:
        raise KeyRefused("ssh: incorrect exponent")


def _dsa(reader: _Reader) -> None:
    prime, _, _, _ = reader.number(), reader.number(), reader.number(), reader.number()
    if prime.bit_length() != 1024:
        raise KeyRefused(f"ssh: unsupported DSA key size {prime.bit_length()}")


_CURVES: Final[Mapping[bytes, ec.EllipticCurve]] = {
    b"nistp256": ec.SECP256R1(),
    b"nistp384": ec.SECP384R1(),
    b"nistp521": ec.SECP521R1(),
}


def _ecdsa(reader: _Reader) -> None:
    curve, point = _CURVES.get(reader.string()), reader.string()
    if curve is None:
        raise KeyRefused("ssh: unsupported curve")
    _on_curve(curve, point)


def _on_curve(curve: ec.EllipticCurve, point: bytes) -> None:
    try:
        if point[:1] != b"\x04":  # compressed points are not in use
            raise ValueError
        ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise KeyRefused("ssh: invalid curve point") from None


def _ed25519(reader: _Reader) -> None:
    size = len(reader.string())
    if size != 32:
        raise KeyRefused(f"invalid size {size} for Ed25519 public key")


def _security_key(then: Callable[[_Reader], None]) -> Callable[[_Reader], None]:
    """A key in a hardware token has the application's name after it."""

    def read(reader: _Reader) -> None:
        then(reader)
        reader.string()

    return read


_ALGORITHMS: Final[Mapping[bytes, Callable[[_Reader], None]]] = {
    b"ssh-rsa": _rsa,
    b"ssh-dss": _dsa,
    b"ssh-ed25519": _ed25519,
    **{b"ecdsa-sha2-" + curve: _ecdsa for curve in _CURVES},
    b"sk-ssh-ed25519@openssh.com": _security_key(_ed25519),
    b"sk-ecdsa-sha2-nistp256@openssh.com": _security_key(_ecdsa),
}


def _certificate(algorithm: bytes, key: bytes) -> None:
    try:
        load_ssh_public_identity(algorithm + b" " + base64.b64encode(key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused(f"ssh: the certificate cannot be read: {error}") from None
