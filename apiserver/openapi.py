"""OpenAPI documents of what is registered: v3 by group version, and v2 as one document.

Schemas come with the resources (``ResourceInfo.schema``); for Kubernetes' built-in kinds that bring none
they are made from the table of their fields. Documents are made when asked for and kept until the registry
changes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from apis.meta import builtin_schema
from apiserver import errors, openapi_wire, render
from apiserver.negotiation import JSON, parse_accept
from apiserver.openapi_paths import resource_paths
from apiserver.registry import Registry
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo

External = Callable[[], Awaitable[Mapping[str, Object]]]
"""Further entries of the v3 index (other servers' documents), path → entry."""

_META = ("DeleteOptions", "Status", "ListMeta", "Patch")
_KIND = "x-kubernetes-group-version-kind"
_STRINGS = {"type": "array", "items": {"type": "string"}}
_COMMON: dict[str, Object] = {
    "ListMeta": {
        "type": "object",
        "properties": {
            "continue": {"type": "string"},
            "remainingItemCount": {"type": "integer"},
            "resourceVersion": {"type": "string"},
            "selfLink": {"type": "string"},
        },
    },
    "Status": {
        "type": "object",
        "properties": {
            **builtin_schema.TYPE_META,
            "metadata": {"$ref": builtin_schema.REF + "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"},
            "status": {"type": "string"},
            "message": {"type": "string"},
            "reason": {"type": "string"},
            "code": {"type": "integer"},
            "details": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
    "Patch": {
        "type": "object",
        "description": "The changes to be made, in the form that Content-Type names.",
    },
}


def definition_name(info: ResourceInfo, kind: str = "") -> str:
    """The name of the kind's schema: the built-in ones have Kubernetes' names."""
    message = builtin_schema.message_of(info.api_version, kind or info.kind)
    if message is not None:
        return builtin_schema.schema_name(message)
    if not info.group:
        return f"io.k8s.api.core.{info.version}.{kind or info.kind}"
    return info.definition_name(kind or info.kind)


class OpenAPI:
    """Answers /openapi/v2 and /openapi/v3."""

    def __init__(self, registry: Registry, title: str, version: Object) -> None:
        self._registry = registry
        self._info = {"title": title, "version": f"{version.get('major', '0')}.{version.get('minor', '0')}"}
        self.external: External | None = None
        self._generation = -1
        self._documents: dict[str, tuple[bytes, str]] = {}

    async def serve(self, ctx: Context) -> web.StreamResponse | None:
        """The answer, or None when the path is none of OpenAPI's or another server's."""
        if self._generation != self._registry.generation:
            self._documents.clear()
            self._generation = self._registry.generation
        path = ctx.info.path
        if path == "/openapi/v2":
            return await self._answer(ctx, "v2")
        if path == "/openapi/v3":
            return await self._index(ctx)
        key = path.removeprefix("/openapi/v3/")
        if key in self._keys():
            return await self._answer(ctx, key)
        return None

    def _keys(self) -> dict[str, tuple[str, str]]:
        return {
            (f"apis/{group}/{version}" if group else f"api/{version}"): (group, version)
            for group, version in self._registry.group_versions()
        }

    async def _index(self, ctx: Context) -> web.StreamResponse:
        paths: dict[str, Object] = {}
        for key in self._keys():
            _, digest = self._document(key)
            paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
        if self.external is not None:
            for key, entry in (await self.external()).items():
                paths.setdefault(key, entry)
        return render.respond(ctx, msgspec.json.encode({"paths": dict(sorted(paths.items()))}), JSON)

    async def _answer(self, ctx: Context, key: str) -> web.StreamResponse:
        media = JSON
        clauses = parse_accept(ctx.http.headers.get("Accept", ""))
        if clauses and not any(c.type in (JSON, "*/*", "application/*") for c in clauses):
            if key != "v2" or not any(c.type == openapi_wire.ACCEPTED for c in clauses):
                raise errors.not_acceptable((JSON,))
            media, key = openapi_wire.MEDIA, "v2 in protobuf"
        body, digest = self._document(key)
        headers = {"ETag": f'"{digest}"', "Vary": "Accept"}
        if f'"{digest}"' in ctx.http.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        response = render.respond(ctx, body, media)
        response.headers.update(headers)
        if ctx.query.get("hash") == digest:
            # The address names this very content: it may be kept for good.
            response.headers["Cache-Control"] = "public, immutable"
        return await render.compressed(ctx, response)

    def _document(self, key: str) -> tuple[bytes, str]:
        known = self._documents.get(key)
        if known is None:
            if key == "v2 in protobuf":
                body = openapi_wire.document(self._v2())
            else:
                body = msgspec.json.encode(self._v2() if key == "v2" else self._v3(*self._keys()[key]))
            known = self._documents[key] = (body, hashlib.sha512(body).hexdigest().upper()[:64])
        return known

    def _v3(self, group: str, version: str) -> Object:
        infos = self._registry.resources(group, version)
        return {
            "openapi": "3.0.0",
            "info": self._info,
            "paths": paths_of(infos),
            "components": {"schemas": schemas_of(infos)},
        }

    def _v2(self) -> Object:
        infos = self._registry.infos()
        return {
            "swagger": "2.0",
            "info": self._info,
            "paths": {path: _to_v2_path(item) for path, item in paths_of(infos).items()},
            "definitions": _to_v2(schemas_of(infos)),
        }


def paths_of(infos: list[ResourceInfo]) -> Object:
    paths: Object = {}
    for info in infos:
        paths |= resource_paths(info, definition_name)
    return paths


def schemas_of(infos: list[ResourceInfo]) -> dict[str, Object]:
    """The schemas of the resources, their lists, and everything that these refer to."""
    schemas: dict[str, Object] = {}
    for message in ("meta.ObjectMeta", "meta.DeleteOptions"):
        schemas |= builtin_schema.closure(message)
    for name, schema in _COMMON.items():
        schemas[f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}"] = schema
    for info in infos:
        name = definition_name(info)
        own = builtin_schema.message_of(info.api_version, info.kind)
        if own is not None and info.schema is None:
            schemas |= builtin_schema.closure(own)
        for kind in (info.kind, *(sub.kind for sub in info.subresources)):
            own_ones = _own_schemas(info, kind).items()
            schemas |= {key: made for key, made in own_ones if key not in schemas or _KIND in made}
        schemas[name] = _with_kind(info, info.kind, _schema(info, schemas.get(name)))
        if "list" in info.verbs:
            schemas[definition_name(info, info.list_kind)] = _with_kind(
                info, info.list_kind, _list_schema(info)
            )
        for sub in info.subresources:
            api_version = f"{sub.group}/{sub.version}" if sub.group else sub.version or info.api_version
            inner = builtin_schema.message_of(api_version, sub.kind)
            if inner is not None:
                schemas |= {k: v for k, v in builtin_schema.closure(inner).items() if k not in schemas}
    return dict(sorted(schemas.items()))


def _own_schemas(info: ResourceInfo, kind: str) -> dict[str, Object]:
    """Those that come with the resource: of a kind, and of all that it refers to."""
    found: dict[str, Object] = {}
    waiting = [definition_name(info, kind)]
    while waiting:
        name = waiting.pop()
        schema = info.definitions.get(name)
        if schema is None or name in found:
            continue
        found[name] = dict(schema)
        waiting += _references(schema)
    first = definition_name(info, kind)
    if first in found:
        found[first] = _with_kind(info, kind, found[first])
    return found


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            return [str(schema["$ref"]).removeprefix(builtin_schema.REF)]
        return [name for inner in schema.values() for name in _references(inner)]
    return [name for inner in schema for name in _references(inner)] if isinstance(schema, list) else []


def _schema(info: ResourceInfo, builtin: Object | None) -> Object:
    if info.schema is None:
        return dict(builtin) if builtin else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = dict(info.schema)
    made["properties"] = {**builtin_schema.TYPE_META, **made.get("properties", {})}
    made["properties"]["metadata"] = {
        "$ref": builtin_schema.REF + "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    }
    return made


def _with_kind(info: ResourceInfo, kind: str, schema: Object) -> Object:
    entry = {"group": info.group, "version": info.version, "kind": kind}
    return {**schema, _KIND: [entry]}


def _list_schema(info: ResourceInfo) -> Object:
    return {
        "description": f"A list of {info.kind} objects.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **builtin_schema.TYPE_META,
            "metadata": {"$ref": builtin_schema.REF + "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"},
            "items": {"type": "array", "items": {"$ref": builtin_schema.REF + definition_name(info)}},
        },
    }


# --- v2 ---

_V3_ONLY = ("nullable", "oneOf", "anyOf", "not")


def _to_v2(value: Any) -> Any:
    if isinstance(value, dict):
        out = {}
        if list(map(list, value.get("allOf", ()))) == [["$ref"]]:
            # In v2 the description stands beside the reference.
            value = {**{key: inner for key, inner in value.items() if key != "allOf"}, **value["allOf"][0]}
        for key, inner in value.items():
            if key in _V3_ONLY and not isinstance(inner, Mapping | str):
                continue
            if key == "$ref" and isinstance(inner, str):
                inner = inner.replace(builtin_schema.REF, "#/definitions/")
            out[key] = _to_v2(inner)
        return out
    if isinstance(value, list):
        return [_to_v2(item) for item in value]
    return value


def _to_v2_path(item: Object) -> Object:
    """A path item with bodies and answers in the old places."""
    out: Object = {}
    for method, operation in item.items():
        if method == "parameters":
            out[method] = [_to_v2_parameter(parameter) for parameter in operation]
            continue
        made = copy.copy(operation)
        made["parameters"] = [_to_v2_parameter(parameter) for parameter in operation.get("parameters", ())]
        body = made.pop("requestBody", None)
        if body is not None:
            schema = next(iter(body["content"].values()))["schema"]
            made["parameters"].append(
                {"name": "body", "in": "body", "required": True, "schema": _to_v2(schema)}
            )
            made["consumes"] = list(body["content"])
        made["responses"] = {}
        for code, answer in operation["responses"].items():
            content = answer.get("content")
            response: Object = {"description": answer["description"]}
            if content:
                response["schema"] = _to_v2(next(iter(content.values()))["schema"])
                made["produces"] = list(content)
            made["responses"][code] = response
        out[method] = made
    return out


def _to_v2_parameter(parameter: Object) -> Object:
    made = {key: value for key, value in parameter.items() if key != "schema"}
    return {**made, "type": parameter["schema"]["type"]}
