"""The serving certificate: made by ourselves and kept in a Secret, or brought by an administrator.

Self-signed (the default): a certificate for ``antrea.<namespace>.svc``. It lives in the Secret
``antrea-controller-tls``, so that restarts and other replicas present the same one; it is replaced when less
than 90 days remain, and on SIGHUP. Otherwise: the files ``tls.crt``, ``tls.key`` and ``ca.crt`` that the
administrator has mounted (Antrea v2.7, "serving certificate"). New ones are taken over without a restart.

A new certificate is served only when what clients must trust for it has been published everywhere for some
seconds, together with what they must trust for the old one (controller.rotation).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from apiserver.certificates import KeyPair, ServingTLS, self_signed, write_private
from client.controller import server_name
from client.errors import ApiError, ConnectionFailed
from client.reflector import Reflector
from client.resources import SECRETS
from client.rest import RestClient
from controller.rotation import Identity, Stock, contains, joined
from controller.tlsfiles import ProvidedFiles
from controller.tlssecret import SECRET, Conflict, Loaded, SecretKeeper
from controller.wake import Wake
from runtime import log
from runtime.backoff import Backoff
from runtime.errors import ConfigurationError
from runtime.tasks import Supervisor

logger = log.get("controller.certificates")

CHECK_SECONDS = 600.0
ATTEMPTS = 5  # at the Secret, while others write it
RECHECK_SECONDS = 1.0  # while a new certificate waits to be served
FILES_SECONDS = 2.0  # between two looks at mounted files
PROVIDED_WAIT = 120.0  # for files that are mounted late
PROVIDED_DIRECTORY = "antrea-controller-tls"  # below the run directory, as the other
SELF_SIGNED_DIRECTORY = "antrea-controller-self-signed"

SETTLE_SECONDS = 5.0
"""Between "published everywhere" and "served": API servers learn of it by watches of their own."""

OVERLAP_SECONDS = 600.0
"""How long the old CA stays published: a replica that was stopped may serve the old certificate meanwhile."""

URGENT = timedelta(days=7)
"""With less than this left of the served certificate the new one is served though not all is published."""

Publish = Callable[[bytes], Awaitable[bool]]
"""Publishes a bundle; whether it is everywhere now."""


def usable(pair: KeyPair, namespace: str) -> bool:
    """Whether a pair can be served at all: it fits, names us and has not ended."""
    try:
        names = pair.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ServingTLS(pair)
    except (ValueError, IndexError, OSError, x509.ExtensionNotFound):
        return False
    is_ours = server_name(namespace) in names.get_values_for_type(x509.DNSName)
    return is_ours and Identity(pair, b"").remaining() > timedelta()


def make(namespace: str) -> Identity:
    names = ["antrea", server_name(namespace), "localhost", "127.0.0.1", "::1"]
    pair = self_signed("antrea", names)
    return Identity(pair, pair.certificate)


class Certificates:
    """Obtains the certificate, keeps ``tls`` serving it, and has published what clients must trust."""

    def __init__(
        self, client: RestClient, namespace: str, run_dir: str | Path, is_self_signed: bool = True
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._run_dir = Path(run_dir)
        self._secret = SecretKeeper(client, namespace) if is_self_signed else None
        self._files = ProvidedFiles(self._run_dir / PROVIDED_DIRECTORY)
        self._tls: ServingTLS
        self._stock: Stock
        self._serving: Identity
        self._overlap: tuple[bytes, float] | None = None  # a previous one, and when it was first seen
        self._published: dict[bytes, float] = {}  # since when, by what must be trusted
        self._complete = b""  # the bundle that was published everywhere last
        self._wake = asyncio.Event()
        self._rotate = False
        self._memory_until = float("-inf")  # the Secret may not be used: it is tried again then
        self.publish: Publish | None = None

    @property
    def bundle(self) -> bytes:
        """What is to be published now: the stock's, and that of a certificate which is still served."""
        return joined(self._stock.bundle, self._serving.ca)

    async def start(self) -> ServingTLS:
        """The first certificate. With the API out of reach a self-signed one is made, and offered to the
        Secret later: the server can answer its probes meanwhile. Raises ConfigurationError."""
        if self._secret is None:
            self._stock = Stock(await self._wait_for_files())
        else:
            found: Stock | None = None
            try:
                found, _ = await self._load(None)
            except (ApiError, ConnectionFailed, Conflict) as error:
                logger.warning("The %s cannot be used yet: %s", self._secret.place, error)
            self._stock = found or await self._made()
        self._tls = ServingTLS(self._stock.current.pair, ask_clients=True)
        self._served(self._stock.current)
        return self._tls

    def rotate(self) -> None:
        """Make and serve another one soon (or look at the files at once): for SIGHUP."""
        self._rotate = True
        self._wake.set()

    def look_after(self, supervisor: Supervisor) -> None:
        """Renew it for as long as the supervisor lives."""
        supervisor.start("certificates", self.run)
        if self._secret is not None:
            path = SECRETS.path(namespace=self._namespace)
            reflector = Reflector(
                self._client, path, Wake(self._wake), field_selector=f"metadata.name={SECRET}"
            )
            supervisor.start(f"watch-{SECRET}", reflector.run)

    # The loop.

    async def run(self) -> None:
        """Look after renewal for ever; cancel it."""
        backoff = Backoff(initial=0.5, maximum=30)
        complaint = ""
        while True:
            self._wake.clear()
            try:
                wait = await self._step()
                backoff.reset()
                complaint = ""
            except Conflict:
                continue  # another replica took the step: look at what it did
            except (ApiError, ConnectionFailed, ssl.SSLError, OSError) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    logger.warning("The serving certificate cannot be looked after: %s", error)
                wait = backoff.next()
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                pass

    async def fresh_bundle(self) -> bytes:
        """The bundle by the newest state of the Secret, before anything that is published is overwritten."""
        if self._secret is not None and not self._in_memory:
            try:
                stock = (await self._secret.load()).stock
            except (ApiError, ConnectionFailed):
                return self.bundle  # then nothing newer is known
            if stock is not None and stock != self._stock:
                self._wake.set()
                if usable(stock.current.pair, self._namespace):
                    return joined(stock.bundle, self._serving.ca)
        return self.bundle

    async def _step(self) -> float:
        """One step of a rotation, if one is due; seconds until the next look."""
        instead = Loaded()
        if self._secret is None:
            self._take_files()
        else:
            found, instead = await self._load(self._stock)
            self._stock = found or self._stock
        await self._announce()
        stock, now = self._stock, time.time()
        if stock.current != self._serving:  # another replica, or somebody else, has replaced it
            by_the_book = bool(stock.previous) and contains(stock.previous, [self._serving.ca])
            if by_the_book or await self._may_serve(stock.current):
                self._serve(stock.current)
                return 0.0
            return RECHECK_SECONDS
        if stock.next is not None:
            self._rotate = False
            if await self._may_serve(stock.next):
                await self._save(stock.promoted(now), instead)
                self._serve(stock.next)
                return 0.0
            return RECHECK_SECONDS
        if self._secret is not None and (self._rotate or stock.current.pair.needs_renewal()):
            logger.info("A new certificate is made; it is served once all clients can trust it")
            fresh = await asyncio.to_thread(make, self._namespace)
            await self._save(stock.prepared(fresh, now), instead)
            self._rotate = False
            return 0.0
        self._rotate = False
        if stock.previous:
            left = OVERLAP_SECONDS - self._overlapped(stock, now)
            if left <= 0:
                await self._save(stock.settled(now), instead)
                return 0.0
            if self._secret is not None:
                return min(left, OVERLAP_SECONDS) + 1.0
        return FILES_SECONDS if self._secret is None else CHECK_SECONDS

    def _overlapped(self, stock: Stock, now: float) -> float:
        """Seconds for which there has been a previous certificate: what the Secret says, or what this process
        has seen of it, because a clock may have been set back since."""
        if self._overlap is None or self._overlap[0] != stock.previous:
            self._overlap = (stock.previous, time.monotonic())
        return max(time.monotonic() - self._overlap[1], now - stock.since)

    # What is published.

    async def _announce(self, again: bool = False) -> bool:
        """Have the bundle published, and note since when all of it is; whether it is."""
        bundle = self.bundle
        if bundle == self._complete and not again:
            return True
        if self.publish is None or not await self.publish(bundle):
            self._complete = b""
            return False
        self._complete = bundle
        now = time.monotonic()
        self._published = {
            part: self._published.get(part, now)
            for part in (self._serving.ca, self._stock.current.ca, self._stock.next and self._stock.next.ca)
            if part and contains(bundle, [part])
        }
        return True

    async def _may_serve(self, identity: Identity) -> bool:
        since = self._published.get(identity.ca)
        if since is not None and time.monotonic() - since >= SETTLE_SECONDS:
            return await self._announce(again=True)  # nobody has undone it
        if self._serving.remaining() < URGENT:
            logger.warning("The served certificate is about to end: the new one is served at once")
            return True
        return False

    # What is kept.

    @property
    def _in_memory(self) -> bool:
        return time.monotonic() < self._memory_until

    async def _load(self, mine: Stock | None) -> tuple[Stock | None, Loaded]:
        """The Secret's state; if it has none that can be served, it gets mine, or a new one. None where the
        Secret may not be used. Raises Conflict, ApiError, ConnectionFailed."""
        assert self._secret is not None
        for _ in range(ATTEMPTS):
            if self._in_memory:
                return None, Loaded()
            try:
                loaded = await self._secret.load()
                stock = loaded.stock
                if stock is not None and usable(stock.current.pair, self._namespace):
                    if stock.next is not None and not usable(stock.next.pair, self._namespace):
                        stock = stock.abandoned()
                    return stock, loaded
                if mine is None or not usable(mine.current.pair, self._namespace):
                    mine = await self._made()
                await self._secret.save(mine, loaded)
            except ApiError as error:
                self._keep_in_memory(error)
            except Conflict:
                pass
            # Load what was saved, by us or somebody else, for its version.
        raise Conflict

    async def _made(self) -> Stock:
        return Stock(await asyncio.to_thread(make, self._namespace))

    async def _save(self, stock: Stock, instead: Loaded) -> None:
        """Raises Conflict, ApiError, ConnectionFailed."""
        if self._secret is not None and not self._in_memory:
            try:
                await self._secret.save(stock, instead)
            except ApiError as error:
                self._keep_in_memory(error)
        self._stock = stock

    def _keep_in_memory(self, error: ApiError) -> None:
        if error.status not in (403, 404):
            raise error
        logger.warning("The certificate is kept in memory only, replicas would not share it: %s", error)
        self._memory_until = time.monotonic() + CHECK_SECONDS

    def _take_files(self) -> None:
        if self._files.changed() and (found := self._files.read()) is not None:
            if found != self._stock.current:
                self._stock = self._stock.prepared(found, time.time())
            else:
                self._stock = self._stock.abandoned()

    # What is served.

    def _serve(self, identity: Identity) -> None:
        self._tls.reload(identity.pair)
        self._served(identity)
        logger.info("Serving a new certificate")

    def _served(self, identity: Identity) -> None:
        self._serving = identity
        if self._secret is not None:
            directory = self._run_dir / SELF_SIGNED_DIRECTORY  # where administrators of upstream look
            write_private(directory / "antrea-controller.crt", identity.pair.certificate)
            write_private(directory / "antrea-controller.key", identity.pair.key)

    async def _wait_for_files(self) -> Identity:
        deadline = time.monotonic() + PROVIDED_WAIT
        while (found := self._files.read()) is None:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"selfSignedCert is false, but {self._files.directory} has no usable ca.crt, tls.crt and "
                    "tls.key: mount the Secret there, or set selfSignedCert to true."
                )
            await asyncio.sleep(FILES_SECONDS)
        return found
