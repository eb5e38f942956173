"""Who may use the controller's API: the cluster's own users and rules, asked through the Kubernetes API.

Four ways to be somebody: a bearer token (agents come with their service account's), the headers of the
cluster's front proxy (kube-apiserver, for everything that comes through aggregation), a client certificate of
the cluster's CA, or the loopback token in a file that only this machine's administrator can read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from apiserver.auth import AllowMasters, Authenticator, Authorizer, Decision, User
from apiserver.authentication import LOOPBACK, BearerTokens, StaticTokens
from apiserver.authorization import ReviewedAccess, access_review_spec
from apiserver.certificates import write_private
from apiserver.clientcertificates import AuthorityPool, ClientCertificates, RequestHeaders
from apiserver.errors import unavailable
from apiserver.request import RequestInfo
from client.errors import ApiError, ConnectionFailed
from client.reflector import Reflector
from client.resources import CONFIG_MAPS
from client.rest import RestClient
from client.reviews import review_access, review_token
from client.watch import WatchFrame
from runtime import log
from runtime.errors import ConfigurationError

logger = log.get("controller.authentication")

LOOPBACK_TOKEN = "apiserver/loopback-client-token"  # below the run directory; antctl in the Pod reads it
FILE_SECONDS = 60.0  # between two looks at clientCAFile
CONFIG_NAMESPACE, CONFIG_MAP = "kube-system", "extension-apiserver-authentication"


class Access:
    """The authenticators and the authorizer of the server, and what must be kept up to date for them.

    ``trust`` is called with the CAs (PEM) whose client certificates the TLS handshake shall accept, where it
    does not accept all.
    """

    def __init__(
        self, client: RestClient, run_dir: str | Path, client_ca_file: str, trust: Callable[[bytes], None]
    ) -> None:
        self._client = client
        self._trust = trust
        self._client_ca_file = client_ca_file
        self._proxies = AuthorityPool()
        self._clients = AuthorityPool()
        if client_ca_file:
            try:
                self._clients.replace(Path(client_ca_file).read_bytes())
            except OSError as error:
                raise ConfigurationError(
                    f"The clientCAFile {client_ca_file} cannot be read: {error}."
                ) from error
            if self._clients.problem:
                raise ConfigurationError(f"The clientCAFile {client_ca_file}: {self._clients.problem}.")
            trust(self._clients.pem)
        self._headers = RequestHeaders(self._proxies, known=False)
        # Through aggregation everything comes with the proxy's certificate: its headers go first.
        self._token = secrets.token_urlsafe(32)
        self._token_file = Path(run_dir) / LOOPBACK_TOKEN
        self.authenticators: list[Authenticator] = [
            self._headers,
            ClientCertificates(self._clients),
            StaticTokens({self._token: LOOPBACK}),
            BearerTokens(self._review_token),
        ]

    def write_token(self) -> None:
        """For antctl in the Pod. Once the port is held: a second copy must not spoil the first one's."""
        write_private(self._token_file, self._token.encode())

    def authorizer(self, ready: Callable[[], bool]) -> Authorizer:
        return UntilReady(ready, AllowMasters(ReviewedAccess(self._review_access)))

    async def _review_token(self, token: str) -> User | None:
        try:
            user = await review_token(self._client, token)
        except (ApiError, ConnectionFailed) as error:
            logger.warning("Cannot review a token: %s", error)
            raise unavailable("The Kubernetes API cannot review tokens at the moment; try again.") from error
        if user is None:
            return None
        return User(user.username, tuple(user.groups or ()), user.uid, user.extra or {})

    async def _review_access(self, user: User, info: RequestInfo) -> Decision:
        try:
            allowed, reason = await review_access(self._client, access_review_spec(user, info))
        except (ApiError, ConnectionFailed) as error:
            logger.warning("Cannot review the access of %s: %s", user.name, error)
            raise unavailable("The Kubernetes API cannot review access at the moment; try again.") from error
        return Decision(allowed, reason)

    async def run(self) -> None:
        """Follow the cluster's word on front proxies and client CAs. Never returns; cancel it."""
        path = CONFIG_MAPS.path(namespace=CONFIG_NAMESPACE)
        reflector = Reflector(self._client, path, self, field_selector=f"metadata.name={CONFIG_MAP}")
        async with asyncio.TaskGroup() as group:
            group.create_task(reflector.run())
            if self._client_ca_file:
                group.create_task(self._follow_file(Path(self._client_ca_file)))

    async def _follow_file(self, path: Path) -> None:
        """Whoever renews the clients' CA replaces the file."""
        complaint = ""
        while True:
            await asyncio.sleep(FILE_SECONDS)
            try:
                pem = await asyncio.to_thread(path.read_bytes)
                if pem == self._clients.pem:
                    continue
                problem = AuthorityPool(pem).problem
            except OSError as error:
                problem = str(error)
            if not problem:
                self._clients.replace(pem)
                self._trust(pem)
                logger.info("The clientCAFile %s has been read again", path)
            elif problem != complaint:
                logger.warning("The clientCAFile %s is no use, what it said stands: %s", path, problem)
            complaint = problem

    # What the reflector tells. A ConfigMap that is deleted leaves what it said in force.

    async def list_started(self) -> None:
        pass

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        for item in items:
            self._read(item)

    async def list_finished(self) -> None:
        if not self._headers.known:
            logger.warning(
                "There is no ConfigMap %s/%s: nobody is believed to be a front proxy, %s",
                CONFIG_NAMESPACE,
                CONFIG_MAP,
                "clientCAFile says who is a client"
                if self._client_ca_file
                else "nor a client by certificate",
            )
            self._headers.known = True

    async def events(self, events: Sequence[WatchFrame]) -> None:
        for event in events:
            if event.type != "DELETED":
                self._read(event.object)

    def _read(self, raw: bytes | msgspec.Raw) -> None:
        try:
            self._apply(msgspec.json.decode(raw, type=_ConfigMap).data or {})
        except msgspec.MsgspecError as error:
            logger.warning("Cannot read the ConfigMap %s/%s: %s", CONFIG_NAMESPACE, CONFIG_MAP, error)

    def _apply(self, data: dict[str, str]) -> None:
        headers = self._headers
        # All lists first: with one that cannot be read, what was said before stands. Without names to hold
        # on to, anybody whom the proxies' CA has signed could speak for others.
        allowed_names = _names(data, "requestheader-allowed-names")
        user_headers = _names(data, "requestheader-username-headers")
        group_headers = _names(data, "requestheader-group-headers")
        extra_prefixes = _names(data, "requestheader-extra-headers-prefix")
        uid_headers = _names(data, "requestheader-uid-headers")
        self._replace(self._proxies, data, "requestheader-client-ca-file")
        headers.allowed_names = frozenset(allowed_names)
        headers.user_headers = user_headers or ("X-Remote-User",)
        headers.group_headers = group_headers or ("X-Remote-Group",)
        headers.extra_prefixes = extra_prefixes or ("X-Remote-Extra-",)
        headers.uid_headers = uid_headers
        if not self._client_ca_file:
            self._replace(self._clients, data, "client-ca-file")
        headers.known = True

    def _replace(self, pool: AuthorityPool, data: dict[str, str], key: str) -> None:
        pem = data.get(key, "").encode()
        if pem != pool.pem:
            pool.replace(pem)
            self._trust(pem)
            logger.info("The cluster's %s has been read", key)
            if pool.problem:
                logger.warning("%s of ConfigMap %s/%s: %s", key, CONFIG_NAMESPACE, CONFIG_MAP, pool.problem)


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] | None = None


def _names(data: dict[str, str], key: str) -> tuple[str, ...]:
    """A list of strings, kept in the ConfigMap as JSON text. Raises MsgspecError."""
    try:
        return msgspec.json.decode(data.get(key) or "[]", type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise msgspec.MsgspecError(f"the key {key} is not a list of names ({error})") from error


class UntilReady:
    """Turns away what would be answered from an incomplete state: 503 until everything is computed.

    An agent that is turned away keeps what it has and comes back; one that was shown half of the policies
    would take the others out of force.
    """

    GROUPS = ("controlplane.antrea.io", "stats.antrea.io")

    def __init__(self, ready: Callable[[], bool], then: Authorizer) -> None:
        self._ready = ready
        self._then = then

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        decision = await self._then.authorize(user, info)
        concerned = info.group in self.GROUPS if info.is_resource else info.path == "/agentwatch"
        if decision.allowed and concerned and not self._ready():
            raise unavailable("antrea-controller is still computing its first state; try again.")
        return decision
