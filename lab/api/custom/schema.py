"""Structural schemas of CustomResourceDefinitions: pruning and defaulting.

A schema is the openAPIV3Schema of a version, as JSON. Pruning drops fields that it does not name (unless
x-kubernetes-preserve-unknown-fields) and reports their paths; defaulting fills in `default`s where a field is
absent, also inside of what was defaulted (Kubernetes 1.34, structural schemas).
"""

from __future__ import annotations

import copy
from typing import Any

Schema = dict[str, Any]
_ROOT = ("apiVersion", "kind", "metadata")


def prune(schema: Schema, value: Any, path: str = "", root: bool = True) -> list[str]:
    """Removes unknown fields from the value in place; returns their paths."""
    unknown: list[str] = []
    _prune(schema, value, path, root, unknown)
    return unknown


def _prune(schema: Schema, value: Any, path: str, root: bool, unknown: list[str]) -> None:
    if isinstance(value, list):
        items = schema.get("items")
        if items is not None:
            for i, item in enumerate(value):
                _prune(items, item, f"{path}[{i}]", False, unknown)
        return
    if not isinstance(value, dict):
        return
    embedded = root or schema.get("x-kubernetes-embedded-resource", False)
    properties: Schema = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    preserve = schema.get("x-kubernetes-preserve-unknown-fields", False)
    for name in list(value):
        where = f"{path}.{name}" if path else name
        if embedded and name in _ROOT:
            continue
        if name in properties:
            _prune(properties[name], value[name], where, False, unknown)
        elif isinstance(additional, dict):
            _prune(additional, value[name], where, False, unknown)
        elif additional is not True and not preserve:
            unknown.append(where)
            del value[name]


def apply_defaults(schema: Schema, value: Any) -> None:
    """Writes defaults into the value in place; a null of a field that is not nullable counts as absent."""
    if isinstance(value, list):
        items = schema.get("items")
        if items is not None:
            for item in value:
                apply_defaults(items, item)
        return
    if not isinstance(value, dict):
        return
    for name, part in schema.get("properties", {}).items():
        if name in value and value[name] is None and not part.get("nullable") and "default" in part:
            del value[name]
        if name not in value and "default" in part:
            value[name] = copy.deepcopy(part["default"])
        if name in value:
            apply_defaults(part, value[name])
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        for name, item in value.items():
            if name not in schema.get("properties", {}):
                apply_defaults(additional, item)


def drop_nulls(schema: Schema, value: Any) -> None:
    """Nulls where the schema wants a value are dropped before validation, as kube-apiserver does on write."""
    if isinstance(value, list):
        for item in value:
            drop_nulls(schema.get("items") or {}, item)
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for name in list(value):
            part = properties.get(name) or (additional if isinstance(additional, dict) else None)
            if part is None:
                continue
            if value[name] is None:
                if not part.get("nullable") and "default" in part:
                    del value[name]
            else:
                drop_nulls(part, value[name])
