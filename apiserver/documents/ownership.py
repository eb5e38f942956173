"""Who owns which field: metadata.managedFields, and server-side apply (Kubernetes' structured merge).

An applier owns the fields of its last configuration. Setting a field that somebody else owns to another value
is a Conflict unless forced; what an applier no longer names goes, unless somebody else owns it too.

Kubernetes keeps entries for plain writers from the first write on. Here they begin with the first apply:
until then an object has no managedFields, and what was written before is owned by "before-first-apply"
(which Kubernetes uses for objects without managedFields), except on objects of `kubectl apply`, whose
migration kubectl would have asked for.
"""

from __future__ import annotations

from typing import Any

from apiserver.documents import clock, fieldsets
from apiserver.documents.fieldsets import FieldSet, Path
from apiserver.documents.kind import Kind
from apiserver.documents.shape import Shape
from apiserver.errors import StatusError
from apiserver.resources import Object

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE = "before-first-apply"
# what nobody owns: identity, and what the server writes
_UNOWNED = (
    ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generateName",
        )
    ),
)


def created(obj: Object) -> None:
    """A plain creation: nobody has applied anything yet."""
    obj["metadata"].pop("managedFields", None)


def updated(kind: Kind, current: Object, obj: Object, manager: str, subresource: str) -> None:
    """A plain write: what it changes is the writer's from now on. A list of one empty entry resets."""
    metadata = obj.setdefault("metadata", {})
    given = metadata.get("managedFields")
    entries = current["metadata"].get("managedFields")
    if not entries or given == [{}]:
        metadata.pop("managedFields", None)
        return
    shape = kind.shape()
    after = dict(obj)
    for part in [part for part in current if part not in after]:
        if subresource or part == "status":  # kept by the kind, not removed by the writer
            after[part] = current[part]
    moved, removed = fieldsets.changed(shape, _bare(current), _bare(after))
    if subresource == "status":
        moved, removed = _below("f:status", moved), _below("f:status", removed)
    elif kind.has_status:
        moved -= _below("f:status", moved)
        removed -= _below("f:status", removed)
    if not moved and not removed:
        metadata["managedFields"] = entries
        return
    owned = [(entry, _paths(entry) - moved - removed) for entry in entries]
    metadata["managedFields"] = _with(kind, owned, moved, manager, "Update", subresource)


def applied(
    kind: Kind, current: Object | None, applied: Object, manager: str, force: bool, subresource: str
) -> Object:
    """The object after the configuration has been applied. Raises Conflict unless ``force``."""
    shape = kind.shape()
    config = _bare(applied)
    wanted = set(fieldsets.leaves(fieldsets.fields_of(shape, config))) - set(_UNOWNED)
    if current is None:
        merged: Object = dict(applied)
        merged["metadata"] = dict(applied["metadata"])
        merged["metadata"]["managedFields"] = _with(kind, [], wanted, manager, "Apply", subresource)
        return merged
    entries = current["metadata"].get("managedFields") or _before(kind, shape, current)
    owned = [(entry, _paths(entry)) for entry in entries]
    live = _bare(current)
    own: set[Path] = set()
    others: list[tuple[Object, set[Path]]] = []
    conflicts: list[tuple[str, Path]] = []
    for entry, paths in owned:
        if _is(entry, manager, "Apply", subresource):
            own = paths
            continue
        lost = {path for path in paths & wanted if _differs(shape, live, config, path)}
        conflicts += [(entry.get("manager", ""), path) for path in sorted(lost)]
        others.append((entry, paths - lost if force else paths))
    if conflicts and not force:
        raise _conflict(conflicts)
    result = fieldsets.merge(shape, live, config)
    kept = set().union(*(paths for _, paths in others)) if others else set()
    gone = {path for path in own - wanted if not any(_within(path, other) for other in kept | wanted)}
    result = fieldsets.without(shape, result, gone)
    metadata = {**current["metadata"], **result.get("metadata", {})}
    for name in ("labels", "annotations", "finalizers", "ownerReferences"):
        if name not in result.get("metadata", {}):
            metadata.pop(name, None)
    metadata["managedFields"] = _with(kind, others, wanted, manager, "Apply", subresource)
    return {**result, "metadata": metadata}


def _before(kind: Kind, shape: Shape, current: Object) -> list[Object]:
    if _LAST_APPLIED in current["metadata"].get("annotations", {}):
        return []
    paths = set(fieldsets.leaves(fieldsets.fields_of(shape, _bare(current)))) - set(_UNOWNED)
    return [_entry(kind, _BEFORE, "Update", "", paths)]


def _bare(obj: Object) -> Object:
    metadata = {
        key: value
        for key, value in obj.get("metadata", {}).items()
        if ("f:metadata", f"f:{key}") not in _UNOWNED
    }
    rest = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion", "metadata")}
    return {"metadata": metadata, **rest} if metadata else rest


def _paths(entry: Object) -> set[Path]:
    fields: Any = entry.get("fieldsV1")
    return set(fieldsets.leaves(fields)) if isinstance(fields, dict) else set()


def _below(top: str, paths: set[Path]) -> set[Path]:
    return {path for path in paths if path[0] == top}


def _within(path: Path, other: Path) -> bool:
    """Whether the other path lies at or below this one."""
    return other[: len(path)] == path


def _differs(shape: Shape, live: Object, config: Object, path: Path) -> bool:
    if path[-1].startswith(("k:", "v:")):
        return False
    there = fieldsets.value_at(shape, live, path)
    return not fieldsets.is_missing(there) and there != fieldsets.value_at(shape, config, path)


def _is(entry: Object, manager: str, operation: str, subresource: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (
        manager,
        operation,
        subresource,
    )


def _entry(kind: Kind, manager: str, operation: str, subresource: str, paths: set[Path]) -> Object:
    entry: Object = {
        "manager": manager,
        "operation": operation,
        "apiVersion": kind.api_version,
        "time": clock.stamp(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fieldsets.from_paths(paths),
    }
    if subresource:
        entry["subresource"] = subresource
    return entry


def _with(
    kind: Kind,
    owned: list[tuple[Object, set[Path]]],
    paths: set[Path],
    manager: str,
    operation: str,
    subresource: str,
) -> list[Object]:
    """The entries with what each still owns, and the writer's own."""
    found: list[Object] = []
    mine = set(paths)
    for entry, kept in owned:
        if _is(entry, manager, operation, subresource):
            mine |= kept
        elif kept:
            fields: FieldSet = fieldsets.from_paths(kept)
            found.append(entry if entry.get("fieldsV1") == fields else {**entry, "fieldsV1": fields})
    if mine:
        found.append(_entry(kind, manager, operation, subresource, mine))
    return found


def _conflict(conflicts: list[tuple[str, Path]]) -> StatusError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}"',
            "field": fieldsets.text(path),
        }
        for manager, path in conflicts
    ]
    if len(causes) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        by_manager: dict[str, list[str]] = {}
        for manager, path in conflicts:
            by_manager.setdefault(manager, []).append(fieldsets.text(path))
        parts = "\n".join(
            f'conflicts with "{manager}":\n' + "\n".join(f"- {field}" for field in fields)
            for manager, fields in sorted(by_manager.items())
        )
        text = f"{len(causes)} conflicts: {parts}"
    return StatusError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})
