"""Whether the requester may read a Secret that the controller or an agent will read on their behalf.

Without the check whoever may create such an object could send a Secret's contents to a server of their own.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from apiserver.admission import ALLOWED, Verdict, refused
from apiserver.auth import User
from apiserver.authorization import access_review_spec
from apiserver.request import RequestInfo
from client.errors import ApiError, ConnectionFailed
from client.rest import RestClient
from client.reviews import review_access

TIMEOUT: Final = 3.0  # seconds; kube-apiserver waits 5 for a webhook


class Purpose(NamedTuple):
    """What a refusal says of the Secret: before its name, and after it."""

    noun: str
    use: str

    def failed(self, secret: str, problem: str) -> str:
        return f"failed to authorize access to {self.noun} {secret}: {problem}"

    def denied(self, user: str, secret: str) -> str:
        return f'user "{user}" is not authorized to get Secret {secret} {self.use}'


class SecretAccess:
    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def verdict(self, user: User, namespace: str, name: str, purpose: Purpose) -> Verdict:
        """Allowed if the user may get the Secret."""
        info = RequestInfo(
            f"/api/v1/namespaces/{namespace}/secrets/{name}",
            "get",
            is_resource=True,
            version="v1",
            resource="secrets",
            namespace=namespace,
            name=name,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                allowed, _ = await review_access(self._client, access_review_spec(user, info))
        except (ApiError, ConnectionFailed) as error:
            return refused(purpose.failed(f"{namespace}/{name}", str(error)))
        except TimeoutError:
            problem = f"the Kubernetes API gave no answer within {TIMEOUT:g} s"
            return refused(purpose.failed(f"{namespace}/{name}", problem))
        return ALLOWED if allowed else refused(purpose.denied(user.name, f"{namespace}/{name}"))
