"""The HTTPS server of the agent's local API.

It listens on every address of the node, as upstream's does: kubelet, Prometheus and ``antctl proxy`` come
from elsewhere, and so can any Pod. Who may: the loopback token in a file that only this machine's
administrator can read (antctl in agent mode; new at each start), else whom the Kubernetes API lets, asked by
TokenReview and SubjectAccessReview on the path. Whoever shows no credentials is refused without asking,
whatever roles the cluster gives to everybody; only the health paths are open, as kubelet needs. The
certificate is self-signed and new at each start; it is published in the node's AntreaAgentInfo.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable
from pathlib import Path

from apiserver.auth import ANONYMOUS, AllowMasters, Authorizer, Decision, User
from apiserver.authentication import LOOPBACK, BearerTokens, StaticTokens
from apiserver.authorization import ReviewedAccess, access_review_spec
from apiserver.certificates import ServingTLS, self_signed, write_private
from apiserver.errors import unavailable
from apiserver.listener import Limits, Listener
from apiserver.request import RequestInfo
from apiserver.server import ApiServer
from client.errors import ApiError, ConnectionFailed
from client.rest import RestClient
from client.reviews import review_access, review_token
from runtime import log, version

logger = log.get(__name__)

ALWAYS_ALLOWED = ("/healthz", "/livez", "/readyz")
# Kubelet, Prometheus, a few people: nobody of them needs more, and the node's memory is for its Pods.
LIMITS = Limits(connections=512, connections_per_peer=128, handshakes=128, handshakes_per_peer=32)


class RefuseAnonymous:
    """Refuses whoever has shown no credentials, and asks ``then`` about the others.

    Strangers then cost the Kubernetes API nothing, and a role that a cluster binds to
    system:unauthenticated (Kubernetes' own system:public-info-viewer is one) opens nothing on the nodes."""

    def __init__(self, then: Authorizer) -> None:
        self._then = then

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        if user.name == ANONYMOUS.name:
            return Decision(False)
        return await self._then.authorize(user, info)


class LocalServer:
    """An ApiServer with its certificate, its access rules and its socket."""

    def __init__(
        self,
        kube: RestClient,
        token_file: Path,
        apply_tls: Callable[[ssl.SSLContext], None] = lambda context: None,
    ) -> None:
        """``apply_tls`` makes the TLS context as strict as the configuration wants it."""
        self._kube = kube
        self._token_file = token_file
        self._token = secrets.token_urlsafe(32)
        self._tls = ServingTLS(self_signed("localhost", ("localhost", "127.0.0.1", "::1")))
        apply_tls(self._tls.context)
        self.api = ApiServer(
            title="Antrea agent",
            version=version.document(),
            authenticators=[StaticTokens({self._token: LOOPBACK}), BearerTokens(self._review_token)],
            authorizer=AllowMasters(RefuseAnonymous(ReviewedAccess(self._review_access))),
            always_allow=ALWAYS_ALLOWED,
        )
        self._listener = Listener(self.api, LIMITS)

    @property
    def certificate(self) -> bytes:
        """What clients have to trust, in PEM."""
        return self._tls.pair.certificate

    async def listen(self, address: str | None, port: int) -> tuple[str, int]:
        """Open the socket (without an address: one for IPv4 and one for IPv6) and write the token. Raises
        ConfigurationError where the address is taken."""
        bound = await self._listener.listen(address, port, tls=self._tls.context)
        try:
            write_private(self._token_file, self._token.encode())
        except OSError as error:
            logger.error(
                "%s cannot be written: %s. antctl on this node has no access until the agent is restarted",
                self._token_file,
                error,
            )
        logger.info("The local API listens on %s port %d", *bound)
        return bound

    async def close(self) -> None:
        await self._listener.close(grace=1.0)

    async def _review_token(self, token: str) -> User | None:
        try:
            user = await review_token(self._kube, token)
        except (ApiError, ConnectionFailed) as error:
            raise unavailable("The Kubernetes API cannot review tokens at the moment; try again.") from error
        if user is None:
            return None
        return User(user.username, tuple(user.groups or ()), user.uid, user.extra or {})

    async def _review_access(self, user: User, info: RequestInfo) -> Decision:
        try:
            allowed, reason = await review_access(self._kube, access_review_spec(user, info))
        except (ApiError, ConnectionFailed) as error:
            raise unavailable("The Kubernetes API cannot review access at the moment; try again.") from error
        return Decision(allowed, reason)
