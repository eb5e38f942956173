"""Who may use the controller's API: the cluster's own users and rules, asked through the Kubernetes API.

Four ways to be somebody: a bearer token (agents come with their service account's), the headers of the
cluster's front proxy (kube-apiserver, for everything that comes through aggregation), a client certificate of
the cluster's CA, or the loopback token in a file that only this machine's administrator can read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from apiserver.auth import AllowMasters, Authenticator, Authorizer, Decision, User
from apiserver.authentication import (
    LOOPBACK,
    AuthorityPool,
    BearerTokens,
    ClientCertificates,
    RequestHeaders,
    StaticTokens,
)
from apiserver.authorization import ReviewedAccess, access_review_spec
from apiserver.certificates import write_private
from apiserver.errors import unavailable
from apiserver.request import RequestInfo
from client.errors import ApiError, ConnectionFailed
from client.resources import CONFIG_MAPS
from client.rest import RestClient
from client.reviews import review_access, review_token
from runtime import log
from runtime.errors import ConfigurationError

logger = log.get("controller.authentication")

LOOPBACK_TOKEN = "apiserver/loopback-client-token"  # below the run directory; antctl in the Pod reads it
CONFIG_NAMESPACE, CONFIG_MAP = "kube-system", "extension-apiserver-authentication"
REFRESH_SECONDS = 60.0
RETRY_SECONDS = 2.0


class Access:
    """The authenticators and the authorizer of the server, and what must be kept up to date for them.

    ``trust`` is called with the CAs (PEM) whose client certificates the TLS handshake shall accept.
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
                self._clients.pem = Path(client_ca_file).read_bytes()
            except OSError as error:
                raise ConfigurationError(
                    f"The clientCAFile {client_ca_file} cannot be read: {error}."
                ) from error
            trust(self._clients.pem)
        self._headers = RequestHeaders(self._proxies)
        # Through aggregation everything comes with the proxy's certificate: its headers go first.
        self._token = secrets.token_urlsafe(32)
        self._token_file = Path(run_dir) / LOOPBACK_TOKEN
        self.authenticators: list[Authenticator] = [
            self._headers,
            ClientCertificates(self._clients),
            StaticTokens({self._token: LOOPBACK}),
            BearerTokens(self._review_token),
        ]
        self._complaint = ""

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
        while True:
            try:
                body = await self._client.get(CONFIG_MAPS.path(CONFIG_MAP, CONFIG_NAMESPACE))
                self._apply(msgspec.json.decode(body, type=_ConfigMap).data)
                self._complaint = ""
                wait = REFRESH_SECONDS
            except (ApiError, ConnectionFailed, msgspec.MsgspecError) as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    logger.warning("Cannot read the ConfigMap %s/%s: %s", CONFIG_NAMESPACE, CONFIG_MAP, error)
                wait = RETRY_SECONDS
            await asyncio.sleep(wait)

    def _apply(self, data: dict[str, str]) -> None:
        proxies = data.get("requestheader-client-ca-file", "").encode()
        if proxies != self._proxies.pem:
            self._proxies.pem = proxies
            self._trust(proxies)
        self._headers.allowed_names = frozenset(_names(data, "requestheader-allowed-names"))
        self._headers.user_headers = tuple(_names(data, "requestheader-username-headers")) or (
            "X-Remote-User",
        )
        self._headers.group_headers = tuple(_names(data, "requestheader-group-headers")) or (
            "X-Remote-Group",
        )
        prefixes = tuple(_names(data, "requestheader-extra-headers-prefix"))
        self._headers.extra_prefixes = prefixes or ("X-Remote-Extra-",)
        clients = data.get("client-ca-file", "").encode()
        if not self._client_ca_file and clients != self._clients.pem:
            self._clients.pem = clients
            self._trust(clients)


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


def _names(data: dict[str, str], key: str) -> list[str]:
    """A list of strings, kept in the ConfigMap as JSON text."""
    try:
        return msgspec.json.decode(data.get(key) or "[]", type=list[str])
    except msgspec.MsgspecError:
        logger.warning(
            "The key %s of ConfigMap %s/%s is not a list of names", key, CONFIG_NAMESPACE, CONFIG_MAP
        )
        return []


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
