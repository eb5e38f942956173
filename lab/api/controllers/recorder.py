"""Events that the API's own controllers tell of objects, as a cluster's components do.

One Event for one story: what is told again counts in its series.
"""

from __future__ import annotations

import random

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object

_REMEMBERED = 1024
_Story = tuple[str, str, str, str]  # uid of the object, type, reason, message


class Recorder:
    """Writes Events for one component."""

    def __init__(self, registry: Registry, component: str) -> None:
        self._registry = registry
        self._component = component
        self._told: dict[_Story, tuple[str, str]] = {}  # the Event that tells it: namespace and name

    def tell(self, kind: Kind, obj: Object, type_: str, reason: str, message: str, action: str) -> None:
        """``type_`` is Normal or Warning; an Event that cannot be written is not missed."""
        metadata = obj["metadata"]
        story = (metadata.get("uid", ""), type_, reason, message)
        known = self._told.get(story)
        try:
            if known is not None and self._registry.get("events", *known) is not None:
                self._again(*known)
            else:
                self._told[story] = self._first(kind, obj, type_, reason, message, action)
        except StatusError:
            return  # its namespace is going, say
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    def _first(
        self, kind: Kind, obj: Object, type_: str, reason: str, message: str, action: str
    ) -> tuple[str, str]:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        name = f"{metadata['name'][:200]}.{random.getrandbits(64):016x}"
        involved = {"kind": kind.kind, "apiVersion": kind.api_version}
        involved |= {key: metadata[key] for key in ("namespace", "name", "uid") if metadata.get(key)}
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": type_,
            "action": action,
            "eventTime": clock.stamp_micro(),
            "reportingComponent": self._component,
            "reportingInstance": f"{self._component}-antrea-lab",
            "source": {},
        }
        self._registry.create(self._registry.kinds["events"], event)
        return namespace, name

    def _again(self, namespace: str, name: str) -> None:
        def change(event: Object, _version: int) -> Object:
            count = event.get("series", {}).get("count", 1) + 1
            event["series"] = {"count": count, "lastObservedTime": clock.stamp_micro()}
            return event

        self._registry.update(self._registry.kinds["events"], namespace, name, change, unconditional=True)
