"""Who owns which field: metadata.managedFields, and server-side apply.

Appliers are recorded with the fields of their last configuration (apiserver.apply). Plain writes leave no
entries of their own, and keep those of the appliers.
"""

from __future__ import annotations

from apiserver.apply import apply_configuration
from apiserver.documents import full_object
from apiserver.resources import ResourceInfo
from apiserver.strategy import Operation
from lab.api.kinds.kind import Kind, Object


class FieldOwnership:
    """Stateless; one serves all kinds."""

    def created(self, kind: Kind, obj: Object, manager: str) -> None:
        obj["metadata"].pop("managedFields", None)

    def updated(self, kind: Kind, current: Object, obj: Object, manager: str, subresource: str) -> None:
        """A client that sends no managedFields keeps them; one that sends an empty list resets them."""
        metadata = obj.setdefault("metadata", {})
        if "managedFields" in current["metadata"]:
            metadata.setdefault("managedFields", current["metadata"]["managedFields"])
        else:
            metadata.pop("managedFields", None)

    def applied(
        self, kind: Kind, current: Object | None, applied: Object, manager: str, force: bool, subresource: str
    ) -> Object:
        """The object after the configuration has been applied. Raises Conflict unless ``force``."""
        info = ResourceInfo(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)
        operation = Operation(field_manager=manager, force=force)
        old = full_object(info, current, 0) if current is not None else None
        merged = apply_configuration(info, old, applied, operation, subresource)
        metadata = {key: value for key, value in merged["metadata"].items() if key != "resourceVersion"}
        rest = {key: value for key, value in merged.items() if key not in ("kind", "apiVersion", "metadata")}
        return {"metadata": metadata, **rest}
