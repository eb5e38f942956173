"""Where the controller was, for an agent that is restarted while the Kubernetes API is away.

What the locator finds out (the CA, which is public, and the addresses) is kept in the agent's run directory.
A file that cannot be read, or says nothing usable, is named and does without.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import msgspec

from apiserver.certificates import write_private
from client.controller import Whereabouts
from client.endpoint import tls_context
from runtime import log

logger = log.get(__name__)

MAX_FILE = 1 << 20  # bytes
MAX_ADDRESSES = 64


class _File(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    namespace: str
    ca: str
    addresses: list[str]


class KnownController:
    """The file. ``namespace`` is the controller's: what was known of another one is of no use."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._path = path
        self._namespace = namespace

    def load(self) -> Whereabouts | None:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
            if len(content) > MAX_FILE:
                raise ValueError(f"it has more than {MAX_FILE} bytes")
            found = msgspec.json.decode(content, type=_File)
            if found.namespace != self._namespace:
                return None
            return _checked(found)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            logger.warning(
                "What %s says of the controller is ignored: %s. The Kubernetes API will be asked",
                self._path,
                error,
            )
            return None

    def save(self, known: Whereabouts) -> None:
        document = _File(self._namespace, known.ca, list(known.addresses[:MAX_ADDRESSES]))
        try:
            write_private(self._path, msgspec.json.encode(document))
        except OSError as error:
            logger.error(
                "%s cannot be written: %s. A restart without the Kubernetes API will look for the controller "
                "where it was before",
                self._path,
                error,
            )


def _checked(found: _File) -> Whereabouts:
    """Raises ValueError."""
    try:
        if not found.ca.strip():
            raise ValueError("it holds no certificate")
        tls_context(ca_data=found.ca)
    except (ssl.SSLError, TypeError) as error:
        raise ValueError(f"its certificate cannot be used: {error}") from error
    if len(found.addresses) > MAX_ADDRESSES:
        raise ValueError(f"it holds more than {MAX_ADDRESSES} addresses")
    for address in found.addresses:
        host, _, port = address.rpartition(":")
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{address!r} has no port")
    return Whereabouts(found.ca, tuple(found.addresses))
