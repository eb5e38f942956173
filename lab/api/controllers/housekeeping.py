"""What a cluster clears away in time: events after an hour, pods whose node is gone for good."""

from __future__ import annotations

import asyncio
import datetime

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.kinds.table import parse_time
from lab.api.reactor import Reactor

EVENT_LIFE = datetime.timedelta(hours=1)
NODE_QUARANTINE = 5.0  # seconds: a node that is registered anew keeps its pods
_SWEEP = 60.0


class Housekeeping:
    def __init__(self, registry: Registry, reactor: Reactor) -> None:
        self._registry = registry
        self._reactor = reactor
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == "nodes" and new is None and old is not None:
            name = old["metadata"]["name"]
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # nothing is served yet: the sweep will see to it
            loop.call_later(NODE_QUARANTINE, self._node_gone_soon, name)

    def _node_gone_soon(self, name: str) -> None:
        self._reactor.soon(("node-gone", name), lambda: self._node_gone(name))

    def _node_gone(self, name: str) -> None:
        """Nobody is left who could confirm the pods' end."""
        if self._registry.get("nodes", "", name) is not None:
            return
        for pod in list(self._registry.items("pods")):
            if pod["spec"].get("nodeName") == name:
                self._delete("pods", pod, {"gracePeriodSeconds": 0})

    def _delete(self, resource: str, obj: Object, options: Object) -> None:
        metadata = obj["metadata"]
        try:
            self._registry.delete(
                self._registry.kinds[resource], metadata["namespace"], metadata["name"], options
            )
        except StatusError as error:
            if error.code != 404:
                raise

    async def run(self) -> None:
        """Sweeps once a minute."""
        while True:
            await asyncio.sleep(_SWEEP)
            self._reactor.soon("sweep-events", self.sweep)

    def sweep(self) -> None:
        oldest = clock.now() - EVENT_LIFE
        for event in list(self._registry.items("events")):
            seen = (
                event.get("lastTimestamp")
                or event.get("eventTime")
                or event["metadata"].get("creationTimestamp")
            )
            series = event.get("series")
            if series:
                seen = series.get("lastObservedTime") or seen
            moment = parse_time(seen)
            if moment is not None and moment < oldest:
                self._delete("events", event, {})
