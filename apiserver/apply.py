"""Server-side apply, kept simple: who owns which field, what an applier takes back, and conflicts.

``metadata.managedFields`` holds one entry per applier with the fields of its last configuration. Fields that
it no longer names are removed unless another applier names them; a field that another applier set to another
value is a Conflict unless forced. Plain updates (PUT, PATCH, kubectl edit) leave no entries of their own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from apiserver import errors
from apiserver.mergekeys import SET, merge_key
from apiserver.resources import Object, ResourceInfo
from apiserver.strategy import Operation

Path = tuple[Any, ...]
"""Field names, and ("k", key, value) or ("v", value) for elements of lists that merge."""

_IDENTITY = {("metadata", "name"), ("metadata", "namespace"), ("kind",), ("apiVersion",)}


def _list_key(info: ResourceInfo, path: Path) -> str | None:
    names = tuple(step for step in path if isinstance(step, str))
    return merge_key(info.kind, names) if names else None


def _leaves(info: ResourceInfo, value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field that a configuration sets: leaves, atomic lists, and the keyed elements on the way."""
    if isinstance(value, dict) and (value or not path):
        if path and isinstance(path[-1], tuple):
            yield path, None
        for key, inner in value.items():
            yield from _leaves(info, inner, (*path, key))
        return
    if isinstance(value, list):
        key = _list_key(info, path)
        if key is not None:
            for item in value:
                if key == SET:
                    yield (*path, ("v", item)), item
                elif isinstance(item, dict) and key in item:
                    yield from _leaves(info, item, (*path, ("k", key, item[key])))
            return
    yield path, value


def _merge(info: ResourceInfo, target: Any, config: Any, path: Path) -> Any:
    if isinstance(config, dict):
        merged = dict(target) if isinstance(target, dict) else {}
        for name, value in config.items():
            merged[name] = _merge(info, merged.get(name), value, (*path, name))
        return merged
    key = _list_key(info, path) if isinstance(config, list) else None
    if key is None:
        return copy.deepcopy(config)
    result = list(target) if isinstance(target, list) else []
    for item in config:
        if key == SET:
            if item not in result:
                result.append(item)
            continue
        at = next((i for i, known in enumerate(result) if known.get(key) == item.get(key)), None)
        if at is None:
            result.append(copy.deepcopy(item))
        else:
            result[at] = _merge(info, result[at], item, (*path, ("k", key, item.get(key))))
    return result


def _value_at(document: Any, path: Path) -> tuple[bool, Any]:
    for step in path:
        if isinstance(step, str):
            if not isinstance(document, dict) or step not in document:
                return False, None
            document = document[step]
        elif not isinstance(document, list):
            return False, None
        elif step[0] == "v":
            return step[1] in document, step[1]
        else:
            found = [item for item in document if isinstance(item, dict) and item.get(step[1]) == step[2]]
            if not found:
                return False, None
            document = found[0]
    return True, document


def _remove(document: Any, path: Path) -> None:
    present, parent = _value_at(document, path[:-1])
    if not present:
        return
    last = path[-1]
    if isinstance(last, str) and isinstance(parent, dict):
        parent.pop(last, None)
    elif isinstance(parent, list):
        gone = [
            item
            for item in parent
            if (last[0] == "v" and item == last[1])
            or (last[0] == "k" and isinstance(item, dict) and item.get(last[1]) == last[2])
        ]
        for item in gone:
            parent.remove(item)


# --- fieldsV1 ---


def _to_fields(paths: list[Path]) -> Object:
    root: Object = {}
    for path in paths:
        node = root
        for step in path:
            if isinstance(step, str):
                name = f"f:{step}"
            elif step[0] == "v":
                name = "v:" + json.dumps(step[1], separators=(",", ":"))
            else:
                name = "k:" + json.dumps({step[1]: step[2]}, separators=(",", ":"))
            node = node.setdefault(name, {})
        if path and isinstance(path[-1], tuple) and path[-1][0] == "k":
            node["."] = {}
    return root


def _from_fields(fields: Object, path: Path = ()) -> Iterator[Path]:
    for name, inner in fields.items():
        if name == ".":
            yield path
            continue
        kind, _, rest = name.partition(":")
        try:
            if kind == "f":
                step: Any = rest
            elif kind == "v":
                step = ("v", json.loads(rest))
            else:
                ((key, value),) = json.loads(rest).items()
                step = ("k", key, value)
        except ValueError:
            continue
        if inner:
            yield from _from_fields(inner, (*path, step))
        else:
            yield (*path, step)


