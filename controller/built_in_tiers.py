"""The six Tiers that every cluster has: made at start, and their priorities put right (Antrea v2.7, "Tier").

Creating them goes through the controller's own webhook, so the first attempts may fail while its certificate
is being published: it is tried again after 1, 2, 4, 8 … seconds. Without the CRD it goes on trying, rarely:
the CRD may be installed later. What a user wrote into the descriptions stays.
"""

from __future__ import annotations

from typing import Final

import msgspec

from client.errors import ApiError, ConnectionFailed
from client.resources import TIERS
from client.rest import RestClient
from controller.admission.tiers import BUILT_IN
from runtime import log
from runtime.backoff import Backoff

logger = log.get("controller.tiers")

# In the order in which they are made, with the words of the descriptions.
TIERS_AT_START: Final = (
    ("baseline", "Baseline"),
    ("application", "default Application"),
    ("platform", "Platform"),
    ("networkops", "NetworkOps"),
    ("securityops", "SecurityOps"),
    ("emergency", "Emergency"),
)


class _Spec(msgspec.Struct):
    priority: int = 0


class _Tier(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


class BuiltInTiers:
    """Makes the Tiers, once."""

    def __init__(self, client: RestClient, backoff: Backoff | None = None) -> None:
        self._client = client
        self._backoff = backoff or Backoff(initial=0.3, maximum=10)
        self._begun = False

    def problem(self) -> str | None:
        """For the health check, which only says that the work has begun: without the Tiers the controller has
        still other work, which nobody else does."""
        return None if self._begun else "nothing has been done yet about the built-in Tiers"

    async def run(self) -> None:
        """Returns when all six are there."""
        self._begun = True
        for name, words in TIERS_AT_START:
            complaint = ""
            while True:
                try:
                    await self._ensure(name, f"[READ-ONLY]: System generated {words} Tier")
                    break
                except (ApiError, ConnectionFailed, msgspec.MsgspecError) as error:
                    if str(error) != complaint:
                        complaint = str(error)
                        logger.warning("Cannot make the Tier %s: %s", name, error)
                await self._backoff.wait()
            self._backoff.reset()
        logger.info("The built-in Tiers are there")

    async def _ensure(self, name: str, description: str) -> None:
        priority = BUILT_IN[name]
        try:
            present = msgspec.json.decode(await self._client.get(TIERS.path(name)), type=_Tier)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._create(name, priority, description)
            return
        if present.spec.priority != priority:
            logger.info("Setting the priority of the Tier %s back to %d", name, priority)
            await self._client.patch(TIERS.path(name), {"spec": {"priority": priority}})

    async def _create(self, name: str, priority: int, description: str) -> None:
        document = {
            "apiVersion": TIERS.api_version,
            "kind": "Tier",
            "metadata": {"name": name},
            "spec": {"priority": priority, "description": description},
        }
        try:
            await self._client.create(TIERS.path(), document)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # another replica was quicker
                raise
