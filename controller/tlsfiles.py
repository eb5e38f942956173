"""A serving certificate that an administrator supplies: ``tls.crt``, ``tls.key`` and ``ca.crt`` in a
directory, usually a mounted Secret of cert-manager's."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from cryptography import x509

from apiserver.certificates import KeyPair, ServingTLS
from controller.rotation import Identity
from runtime import log

logger = log.get("controller.tlsfiles")

NAMES = ("tls.crt", "tls.key", "ca.crt")


class ProvidedFiles:
    """Reads the three files as one: kubelet replaces them by swapping a symbolic link."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seen: object = None
        self._complaint = ""

    def changed(self) -> bool:
        """Whether the files are others than those that were read last."""
        return self._state() != self._seen

    def read(self) -> Identity | None:
        """What the files hold, None if they do not (yet) belong together."""
        state = self._state()
        if state is None:
            return None
        try:
            certificate, key, ca = ((self.directory / name).read_bytes() for name in NAMES)
            pair = KeyPair(certificate, key)
            ServingTLS(pair)
            x509.load_pem_x509_certificates(ca)
        except (OSError, ssl.SSLError, ValueError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.warning("The certificate in %s does not load: %s", self.directory, error)
            return None
        if self._state() != state:  # swapped while they were read
            return None
        self._seen = state
        self._complaint = ""
        return Identity(pair, ca)

    def _state(self) -> object:
        try:
            return tuple(
                (os.path.realpath(path), (found := path.stat()).st_mtime_ns, found.st_size)
                for path in (self.directory / name for name in NAMES)
            )
        except OSError:
            return None