def _text(path: Path) -> str:
    out = ""
    for step in path:
        if isinstance(step, str):
            out += f".{step}"
        elif step[0] == "v":
            out += f"[={json.dumps(step[1])}]"
        else:
            out += f"[{step[1]}={json.dumps(step[2])}]"
    return out


def apply_configuration(
    info: ResourceInfo, old: Object | None, config: Object, op: Operation, subresource: str
) -> Object:
    """The object after the configuration has been applied. Raises Conflict."""
    given = str(config["metadata"].get("resourceVersion") or "")
    config = copy.deepcopy(config)
    if old is not None and given and given != old["metadata"]["resourceVersion"]:
        raise errors.modified_conflict(info, config["metadata"]["name"])
    config["metadata"].pop("resourceVersion", None)
    leaves = {path: value for path, value in _leaves(info, config) if path not in _IDENTITY}
    present: Object = copy.deepcopy(old) if old is not None else {}
    managers = [
        entry
        for entry in present.get("metadata", {}).get("managedFields") or []
        if isinstance(entry, dict) and isinstance(entry.get("fieldsV1"), dict)
    ]
    mine = [e for e in managers if _same_manager(e, op, subresource)]
    others = [e for e in managers if not _same_manager(e, op, subresource)]
    _settle_conflicts(info, present, leaves, others, op)
    merged: Object = _merge(info, present, config, ())
    kept = {path for entry in others for path in _from_fields(entry["fieldsV1"])}
    before = [path for entry in mine for path in _from_fields(entry["fieldsV1"])]
    _take_back(merged, before, [*leaves, *kept])
    entry: Object = {
        "manager": op.field_manager,
        "operation": "Apply",
        "apiVersion": info.api_version,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fieldsType": "FieldsV1",
        "fieldsV1": _to_fields(list(leaves)),
    }
    if subresource:
        entry["subresource"] = subresource
    if mine and mine[0]["fieldsV1"] == entry["fieldsV1"]:
        entry["time"] = mine[0].get("time", entry["time"])
    merged["metadata"]["managedFields"] = [*(e for e in others if e["fieldsV1"]), entry]
    return merged


def _take_back(document: Object, before: list[Path], wanted: list[Path]) -> None:
    """Removes what the applier named before and nobody names now.

    Whole elements of lists go first; what is still wanted, or holds something that is, stays. The field that
    is an element's key goes only with its element.
    """
    for path in sorted(set(before), key=len):
        if any(other[: len(path)] == path for other in wanted):
            continue
        above = path[-2] if len(path) > 1 else None
        if isinstance(above, tuple) and above[0] == "k" and above[1] == path[-1]:
            continue
        _remove(document, path)
        # What has become empty goes too, unless somebody names it.
        for end in range(len(path) - 1, 0, -1):
            parent = path[:end]
            if _value_at(document, parent) not in ((True, []), (True, {})):
                break
            if any(other[:end] == parent for other in wanted):
                break
            _remove(document, parent)


def _same_manager(entry: Object, op: Operation, subresource: str) -> bool:
    return (
        entry.get("manager") == op.field_manager
        and entry.get("operation") == "Apply"
        and entry.get("subresource", "") == subresource
    )


def _settle_conflicts(
    info: ResourceInfo, present: Object, leaves: dict[Path, Any], others: list[Object], op: Operation
) -> None:
    causes: list[Object] = []
    for entry in others:
        owned = list(_from_fields(entry["fieldsV1"]))
        clashing = []
        for path in owned:
            if path not in leaves or (path and isinstance(path[-1], tuple)):
                continue
            exists, value = _value_at(present, path)
            if exists and value != leaves[path]:
                clashing.append(path)
        if op.force:
            entry["fieldsV1"] = _to_fields([path for path in owned if path not in clashing])
            continue
        causes += [
            {
                "reason": "FieldManagerConflict",
                "message": f'conflict with "{entry.get("manager", "")}"',
                "field": _text(path),
            }
            for path in clashing
        ]
    if causes:
        many = len(causes) > 1
        text = f"Apply failed with {len(causes)} conflict{'s' if many else ''}: "
        if many:
            text += "conflicts: " + ", ".join(f"{c['message']}: {c['field']}" for c in causes)
        else:
            text += f"{causes[0]['message']}: {causes[0]['field']}"
        raise errors.StatusError(409, "Conflict", text, {"causes": causes})
