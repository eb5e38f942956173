"""A few Kubernetes-like resources on the machinery, for tests of what clients write."""

from __future__ import annotations

from typing import Any

from apiserver.collection import Collection
from apiserver.document_endpoint import DocumentEndpoint
from apiserver.errors import FieldError, invalid_value
from apiserver.resources import WRITE_VERBS, Object, ResourceInfo, Subresource
from apiserver.server import ApiServer
from apiserver.strategy import Operation, Strategy, immutable

STATUS = ("get", "patch", "update")


class Widgets(Strategy):
    """A kind with defaults, validation, an immutable field, a status and grace on deletion."""

    status_subresource = True
    unconditional_update = False
    strategic_merge = False

    def default(self, document: Object) -> None:
        document.setdefault("spec", {}).setdefault("size", 1)

    def validate(self, document: Object, op: Operation) -> list[FieldError]:
        size = document["spec"]["size"]
        if not isinstance(size, int) or size < 1:
            return [invalid_value("spec.size", size, "must be positive")]
        return []

    def validate_update(self, document: Object, old: Object, op: Operation) -> list[FieldError]:
        return self.validate(document, op) + immutable(document, old, ["spec.color"])

    def grace_seconds(self, document: Object, requested: int | None) -> int:
        return requested if requested is not None else int(document["spec"].get("grace", 0))


class Simple(Strategy):
    status_subresource = True


WIDGET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "color": {"type": "string"},
                "grace": {"type": "integer"},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    },
}


def make_cluster() -> tuple[ApiServer, dict[str, Collection]]:
    """A server with namespaces, configmaps, pods and widgets."""
    server = ApiServer(title="test", version={"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
    kinds: list[tuple[ResourceInfo, Strategy]] = []
    for plural, kind, namespaced, short in (
        ("namespaces", "Namespace", False, "ns"),
        ("configmaps", "ConfigMap", True, "cm"),
        ("pods", "Pod", True, "po"),
        ("services", "Service", True, "svc"),
    ):
        info = ResourceInfo(
            "",
            "v1",
            plural,
            kind,
            namespaced=namespaced,
            short_names=(short,),
            verbs=WRITE_VERBS,
            field_labels={"status.phase": lambda document: document.get("status", {}).get("phase", "")},
            subresources=() if plural == "configmaps" else (Subresource("status", kind, STATUS),),
        )
        kinds.append((info, Strategy() if plural == "configmaps" else Simple()))
    widgets = ResourceInfo(
        "example.com",
        "v1",
        "widgets",
        "Widget",
        namespaced=True,
        verbs=WRITE_VERBS,
        categories=("all",),
        subresources=(Subresource("status", "Widget", STATUS),),
        schema=WIDGET_SCHEMA,
        items_typed=True,
    )
    kinds.append((widgets, Widgets()))
    collections: dict[str, Collection] = {}
    for info, strategy in kinds:
        collections[info.plural] = Collection(info, server.stores, strategy)
        server.register(DocumentEndpoint(collections[info.plural]))
    return server, collections


def widget(name: str = "w", **spec: Any) -> Object:
    return {
        "kind": "Widget",
        "apiVersion": "example.com/v1",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": spec,
    }


WIDGETS = "/apis/example.com/v1/namespaces/ns/widgets"
CONFIGMAPS = "/api/v1/namespaces/ns/configmaps"
PODS = "/api/v1/namespaces/ns/pods"
