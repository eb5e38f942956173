"""Sets of fields of an object, in the form of managedFields' fieldsV1, and what is done with them.

A set is nested: ``f:name`` is a member, ``k:{…}`` an element of a keyed list, ``v:…`` one of a set;
"." says that the path itself belongs to the set (needed for keyed elements, implied without children).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from apiserver.documents.shape import Shape

FieldSet = dict[str, Any]
Path = tuple[str, ...]


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _key_of(shape: Shape, item: Any) -> str | None:
    if not isinstance(item, dict) or not any(key in item for key in shape.keys):
        return None
    return "k:" + _dump({key: item[key] for key in shape.keys if key in item})


def children(shape: Shape, value: Any) -> Iterator[tuple[str, Shape, Any]]:
    """The parts of a value with their names in a set; nothing for a leaf."""
    if shape.sort == "struct" and isinstance(value, dict):
        for name, part in value.items():
            yield f"f:{name}", shape.member(name), part
    elif shape.sort == "keyed" and isinstance(value, list):
        element = shape.element()
        for item in value:
            key = _key_of(shape, item)
            if key is not None:
                yield key, element, item
    elif shape.sort == "set" and isinstance(value, list):
        for item in value:
            yield f"v:{_dump(item)}", shape.element(), None


def fields_of(shape: Shape, value: Any) -> FieldSet:
    """Every field that the value sets."""
    found: FieldSet = {}
    for name, part_shape, part in children(shape, value):
        inner = fields_of(part_shape, part)
        if name.startswith("k:"):
            inner["."] = {}
        found[name] = inner
    return found


def leaves(fields: FieldSet, path: Path = ()) -> Iterator[Path]:
    """The paths that belong to the set."""
    for name, inner in fields.items():
        if name == ".":
            yield path
        elif not inner:
            yield (*path, name)
        else:
            yield from leaves(inner, (*path, name))


def from_paths(paths: set[Path]) -> FieldSet:
    root: FieldSet = {}
    for path in sorted(paths):
        node = root
        for name in path:
            node = node.setdefault(name, {})
        if path and path[-1].startswith("k:"):
            node["."] = {}
    return root


_MISSING = object()


def value_at(shape: Shape, value: Any, path: Path) -> Any:
    """The part at the path, or MISSING."""
    for name in path:
        for child, part_shape, part in children(shape, value):
            if child == name:
                shape, value = part_shape, part
                break
        else:
            return _MISSING
    return value


def is_missing(value: Any) -> bool:
    return value is _MISSING


def changed(shape: Shape, old: Any, new: Any, path: Path = ()) -> tuple[set[Path], set[Path]]:
    """The leaves that were set to something else or added, and those that were removed."""
    before = {name: (part_shape, part) for name, part_shape, part in children(shape, old)}
    after = {name: (part_shape, part) for name, part_shape, part in children(shape, new)}
    if not before and not after:
        return ({path} if path and old != new else set()), set()
    moved: set[Path] = set()
    removed: set[Path] = set()
    for name, (part_shape, part) in after.items():
        if name in before:
            inner_moved, inner_removed = changed(part_shape, before[name][1], part, (*path, name))
            moved |= inner_moved
            removed |= inner_removed
        else:
            moved |= set(leaves({name: _with_mark(name, fields_of(part_shape, part))}, path))
    for name, (part_shape, part) in before.items():
        if name not in after:
            removed |= set(leaves({name: _with_mark(name, fields_of(part_shape, part))}, path))
    return moved, removed


def _with_mark(name: str, fields: FieldSet) -> FieldSet:
    return {**fields, ".": {}} if name.startswith("k:") else fields


def merge(shape: Shape, live: Any, config: Any) -> Any:
    """The live value with everything that the configuration sets."""
    if shape.sort == "struct" and isinstance(config, dict):
        result = dict(live) if isinstance(live, dict) else {}
        for name, part in config.items():
            result[name] = merge(shape.member(name), result.get(name), part)
        return result
    if shape.sort == "keyed" and isinstance(config, list):
        items = list(live) if isinstance(live, list) else []
        index = {_key_of(shape, item): i for i, item in enumerate(items)}
        for item in config:
            at = index.get(_key_of(shape, item))
            if at is None:
                items.append(copy.deepcopy(item))
            else:
                items[at] = merge(shape.element(), items[at], item)
        return items
    if shape.sort == "set" and isinstance(config, list):
        items = list(live) if isinstance(live, list) else []
        return items + [item for item in config if item not in items]
    return copy.deepcopy(config)


def without(shape: Shape, value: Any, gone: set[Path], path: Path = ()) -> Any:
    """The value without the leaves; elements and members that have nothing left of what they had go too."""
    if not gone:
        return value
    if shape.sort == "struct" and isinstance(value, dict):
        result = {}
        for name, part in value.items():
            where = (*path, f"f:{name}")
            if where in gone:
                continue
            below = {p for p in gone if p[: len(where)] == where}
            kept = without(shape.member(name), part, below, where) if below else part
            if below and kept in ({}, []) and part not in ({}, []):
                continue
            result[name] = kept
        return result
    if shape.sort in ("keyed", "set") and isinstance(value, list):
        items = []
        for item in value:
            name = _key_of(shape, item) if shape.sort == "keyed" else f"v:{_dump(item)}"
            where = (*path, name or "")
            if where in gone:
                continue
            below = {p for p in gone if p[: len(where)] == where}
            items.append(without(shape.element(), item, below, where) if below else item)
        return items
    return value


def text(path: Path) -> str:
    """A path as conflicts name it: `.spec.ports[port=80].name`."""
    shown = ""
    for name in path:
        kind, _, rest = name.partition(":")
        if kind == "f":
            shown += f".{rest}"
        elif kind == "v":
            shown += f"[={rest}]"
        else:
            keys = json.loads(rest)
            shown += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(keys.items())) + "]"
    return shown
