"""What the server says it has: group and resource lists as of old, and aggregated discovery (v2).

Groups of other servers (APIServices) come through ``external``: a function that gives their APIGroupDiscovery
items, from which the old form is derived too. Where several groups have a resource of one name, clients take
the first: ``rank`` gives the order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from apiserver import errors, render
from apiserver.discovery_wire import encode_discovery
from apiserver.negotiation import ALL, JSON, PROTOBUF, parse_accept
from apiserver.registry import Registry
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo

External = Callable[[], Awaitable[Sequence[Object]]]
Rank = Callable[[str], tuple[int, str]]
AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Discovery:
    """Answers /api, /apis, /apis/GROUP and /apis/GROUP/VERSION."""

    def __init__(self, registry: Registry, external: External | None = None) -> None:
        self._registry = registry
        self.external = external
        self.rank: Rank | None = None  # a sort key of groups; without it: as registered, aggregated by name

    # --- the old documents ---

    def core_versions(self, address: str) -> Object:
        return {
            "kind": "APIVersions",
            "versions": self._registry.versions(""),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }

    async def _external_groups(self) -> Sequence[Object]:
        return await self.external() if self.external is not None else ()

    async def group_list(self, address: str) -> Object:
        groups = [self._group(name) for name in self._registry.groups()]
        known = {group["name"] for group in groups}
        for item in await self._external_groups():
            if item["metadata"]["name"] not in known:
                versions = [version["version"] for version in item["versions"]]
                groups.append(_group_document(item["metadata"]["name"], versions))
        if self.rank is not None:
            rank = self.rank
            groups.sort(key=lambda group: rank(group["name"]))
        for group in groups:
            group["serverAddressByClientCIDRs"] = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIGroupList", "groups": groups}

    def _group(self, group: str) -> Object:
        return _group_document(group, self._registry.versions(group))

    async def group(self, group: str) -> Object:
        if self._registry.has_group(group):
            document = self._group(group)
        else:
            for item in await self._external_groups():
                if item["metadata"]["name"] == group:
                    document = _group_document(group, [version["version"] for version in item["versions"]])
                    break
            else:
                raise errors.no_such_resource()
        return {"kind": "APIGroup", "apiVersion": "v1", **document}

    def resource_list(self, group: str, version: str) -> Object:
        entries: list[Object] = []
        for info in self._registry.resources(group, version):
            entries.append(_resource_entry(info))
            for sub in sorted(info.subresources, key=lambda sub: sub.name):
                entry: Object = {
                    "name": f"{info.plural}/{sub.name}",
                    "singularName": "",
                    "namespaced": info.namespaced,
                }
                if sub.version:
                    entry |= {"group": sub.group, "version": sub.version}
                entries.append(entry | {"kind": sub.kind, "verbs": sorted(sub.verbs)})
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": entries,
        }

    # --- aggregated ---

    async def aggregated(self, core: bool) -> Object:
        names = [""] if core else sorted(self._registry.groups())
        items = [self._aggregated_group(name) for name in names if self._registry.versions(name)]
        if not core:
            known = set(names)
            items += [item for item in await self._external_groups() if item["metadata"]["name"] not in known]
            if self.rank is not None:
                rank = self.rank
                items.sort(key=lambda item: rank(item["metadata"]["name"]))
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _aggregated_group(self, group: str) -> Object:
        versions = [
            {
                "version": version,
                "resources": [
                    _aggregated_resource(info) for info in self._registry.resources(group, version)
                ],
                "freshness": "Current",
            }
            for version in self._registry.versions(group)
        ]
        return {"metadata": {"name": group} if group else {}, "versions": versions}

    # --- answering ---

    async def serve(self, ctx: Context) -> web.StreamResponse | None:
        """The answer for a discovery path, or None if the path is none (or nothing is there)."""
        parts = ctx.info.path.strip("/").split("/")
        registry = self._registry
        if parts[0] == "api" and registry.has_group(""):
            if len(parts) == 1:
                return await self._root(ctx, core=True)
            if len(parts) == 2 and registry.has_version("", parts[1]):
                return _document(ctx, self.resource_list("", parts[1]))
        elif parts[0] == "apis":
            if len(parts) == 1:
                return await self._root(ctx, core=False)
            if len(parts) == 2:
                try:
                    return _document(ctx, await self.group(parts[1]))
                except errors.StatusError:
                    return None
            if len(parts) == 3 and registry.has_version(parts[1], parts[2]):
                return _document(ctx, self.resource_list(parts[1], parts[2]))
            if len(parts) == 3 and registry.has_group(parts[1]):
                raise errors.no_such_resource()
        return None

    async def _root(self, ctx: Context, core: bool) -> web.StreamResponse:
        if ctx.http.method != "GET":
            raise errors.method_not_allowed()
        for clause in parse_accept(ctx.http.headers.get("Accept", "")):
            if clause.parameters.get("as") == "APIGroupDiscoveryList":
                if clause.parameters.get("v") == "v2" and clause.type in (JSON, PROTOBUF):
                    return await self._aggregated_answer(ctx, core, clause.type)
            elif clause.type in (*ALL, "*/*", "application/*"):
                break
        else:
            if ctx.http.headers.get("Accept", "").strip():
                raise errors.not_acceptable(ALL)
        address = ctx.http.host
        return _document(ctx, self.core_versions(address) if core else await self.group_list(address))

    async def _aggregated_answer(self, ctx: Context, core: bool, media: str) -> web.StreamResponse:
        document = await self.aggregated(core)
        text = msgspec.json.encode(document)
        tag = '"' + hashlib.sha512(text).hexdigest().upper() + '"'
        headers = {"Cache-Control": "public", "Vary": "Accept", "ETag": tag}
        if tag in ctx.http.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = encode_discovery(document) if media == PROTOBUF else text + b"\n"
        response = web.Response(body=body, headers=headers | {"Content-Type": f"{media};{AGGREGATED}"})
        return await render.compressed(ctx, response)


def _document(ctx: Context, document: Object) -> web.Response:
    """A discovery document in JSON or YAML."""
    if ctx.http.method != "GET":
        raise errors.method_not_allowed()
    accept = ctx.http.headers.get("Accept", "")
    for clause in parse_accept(accept):
        if clause.parameters.get("as"):
            continue
        if clause.type in ALL or clause.type in ("*/*", "application/*"):
            break
    else:
        if accept.strip():
            raise errors.not_acceptable(ALL)
        return render.respond(ctx, render.text(document, ctx.form), JSON)
    media = clause.type if clause.type in ALL and clause.type != PROTOBUF else JSON
    if clause.type == PROTOBUF:
        from apiserver.discovery_wire import encode_legacy

        return render.respond(ctx, encode_legacy(document), PROTOBUF)
    from apiserver.negotiation import Form

    return render.respond(ctx, render.text(document, Form(media, pretty=ctx.form.pretty)), media)


def _group_document(group: str, versions: Sequence[str]) -> Object:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def _resource_entry(info: ResourceInfo) -> Object:
    entry: Object = {
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": info.namespaced,
        "kind": info.kind,
        "verbs": sorted(info.verbs),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    return entry


def _aggregated_resource(info: ResourceInfo) -> Object:
    entry: Object = {
        "resource": info.plural,
        "responseKind": {"group": "", "version": "", "kind": info.kind},
        "scope": "Namespaced" if info.namespaced else "Cluster",
        "singularResource": info.singular,
        "verbs": sorted(info.verbs),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if info.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sorted(sub.verbs),
            }
            for sub in sorted(info.subresources, key=lambda sub: sub.name)
        ]
    return entry
