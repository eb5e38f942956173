"""Reads the `*.types` files: field names, types and list semantics of the kinds a cluster brings along.

A file holds one API group. A line without indentation names a type (`core.Pod`); the lines below it are its
fields: name, type, flags. Types are `string int32 int64 float64 bool bytes time microtime quantity intstr
any`, another type's name, `[]T` or `map:T`. Flags:

    !            required          =JSON     default written when absent
    keys=a,b     list of objects told apart by these fields (server-side apply)
    set          list of distinct scalars     atomic   list, map or type replaced as a whole
    merge[=k]    strategic merge patch joins the lists by k     retain   …and keeps only the keys of the patch

The facts are those of Kubernetes 1.34's published OpenAPI. Files are parsed on first use and live as long
as the process.
"""

from __future__ import annotations

import functools
import json
import pathlib
from dataclasses import dataclass, field
from typing import Any

_FOLDER = pathlib.Path(__file__).parent
SCALARS = frozenset(
    ("string", "int32", "int64", "float64", "bool", "bytes", "time", "microtime", "quantity", "intstr", "any")
)


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field holds: `base` is a scalar or a type name, wrapped in a list or a map or in nothing."""

    base: str
    container: str = ""  # "", "list" or "map"
    inner: FieldType | None = None  # the element of a list or map

    @staticmethod
    def parse(text: str) -> FieldType:
        if text.startswith("[]"):
            return FieldType("", "list", FieldType.parse(text[2:]))
        if text.startswith("map:"):
            return FieldType("", "map", FieldType.parse(text[4:]))
        return FieldType(text)

    @property
    def is_object(self) -> bool:
        return not self.container and self.base not in SCALARS

    def go(self) -> str:
        """The type's name in the messages of Kubernetes' decoder."""
        if self.container == "list":
            assert self.inner is not None
            return "[]" + self.inner.go()
        if self.container == "map":
            assert self.inner is not None
            return "map[string]" + self.inner.go()
        if self.base in SCALARS:
            return {"bytes": "[]uint8", "time": "v1.Time", "quantity": "resource.Quantity"}.get(
                self.base, self.base
            )
        return "v1." + self.base.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: FieldType
    required: bool = False
    default: Any = None
    keys: tuple[str, ...] = ()
    is_set: bool = False
    atomic: bool = False
    merge: str | None = None  # "" : a list of scalars that is united
    retain: bool = False


@dataclass(slots=True)
class Type:
    name: str
    atomic: bool = False
    fields: dict[str, Field] = field(default_factory=dict)

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]


def _field(line: str) -> Field:
    name, type_text, *flags = line.split()
    options: dict[str, Any] = {}
    for flag in flags:
        if flag == "!":
            options["required"] = True
        elif flag.startswith("="):
            options["default"] = json.loads(flag[1:])
        elif flag.startswith("keys="):
            options["keys"] = tuple(flag[5:].split(","))
        elif flag == "set":
            options["is_set"] = True
        elif flag in ("atomic", "atomicmap"):
            options["atomic"] = True
        elif flag == "retain":
            options["retain"] = True
        elif flag.startswith("merge"):
            options["merge"] = flag[6:]
        else:
            raise ValueError(f"the type notation knows no flag {flag!r} (line: {line.strip()!r})")
    return Field(name, FieldType.parse(type_text), **options)


@functools.cache
def _group(group: str) -> dict[str, Type]:
    types: dict[str, Type] = {}
    current: Type | None = None
    for line in (_FOLDER / f"{group}.types").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name, *flags = line.split()
            current = types[name] = Type(name, "atomic" in flags)
        else:
            assert current is not None
            item = _field(line)
            current.fields[item.name] = item
    return types


def lookup(name: str) -> Type:
    """The type of that name (`core.Pod`); KeyError when there is none."""
    return _group(name.partition(".")[0])[name]
