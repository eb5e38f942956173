"""Host keys: whatever ssh-keygen makes is read, and what is none is refused in the words of Go's library."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)
from hypothesis import given
from hypothesis import strategies as st

from controller.admission.ssh_keys import KeyRefused, check

PRIVATE: dict[
    str, Callable[[], ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]
] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "nistp384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "nistp521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


def blob(kind: str) -> bytes:
    """What stands in the second column of a known_hosts line, decoded."""
    line = PRIVATE[kind]().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def strings(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def problem(key: bytes) -> str | None:
    try:
        check(key)
    except KeyRefused as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", PRIVATE)
def test_keys(kind: str) -> None:
    key = blob(kind)
    assert problem(key) is None
    assert problem(key[:-1]) == "ssh: short read"
    assert problem(key + b"x") == "ssh: trailing junk in public key"


def test_keys_in_a_token() -> None:
    point = blob("nistp256")[-65:]
    assert problem(strings(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")) is None
    assert problem(strings(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", point, b"ssh:")) is None
    assert problem(strings(b"sk-ssh-ed25519@openssh.com", bytes(32))) == "ssh: short read"


def test_a_certificate() -> None:
    authority, host = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    certificate = (
        SSHCertificateBuilder()
        .public_key(host.public_key())
        .type(SSHCertificateType.HOST)
        .key_id(b"host")
        .valid_for_all_principals()
        .valid_after(0)
        .valid_before(2**63)
        .sign(authority)
    )
    key = base64.b64decode(certificate.public_bytes().split()[1])
    assert problem(key) is None
    assert str(problem(key[:-40])).startswith("ssh: the certificate cannot be read: ")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"", "ssh: short read"),
        (b"x", "ssh: short read"),
        (b"ssh-ed25519 AAAA", "ssh: short read"),
        (strings(b"ssh-ed448", bytes(57)), "ssh: unknown key algorithm: ssh-ed448"),
        (strings(b"ssh-ed25519"), "ssh: short read"),
        (strings(b"ssh-ed25519", bytes(31)), "invalid size 31 for Ed25519 public key"),
        (strings(b"ssh-rsa", b"\x01\x00\x00\x00\x01", bytes(9)), "ssh: exponent too large"),
        (strings(b"ssh-rsa", b"\x04", bytes(9)), "ssh: incorrect exponent"),
        (strings(b"ssh-rsa", b"\x01", bytes(9)), "ssh: incorrect exponent"),
        (strings(b"ssh-dss", b"\x01" + bytes(128), b"", b"", b""), "ssh: unsupported DSA key size 1025"),
        (strings(b"ecdsa-sha2-nistp256", b"nistp999", b"\x04"), "ssh: unsupported curve"),
        (strings(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + bytes(64)), "ssh: invalid curve point"),
        (strings(b"ecdsa-sha2-nistp256", b"nistp256", b""), "ssh: invalid curve point"),
    ],
)
def test_what_is_no_key(key: bytes, expected: str) -> None:
    assert problem(key) == expected


ALGORITHMS = [b"", b"ssh-rsa", b"ssh-dss", b"ecdsa-sha2-nistp256", b"ssh-rsa-cert-v01@openssh.com"]


@given(st.sampled_from(ALGORITHMS), st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(algorithm: bytes, rest: bytes) -> None:
    problem(strings(algorithm) + rest)
