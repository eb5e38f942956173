"""The keys tlsMinVersion and tlsCipherSuites: Go's names, as configuration files have them, for OpenSSL."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence

from runtime.errors import ConfigurationError

VERSIONS = {
    "VersionTLS10": ssl.TLSVersion.TLSv1_2,  # older ones are not offered any more
    "VersionTLS11": ssl.TLSVersion.TLSv1_2,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}

# Suites of TLS 1.3 cannot be chosen in Go either; naming them is allowed and changes nothing.
TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

_NAME = re.compile(
    r"TLS_(?:(?P<exchange>ECDHE_(?:RSA|ECDSA))|RSA)_WITH_"
    r"(?P<cipher>AES_(?:128|256)_(?:GCM|CBC)|CHACHA20_POLY1305)(?:_(?P<digest>SHA|SHA256|SHA384))?"
)


def minimum_version(name: str, source: str) -> ssl.TLSVersion | None:
    """The version of a tlsMinVersion, None for the default. Raises ConfigurationError."""
    if not name:
        return None
    if name not in VERSIONS:
        raise ConfigurationError(
            f"The value of tlsMinVersion in {source} is {name!r}: write one of {', '.join(VERSIONS)}."
        )
    return VERSIONS[name]


def cipher_suites(names: str, source: str) -> list[str]:
    """OpenSSL's names of a comma-separated tlsCipherSuites; empty for the default. Raises
    ConfigurationError for a name that is none, or one that this machine's OpenSSL does not have."""
    found = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name in TLS13:
            continue
        translated = _translate(name)
        if translated is None or not _known(translated):
            raise ConfigurationError(
                f"tlsCipherSuites in {source} names {name!r}, which is no cipher suite that can be served: "
                "remove it or correct its spelling."
            )
        found.append(translated)
    return found


def apply(context: ssl.SSLContext, minimum: ssl.TLSVersion | None, suites: Sequence[str]) -> None:
    if minimum is not None:
        context.minimum_version = minimum
    if suites:
        context.set_ciphers(":".join(suites))


def _translate(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    cipher = match["cipher"].replace("AES_", "AES").replace("_CBC", "").replace("_", "-")
    parts = [match["exchange"].replace("_", "-")] if match["exchange"] else []
    parts.append(cipher)
    if match["digest"] and "CHACHA20" not in cipher:
        parts.append(match["digest"])
    return "-".join(parts)


def _known(name: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(name)
    except ssl.SSLError:
        return False
    return True
