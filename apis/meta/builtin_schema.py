"""OpenAPI schemas of Kubernetes' built-in kinds, out of the same table as their protobuf form.

They say what fields there are, of which types, and how lists merge: what ``kubectl apply``, ``kubectl
explain`` and the search for unknown fields need. Descriptions are not in the table.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

Schema = dict[str, Any]
REF = "#/components/schemas/"

_SCALARS: dict[str, Schema] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "micro": {"type": "string", "format": "date-time"},
    "duration": {"type": "string"},
    "quantity": {"x-kubernetes-int-or-string": True, "type": "string"},
    "intstr": {"x-kubernetes-int-or-string": True, "type": "string", "format": "int-or-string"},
    "fields": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
TYPE_META: Schema = {
    "apiVersion": {"type": "string", "description": "The version of the schema of this object."},
    "kind": {"type": "string", "description": "The kind of this object, in CamelCase."},
}


@functools.cache
def _table() -> Any:
    return json.loads(resources.files("openapi.kubernetes").joinpath("fields.json").read_text())


def schema_name(message: str) -> str:
    """``core/v1.Pod`` → ``io.k8s.api.core.v1.Pod``."""
    package, name = message.rsplit(".", 1)
    if package == "meta":
        return f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}"
    return f"io.k8s.api.{package.replace('/', '.')}.{name}"


def message_of(api_version: str, kind: str) -> str | None:
    found = _table()["kinds"].get(f"{api_version}/{kind}")
    return str(found) if found is not None else None


def _type_schema(kind: str) -> Schema:
    if kind.startswith(("*", "<")):
        return _type_schema(kind[1:])
    if kind.startswith("[]"):
        return {"type": "array", "items": _type_schema(kind[2:])}
    if kind.startswith("{}"):
        return {"type": "object", "additionalProperties": _type_schema(kind[2:])}
    if kind == "meta.Strings":
        return {"type": "array", "items": {"type": "string"}}
    scalar = _SCALARS.get(kind)
    return dict(scalar) if scalar is not None else {"$ref": REF + schema_name(kind)}


def _properties(message: str) -> tuple[Schema, list[str]]:
    properties: Schema = {}
    required: list[str] = []
    for row in _table()["messages"][message]:
        name, kind, options = row[1], row[2], str(row[3]) if len(row) > 3 else ""
        if kind.startswith("<"):
            inner, inner_required = _properties(kind[1:])
            properties |= inner
            required += inner_required
            continue
        field = _type_schema(kind)
        flags = dict(option.partition("=")[::2] for option in options.split())
        if "required" in flags:
            required.append(name)
        if "strategy" in flags:
            field["x-kubernetes-patch-strategy"] = flags["strategy"]
            if flags.get("key"):
                field["x-kubernetes-patch-merge-key"] = flags["key"]
        properties[name] = field
    return properties, required


@functools.cache
def definition(message: str) -> Schema:
    """The schema of one message; others are referred to. Not to be changed."""
    properties, required = _properties(message)
    if message in _table()["kinds"].values():
        properties = {**TYPE_META, **properties}
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = sorted(required)
    return made


@functools.cache
def _by_name() -> dict[str, str]:
    return {schema_name(message): message for message in _table()["messages"]}


def resolve(reference: str) -> Schema:
    """The schema behind a ``$ref``; nothing is known about others than the built-in ones."""
    message = _by_name().get(reference.removeprefix(REF))
    return definition(message) if message is not None else {}


def closure(message: str) -> dict[str, Schema]:
    """The definitions of a message and of all that it refers to, by schema name."""
    found: dict[str, Schema] = {}
    waiting = [message]
    while waiting:
        current = waiting.pop()
        name = schema_name(current)
        if name in found:
            continue
        found[name] = definition(current)
        for row in _table()["messages"][current]:
            inner = str(row[2])
            while inner[:1] in "*<" or inner[:2] in ("[]", "{}"):
                inner = inner[1:] if inner[:1] in "*<" else inner[2:]
            if inner in _table()["messages"] and inner != "meta.Strings":
                waiting.append(inner)
    return found


@functools.cache
def list_strategy(kind: str) -> dict[tuple[str, ...], str]:
    """For a kind that has one of the names in the table: path of fields → merge key ("" for sets of
    values)."""
    keys: dict[tuple[str, ...], str] = {}
    message = next((m for k, m in _table()["kinds"].items() if k.rsplit("/", 1)[1] == kind), None)
    if message is not None:
        _collect(message, (), keys)
    return keys


def _collect(message: str, path: tuple[str, ...], keys: dict[tuple[str, ...], str]) -> None:
    if len(path) > 12:
        return
    for row in _table()["messages"][message]:
        name, kind, options = row[1], row[2], str(row[3]) if len(row) > 3 else ""
        here = path if kind.startswith("<") else (*path, name)
        flags = dict(option.partition("=")[::2] for option in options.split())
        if "merge" in flags.get("strategy", "").split(",") and kind.lstrip("*").startswith("[]"):
            keys[here] = flags.get("key", "")
        inner = kind.lstrip("*<").removeprefix("[]").removeprefix("{}").lstrip("*")
        if inner in _table()["messages"]:
            _collect(inner, here, keys)
