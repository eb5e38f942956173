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
UNKNOWN_QUARANTINE = 40.0  # seconds for a node that was never there, as the pod garbage collector's
_SWEEP = 60.0


class Housekeeping:
    def __init__(self, registry: Registry, reactor: Reactor) -> None:
        self._registry = registry
        self._reactor = reactor
        self._expected: set[tuple[str, bool]] = (
            set()
        )  # nodes that are missing, and whether only for the ending
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == "nodes" and new is None and old is not None:
            self._expect(old["metadata"]["name"], NODE_QUARANTINE, ending=False)
        elif kind.resource == "pods" and new is not None:
            self._look(new)

    def _look(self, pod: Object) -> None:
        """A pod of a node that is not there: one that is being deleted has nobody to confirm its end."""
        node = pod.get("spec", {}).get("nodeName")
        if node and self._registry.get("nodes", "", node) is None:
            ending = bool(pod["metadata"].get("deletionTimestamp"))
            self._expect(node, NODE_QUARANTINE if ending else UNKNOWN_QUARANTINE, ending)

    def _expect(self, node: str, seconds: float, ending: bool) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nothing is served yet: the first sweep sees to it
        if (node, ending) not in self._expected:
            self._expected.add((node, ending))
            loop.call_later(seconds, self._node_gone_soon, node, ending)

    def _node_gone_soon(self, name: str, ending: bool) -> None:
        self._expected.discard((name, ending))
        self._reactor.soon(("node-gone", name, ending), lambda: self._node_gone(name, ending))

    def _node_gone(self, name: str, ending: bool) -> None:
        """Nobody is left who could confirm the pods' end; ``ending``: of those that are being deleted."""
        if self._registry.get("nodes", "", name) is not None:
            return
        for pod in list(self._registry.items("pods")):
            if pod["spec"].get("nodeName") == name and (
                not ending or pod["metadata"].get("deletionTimestamp")
            ):
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
            self._reactor.soon("sweep-pods", self._sweep_pods)
            await asyncio.sleep(_SWEEP)
            self._reactor.soon("sweep-events", self.sweep)

    def _sweep_pods(self) -> None:
        for pod in self._registry.items("pods"):
            self._look(pod)

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
