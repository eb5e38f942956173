"""A few Kubernetes-like resources on the machinery, for tests of what clients write."""

from __future__ import annotations

from typing import Any

from apis.record import Change
from apiserver.documents.endpoint import DocumentEndpoint
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind
from apiserver.documents.record import Document
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from apiserver.server import ApiServer

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


class Simple(Kind):
    """A kind of Kubernetes without peculiarities: its fields are those of the table."""

    group, version = "", "v1"

    def __init__(
        self, plural: str, kind: str, short: str, *, namespaced: bool = True, has_status: bool = True
    ) -> None:
        self.plural, self.kind, self.singular = plural, kind, kind.lower()
        self.short_names = (short,)
        self.namespaced, self.has_status = namespaced, has_status

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.phase": obj.get("status", {}).get("phase", "")}


class Widgets(Kind):
    """A kind with defaults, validation, an immutable field, a status and grace on deletion."""

    group, version, kind = "example.com", "v1", "Widget"
    plural, singular, namespaced = "widgets", "widget", True
    categories = ("all",)
    schema = WIDGET_SCHEMA
    custom = True
    has_status = True
    tracks_generation = True
    allows_unconditional_update = False

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {}).setdefault("size", 1)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        size = obj["spec"]["size"]
        if size < 1:
            errors.invalid("spec.size", size, "must be positive")

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        self.validate(new, errors)
        errors.immutable("spec.color", new["spec"].get("color"), old["spec"].get("color"))

    def grace_seconds(self, obj: Object, requested: int | None) -> int:
        return requested if requested is not None else int(obj["spec"].get("grace", 0))


def make_cluster() -> tuple[ApiServer, Registry]:
    """A server with namespaces, configmaps, pods, services and widgets."""
    server = ApiServer(title="test", version={"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
    registry = Registry(server.stores)
    for kind in (
        Simple("namespaces", "Namespace", "ns", namespaced=False),
        Simple("configmaps", "ConfigMap", "cm", has_status=False),
        Simple("pods", "Pod", "po"),
        Simple("services", "Service", "svc"),
        Widgets(),
    ):
        registry.add_kind(kind)
        server.register(DocumentEndpoint(kind, registry))
    return server, registry


def put(registry: Registry, resource: str, document: Object) -> None:
    """Stores a document as it is, status and all."""
    metadata = document["metadata"]
    known = registry.stored(resource, metadata.get("namespace", ""), metadata["name"])
    change = Change(resource, known.record if known is not None else None, Document(document))
    registry.stores.publish([change])


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
