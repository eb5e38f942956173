"""The serving certificate: made by ourselves and kept in a Secret, or brought by an administrator.

Self-signed (the default): a certificate for ``antrea.<namespace>.svc``. It lives in the Secret
``antrea-controller-tls``, so that restarts and other replicas present the same one; it is renewed when less
than 90 days remain. Otherwise: the files ``tls.crt``, ``tls.key`` and ``ca.crt`` that the administrator has
mounted (Antrea v2.7, "serving certificate"). New ones are taken over without a restart.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography import x509

from apiserver.certificates import KeyPair, ServingTLS, self_signed, write_private
from client.controller import server_name
from client.errors import ApiError, ConnectionFailed
from client.resources import SECRETS
from client.rest import RestClient
from runtime import log
from runtime.errors import ConfigurationError

logger = log.get("controller.certificates")

SECRET = "antrea-controller-tls"
CHECK_SECONDS = 600.0
PROVIDED_WAIT = 120.0  # for files that are mounted late
PROVIDED_DIRECTORY = "antrea-controller-tls"  # below the run directory, as the other
SELF_SIGNED_DIRECTORY = "antrea-controller-self-signed"


class _Secret(msgspec.Struct):
    data: dict[str, str] | None = None


def usable(pair: KeyPair, namespace: str) -> bool:
    """Whether a pair found in the Secret can be served: it fits, names us and is not near its end."""
    if pair.needs_renewal():
        return False
    try:
        names = pair.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ServingTLS(pair)
    except (ValueError, OSError, x509.ExtensionNotFound):
        return False
    return server_name(namespace) in names.get_values_for_type(x509.DNSName)


def make(namespace: str) -> KeyPair:
    return self_signed("antrea", ["antrea", server_name(namespace), "localhost", "127.0.0.1", "::1"])


class Certificates:
    """Obtains the pair, keeps ``tls`` serving it, and calls ``changed`` with the CA to be published."""

    def __init__(
        self, client: RestClient, namespace: str, run_dir: str | Path, is_self_signed: bool = True
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._run_dir = Path(run_dir)
        self._self_signed = is_self_signed
        self._tls: ServingTLS | None = None
        self.ca = b""  # what clients must trust, PEM
        self.changed: Callable[[bytes], None] = lambda ca: None

    async def start(self) -> ServingTLS:
        """The first pair. With the API out of reach a self-signed one is made and offered to the Secret
        later: the server can answer its probes meanwhile. Raises ConfigurationError."""
        if not self._self_signed:
            pair, ca = await self._wait_for_files()
        else:
            found = await self._from_secret()
            pair = found or await self._adopt(await asyncio.to_thread(make, self._namespace))
            ca = pair.certificate
        self._tls = ServingTLS(pair, ask_clients=True)
        self._taken(pair, ca)
        return self._tls

    async def run(self) -> None:
        """Look after renewal for ever; cancel it."""
        assert self._tls is not None
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._self_signed:
                pair = await self._from_secret()
                if pair is None:
                    mine = self._tls.pair
                    if not usable(mine, self._namespace):
                        mine = await asyncio.to_thread(make, self._namespace)
                    pair = await self._adopt(mine)
                ca = pair.certificate
            else:
                found = self._from_files()
                if found is None:
                    continue
                pair, ca = found
            if pair != self._tls.pair or ca != self.ca:
                try:
                    self._tls.reload(pair)
                except (ssl.SSLError, OSError) as error:
                    logger.warning("The new certificate does not load and the old one stays: %s", error)
                    continue
                self._taken(pair, ca)
                logger.info("Serving a new certificate")

    def _taken(self, pair: KeyPair, ca: bytes) -> None:
        self.ca = ca
        if self._self_signed:
            directory = self._run_dir / SELF_SIGNED_DIRECTORY  # where administrators of upstream look
            write_private(directory / "antrea-controller.crt", pair.certificate)
            write_private(directory / "antrea-controller.key", pair.key)
        self.changed(ca)

    async def _from_secret(self) -> KeyPair | None:
        """The pair in the Secret if it can be served."""
        place = f"Secret {self._namespace}/{SECRET}"
        try:
            body = await self._client.get(SECRETS.path(SECRET, self._namespace))
            data = msgspec.json.decode(body, type=_Secret).data or {}
            pair = KeyPair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
        except (ApiError, ConnectionFailed) as error:
            if not (isinstance(error, ApiError) and error.status == 404):
                logger.warning("Cannot read the %s: %s", place, error)
            return None
        except (KeyError, binascii.Error, msgspec.MsgspecError) as error:
            logger.warning("The %s holds no certificate: %s", place, error)
            return None
        return pair if usable(pair, self._namespace) else None

    async def _adopt(self, pair: KeyPair) -> KeyPair:
        """Store a pair of our own; if another replica was faster, its pair is the one."""
        data = {
            "tls.crt": base64.b64encode(pair.certificate).decode(),
            "tls.key": base64.b64encode(pair.key).decode(),
        }
        metadata = {"name": SECRET, "namespace": self._namespace, "labels": {"app": "antrea"}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        try:
            try:
                body = {**secret, "type": "kubernetes.io/tls"}
                await self._client.create(SECRETS.path(namespace=self._namespace), body)
            except ApiError as error:
                if error.status != 409:
                    raise
                other = await self._from_secret()
                if other is not None:
                    return other
                path = SECRETS.path(SECRET, self._namespace)
                document = msgspec.json.decode(await self._client.get(path))
                document["data"] = {**(document.get("data") or {}), **data}
                await self._client.update(path, document)
        except (ApiError, ConnectionFailed) as error:
            logger.warning(
                "Cannot keep the certificate in the Secret %s/%s: %s", self._namespace, SECRET, error
            )
        return pair

    def _from_files(self) -> tuple[KeyPair, bytes] | None:
        directory = self._run_dir / PROVIDED_DIRECTORY
        try:
            pair = KeyPair((directory / "tls.crt").read_bytes(), (directory / "tls.key").read_bytes())
            return pair, (directory / "ca.crt").read_bytes()
        except OSError:
            return None

    async def _wait_for_files(self) -> tuple[KeyPair, bytes]:
        deadline = time.monotonic() + PROVIDED_WAIT
        while True:
            found = self._from_files()
            if found is not None:
                try:
                    ServingTLS(found[0])
                    return found
                except (ssl.SSLError, OSError) as error:
                    logger.warning("The mounted certificate does not load: %s", error)
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"selfSignedCert is false, but {self._run_dir / PROVIDED_DIRECTORY} has no usable "
                    "ca.crt, tls.crt and tls.key: mount the Secret there, or set selfSignedCert to true."
                )
            await asyncio.sleep(2)
