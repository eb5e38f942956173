"""An AntreaAgentInfo for every Node, none for others: agents fill theirs in and never create it.

Nodes that come and go are noted by the computation's input; what has to be created or deleted is done here,
one after the other, and again later where the API refuses. Once, after the first list of Nodes, objects of
Nodes that went while no controller was there are deleted too (Antrea v2.7, "AntreaAgentInfo").
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from client.errors import ApiError, ConnectionFailed
from client.resources import AGENT_INFOS
from client.rest import RestClient
from runtime import log
from runtime.backoff import Backoff

logger = log.get("controller.agent_infos")

NO_SUCH_KIND_WAIT = 60.0  # the CustomResourceDefinition may be installed later


class AgentInfos:
    """``exists`` and ``gone`` note what is wanted; ``run`` brings it about."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._nodes: set[str] = set()
        self._due: dict[str, None] = {}  # names to be looked at, in order
        self._wake = asyncio.Event()

    def exists(self, node: str) -> None:
        if node not in self._nodes:
            self._nodes.add(node)
            self._note(node)

    def gone(self, node: str) -> None:
        self._nodes.discard(node)
        self._note(node)

    def _note(self, node: str) -> None:
        self._due[node] = None
        self._wake.set()

    async def run(self, nodes_listed: asyncio.Event) -> None:
        """Never returns; cancel it."""
        await nodes_listed.wait()
        backoff = Backoff(initial=1, maximum=60)
        surveyed, complaint = False, ""
        while True:
            try:
                if not surveyed:
                    await self._survey()
                    surveyed = True
                while self._due:
                    await self._settle(next(iter(self._due)))
                backoff.reset()
                complaint = ""
                self._wake.clear()
                if not self._due:
                    await self._wake.wait()
            except (ApiError, ConnectionFailed) as error:
                if str(error) != complaint:
                    logger.warning("Cannot keep the AntreaAgentInfos: %s", error)
                complaint = str(error)
                unknown_kind = isinstance(error, ApiError) and error.status == 404
                await asyncio.sleep(NO_SUCH_KIND_WAIT if unknown_kind else backoff.next())

    async def _survey(self) -> None:
        """Compare what is there with the Nodes, once."""
        body = await self._client.get(AGENT_INFOS.path())
        present = {item["metadata"]["name"] for item in json.loads(body).get("items") or ()}
        for name in self._nodes & present:
            self._due.pop(name, None)
        for name in present - self._nodes:
            self._due[name] = None

    async def _settle(self, name: str) -> None:
        if name in self._nodes:
            document: dict[str, Any] = {
                "apiVersion": AGENT_INFOS.api_version,
                "kind": "AntreaAgentInfo",
                "metadata": {"name": name},
            }
            await self._ignoring(409, self._client.create(AGENT_INFOS.path(), document))
        else:
            await self._ignoring(404, self._client.delete(AGENT_INFOS.path(name)))
        self._due.pop(name, None)

    @staticmethod
    async def _ignoring(status: int, request: Any) -> None:
        try:
            await request
        except ApiError as error:
            if error.status != status or (error.reason == "" and status == 404):
                raise
