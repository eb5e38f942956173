"""Strategic merge patch: a merge patch that merges lists by key and knows directives.

Kubernetes' apimachinery (strategicpatch) defines the directives: ``$patch: replace|delete|merge``,
``$retainKeys``, ``$deleteFromPrimitiveList/FIELD`` and ``$setElementOrder/FIELD``. ``kubectl apply`` and
``kubectl edit`` send patches of this form for built-in kinds.
"""

from __future__ import annotations

import copy
from typing import Any

from apiserver.documents.jsonpatch import PatchError
from apiserver.documents.mergekeys import SET, merge_key

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
Path = tuple[str, ...]


def strategic_merge(kind: str, document: Any, patch: Any) -> Any:
    """The document with the patch merged in. Raises PatchError."""
    if not isinstance(patch, dict):
        raise PatchError("a strategic merge patch must be an object")
    merged = _merge_map(kind, copy.deepcopy(document), patch, ())
    if not isinstance(merged, dict):
        raise PatchError("a strategic merge patch cannot delete the whole object")
    return merged


def _merge_map(kind: str, target: dict[str, Any], patch: dict[str, Any], path: Path) -> Any:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _without_directives({k: v for k, v in patch.items() if k != _PATCH})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"Unknown patch type: {directive}")
    retain = patch.get(_RETAIN)
    if isinstance(retain, list):
        target = {key: value for key, value in target.items() if key in retain}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            field = key[len(_DELETE) :]
            if isinstance(target.get(field), list) and isinstance(value, list):
                target[field] = [item for item in target[field] if item not in value]
            continue
        if value is None:
            target.pop(key, None)
            continue
        target[key] = _merge_value(kind, target.get(key), value, (*path, key))
    for key, value in patch.items():
        if key.startswith(_ORDER) and isinstance(value, list):
            field = key[len(_ORDER) :]
            if isinstance(target.get(field), list):
                target[field] = _ordered(target[field], value, merge_key(kind, (*path, field)))
    return target


def _merge_value(kind: str, present: Any, value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return _merge_map(kind, present if isinstance(present, dict) else {}, value, path)
    if isinstance(value, list):
        key = merge_key(kind, path)
        if key is None:
            return _without_directives(value)
        return _merge_list(kind, present if isinstance(present, list) else [], value, key, path)
    return value


def _merge_list(kind: str, present: list[Any], patch: list[Any], key: str, path: Path) -> list[Any]:
    if key == SET:
        return present + [item for item in patch if item not in present]
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"{'.'.join(path)}: the elements of a list that merges by {key} must be objects")
    if any(item.get(_PATCH) == "replace" for item in patch):
        # A lone {"$patch": "replace"} says that the other elements are the whole list.
        return [_without_directives(i) for i in patch if i.get(_PATCH) != "replace" or len(i) > 1]
    result = list(present)
    for item in patch:
        if item.get(_PATCH) == "delete" and key not in item:
            raise PatchError(f"delete patch type with no merge key defined: {'.'.join(path)}")
        if key not in item:
            raise PatchError(f"map: {item} does not contain declared merge key: {key}")
        at = next(
            (i for i, known in enumerate(result) if isinstance(known, dict) and known.get(key) == item[key]),
            None,
        )
        if item.get(_PATCH) == "delete":
            result = [known for known in result if not isinstance(known, dict) or known.get(key) != item[key]]
        elif at is None:
            result.append(_merge_map(kind, {}, item, path))
        else:
            result[at] = _merge_map(kind, result[at], item, path)
    return result


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """The items in the order that the patch gives; those it does not name keep their place behind the one
    that they followed."""
    if key is None:
        return items

    def identity(item: Any) -> Any:
        return item.get(key) if key != SET and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    named = sorted(
        (item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item))
    )
    result: list[Any] = []
    replacement = iter(named)
    # Named items take the places of named items; the others stay where they are in between.
    for item in items:
        result.append(next(replacement) if identity(item) in wanted else item)
    return result


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _without_directives(v)
            for k, v in value.items()
            if k not in (_PATCH, _RETAIN) and not k.startswith((_ORDER, _DELETE)) and v is not None
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value
