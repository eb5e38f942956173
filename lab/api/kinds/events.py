"""v1 Event. The same objects are served as events.k8s.io/v1 (see lab.api.groupevents)."""

from __future__ import annotations

import datetime
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import since


class Events(BuiltIn):
    group, version, kind = "", "v1", "Event"
    plural, singular, namespaced = "events", "event", True
    short_names = ("ev",)
    type_name = "core.Event"
    table = (
        Heading("Last Seen"),
        Heading("Type"),
        Heading("Reason"),
        Heading("Object"),
        Heading("Subobject", priority=1),
        Heading("Source", priority=1),
        Heading("Message"),
        Heading("First Seen", priority=1),
        Heading("Count", priority=1),
        Heading("Name", priority=1, format="name"),
    )

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        involved = obj.get("involvedObject", {}).get("namespace", "")
        own = obj["metadata"].get("namespace", "")
        if (involved and involved != own) or (not involved and own != "default"):
            errors.invalid("involvedObject.namespace", involved, "does not match event.namespace")

    def fields(self, obj: Object) -> dict[str, str]:
        involved, source = obj.get("involvedObject", {}), obj.get("source", {})
        found = {
            f"involvedObject.{name}": involved.get(name, "")
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        }
        return {
            **found,
            "reason": obj.get("reason", ""),
            "type": obj.get("type", ""),
            "reportingComponent": obj.get("reportingComponent", ""),
            "source": source.get("component") or obj.get("reportingComponent", ""),
        }

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
        last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
        count = obj.get("count") or 1
        series = obj.get("series")
        if series:
            last, count = since(series.get("lastObservedTime"), now), series.get("count", 1)
        involved, source = obj.get("involvedObject", {}), obj.get("source", {})
        target = involved.get("kind", "").lower()
        if involved.get("name"):
            target += "/" + involved["name"]
        component = source.get("component") or obj.get("reportingComponent", "")
        host = source.get("host") or obj.get("reportingInstance", "")
        return [
            last,
            obj.get("type", ""),
            obj.get("reason", ""),
            target,
            involved.get("fieldPath", ""),
            f"{component}, {host}" if host else component,
            obj.get("message", "").strip(),
            first,
            count,
            obj["metadata"]["name"],
        ]
