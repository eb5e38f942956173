"""Reaching an agent's own API from outside.

The agent says in its AntreaAgentInfo at which port it is and which certificate it shows. Of the caller's
credentials none is sent to it, for a node that somebody has broken into would collect them: each request
carries a short-lived token of the ServiceAccount ``antctl``, which the caller must be allowed to request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antctl.errors import CommandError
from antctl.lookup import fetch, node_url
from antctl.output import decode
from antctl.session import Session, status_message

if TYPE_CHECKING:
    from client.endpoint import Endpoint

AGENT_INFOS = "/apis/crd.antrea.io/v1beta1/antreaagentinfos"
SERVER_NAME = "localhost"  # the name in the agents' certificates
PORT = 10350  # where the agent does not say
ACCOUNT = "antctl"
TOKEN_SECONDS = 600
RENEW_BEFORE = 60.0  # seconds before a token's end, or half of its life when that is shorter
AGAIN_SECONDS = 5.0  # until a token is asked for again that could not be had


def direct(session: Session, node: str, insecure: bool = False) -> Endpoint:
    """The API of a Node's agent, with tokens made for it. Raises CommandError."""
    from client.endpoint import Endpoint, tls_context

    info = fetch(session, f"{AGENT_INFOS}/{node}", f"error when getting AntreaAgentInfo of Node {node}")
    if not info.get("nodeRef", {}).get("name"):
        raise CommandError(f"AntreaAgentInfo is not ready for Node {node}")
    url = node_url(
        session, info["nodeRef"]["name"], info.get("apiPort") or PORT, f"error when getting Node {node}"
    )
    tls = tls_context(insecure=True)
    if not insecure:
        bundle = info.get("apiCABundle")
        if not bundle:
            raise CommandError(
                f"no cert available: AntreaAgentInfo of Node {node} has no apiCABundle; try --insecure"
            )
        try:
            tls = tls_context(ca_data=base64.b64decode(bundle, validate=True))
        except (ssl.SSLError, ValueError, binascii.Error) as error:
            raise CommandError(
                f"the apiCABundle in AntreaAgentInfo of Node {node} is no certificate: {error}; "
                "try --insecure"
            ) from error
    source = TokenSource(session, namespace(session))
    # The first one now: whoever may not have it learns so at once.
    return Endpoint(
        url, tls, SERVER_NAME, ShortLivedToken(source.request, source.request()), session.endpoint().proxy
    )


def namespace(session: Session) -> str:
    """Where Antrea is installed: the Namespace of its agents' DaemonSet. Raises CommandError."""
    query = {"labelSelector": "app=antrea,component=antrea-agent"}
    answer = fetch(session, "/apis/apps/v1/daemonsets", "error when listing antrea-agent DaemonSets", query)
    found = sorted({item["metadata"]["namespace"] for item in answer.get("items") or ()})
    if not found:
        raise CommandError(
            "no antrea-agent DaemonSet found, cannot determine the Namespace in which Antrea is installed"
        )
    if len(found) > 1:
        raise CommandError(
            f"antrea-agent DaemonSets are in several Namespaces ({', '.join(found)}): remove those of old "
            "installations"
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Requests tokens of the ServiceAccount in Antrea's Namespace, as the caller."""

    session: Session
    namespace: str

    def request(self) -> tuple[str, float]:
        """A new token and its life in seconds. Blocks. Raises CommandError."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{ACCOUNT}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        problem = f"error when requesting a token of ServiceAccount {self.namespace}/{ACCOUNT}"
        answer = self.session.request(path, method="POST", body=body)
        if answer.status >= 400:
            raise CommandError(f"{problem}: {status_message(answer)}")
        made = decode(answer.body)
        try:
            # The life that was granted, which may differ from the one asked for. It is told as a length, so
            # that clocks which disagree do no harm.
            return str(made["status"]["token"]), float(made["spec"]["expirationSeconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise CommandError(f"{problem}: the answer holds no token") from error


class ShortLivedToken:
    """The Authorization header of requests, with a token that is renewed in time.

    A token that cannot be renewed serves until it ends."""

    def __init__(
        self,
        request: Callable[[], tuple[str, float]],
        first: tuple[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``request`` blocks; it and ``first``: a token and its life in seconds."""
        self._request = request
        self._clock = clock
        self._lock = asyncio.Lock()
        self._take(first, clock())

    async def __call__(self) -> dict[str, str]:
        """Raises CommandError where the token has ended and there is no other to be had."""
        async with self._lock:
            if self._clock() >= self._renew_at:
                await self._renew()
            return {"Authorization": f"Bearer {self._token}"}

    async def _renew(self) -> None:
        asked = self._clock()
        try:
            self._take(await asyncio.to_thread(self._request), asked)
        except CommandError:
            if self._clock() >= self._ends_at:
                raise
            self._renew_at = self._clock() + AGAIN_SECONDS

    def _take(self, made: tuple[str, float], asked: float) -> None:
        self._token, life = made
        self._ends_at = asked + life
        self._renew_at = self._ends_at - min(RENEW_BEFORE, life / 2)
