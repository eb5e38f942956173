"""OpenAPI schemas of Antrea's own API groups: the fields of their kinds, of which types, and their meaning.

The table (schemas.json) is generated from the .proto files of openapi/.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from apis.meta.builtin_schema import TYPE_META

Schema = dict[str, Any]


@functools.cache
def _table() -> dict[str, dict[str, Schema]]:
    loaded: dict[str, dict[str, Schema]] = json.loads(
        resources.files("apis").joinpath("schemas.json").read_text()
    )
    return loaded


def definition_name(api_version: str, kind: str) -> str:
    """``stats.antrea.io/v1alpha1``, ``MulticastGroup`` → ``io.antrea.stats.v1alpha1.MulticastGroup``."""
    group, _, version = api_version.rpartition("/")
    return ".".join([*reversed(group.split(".")), version, kind])


@functools.cache
def definitions() -> Mapping[str, Schema]:
    """Every message of the three groups by definition name; references are by these names. Not to be changed.

    Those that are objects of their own (they have metadata) also have kind and apiVersion."""
    found: dict[str, Schema] = {}
    for api_version, kinds in _table().items():
        for kind, schema in kinds.items():
            if "metadata" in schema["properties"]:
                schema = {**schema, "properties": {**TYPE_META, **schema["properties"]}}
            found[definition_name(api_version, kind)] = schema
    return found
