"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Pure: documents in, documents out."""

from __future__ import annotations

import copy
from typing import Any

import msgspec


class PatchError(ValueError):
    """The patch is malformed, or (``unprocessable``) does not fit the object.

    ``reason`` is what kube-apiserver says of a webhook's patch, in more detail than of a client's.
    """

    def __init__(self, message: str, unprocessable: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.unprocessable = unprocessable
        self.reason = reason or message


MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024  # bytes of JSON that all copies of one patch may add: copies of copies double


def merge_patch(target: Any, patch: Any) -> Any:
    """The document with the patch merged in; null removes."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(document: Any, patch: Any) -> Any:
    """The document after the operations. Raises PatchError; then nothing has been changed."""
    if not isinstance(patch, list):
        raise PatchError("json patch must be a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(
            f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
    document = copy.deepcopy(document)
    copied = 0
    for operation in patch:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("an operation of a json patch needs op and path")
        if operation.get("op") == "copy" and isinstance(operation.get("from"), str):
            copied += len(msgspec.json.encode(_get(document, operation["from"])))
            if copied > MAX_COPIED:
                raise PatchError(
                    f"unable to complete the copy, the accumulated size increase of copy is {copied}, "
                    f"exceeding the limit {MAX_COPIED}",
                    True,
                )
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    op, path = operation.get("op"), operation["path"]
    if op in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f'a json patch operation "{op}" needs a value')
    if op == "test":
        if _get(document, path) != operation["value"]:
            raise PatchError(f"testing path {path} value failed: test failed", True)
        return document
    if op == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if op == "remove":
        return _remove(document, path)
    if op == "replace":
        return _replace(document, path, copy.deepcopy(operation["value"]))
    if op in ("move", "copy"):
        source = operation.get("from")
        if not isinstance(source, str):
            raise PatchError(f'a json patch operation "{op}" needs from')
        value = copy.deepcopy(_get(document, source))
        if op == "move":
            document = _remove(document, source)
        return _add(document, path, value)
    raise PatchError(f"unexpected kind of json patch operation: {op}")


def _tokens(path: str) -> list[str]:
    if not path:
        return []
    if not path.startswith("/"):
        raise PatchError(f'the path "{path}" of a json patch must start with "/"')
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _missing(path: str) -> PatchError:
    return PatchError(
        f'the server rejected our request due to an error in our request: path "{path}" is missing', True
    )


def _index(token: str, length: int, path: str) -> int:
    if not token.isascii() or not token.isdigit() or int(token) >= length:
        raise _missing(path)
    return int(token)


def _step(value: Any, token: str, path: str) -> Any:
    if isinstance(value, dict) and token in value:
        return value[token]
    if isinstance(value, list):
        return value[_index(token, len(value), path)]
    raise _missing(path)


def _get(document: Any, path: str) -> Any:
    for token in _tokens(path):
        document = _step(document, token, path)
    return document


def _parent(document: Any, path: str) -> tuple[Any, str]:
    tokens = _tokens(path)
    for token in tokens[:-1]:
        document = _step(document, token, path)
    return document, tokens[-1]


def _add(document: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    parent, token = _parent(document, path)
    if isinstance(parent, dict):
        parent[token] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if token == "-" else _index(token, len(parent) + 1, path), value)
    else:
        raise _missing(path)
    return document


def _replace(document: Any, path: str, value: Any) -> Any:
    """Like kube-apiserver, and unlike the RFC, a member of an object need not be there before."""
    if not path:
        return value
    try:
        parent, token = _parent(document, path)
    except PatchError as error:
        reason = f"replace operation does not apply: doc is missing path: {path}: missing value"
        raise PatchError(str(error), True, reason) from None
    if isinstance(parent, dict):
        parent[token] = value
    elif isinstance(parent, list):
        parent[_index(token, len(parent), path)] = value
    else:
        raise _missing(path)
    return document


def _remove(document: Any, path: str) -> Any:
    if not path:
        raise PatchError("the whole document cannot be removed by a json patch")
    parent, token = _parent(document, path)
    if isinstance(parent, dict) and token in parent:
        del parent[token]
    elif isinstance(parent, list):
        del parent[_index(token, len(parent), path)]
    else:
        raise _missing(path)
    return document
