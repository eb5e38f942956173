"""The paths of a resource in OpenAPI: which operations, with which parameters, taking and giving what.

kubectl looks here for two things: where a kind is served, and whether PATCH knows ``fieldValidation``.
"""

from __future__ import annotations

from collections.abc import Callable

from apis.meta.builtin_schema import REF
from apiserver.negotiation import JSON, YAML
from apiserver.resources import Object, ResourceInfo

Naming = Callable[..., str]
META = REF + "io.k8s.apimachinery.pkg.apis.meta.v1."

_DESCRIPTIONS = {
    "pretty": ("string", "If 'true', the answer is indented."),
    "dryRun": ("string", "'All': everything but the storing is done."),
    "fieldManager": ("string", "Who makes the change."),
    "fieldValidation": ("string", "What becomes of unknown fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Take over fields that others manage (server-side apply)."),
    "labelSelector": ("string", "Only objects with these labels."),
    "fieldSelector": ("string", "Only objects with these fields."),
    "limit": ("integer", "At most so many objects; the rest with continue."),
    "continue": ("string", "Where the list goes on."),
    "resourceVersion": ("string", "The version to list at or to watch from."),
    "resourceVersionMatch": ("string", "How resourceVersion is meant."),
    "timeoutSeconds": ("integer", "How long the watch lasts."),
    "watch": ("boolean", "Stream the changes."),
    "allowWatchBookmarks": ("boolean", "Send bookmarks."),
    "sendInitialEvents": ("boolean", "Begin the watch with what there is."),
    "gracePeriodSeconds": ("integer", "How long the object may take to end."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "orphanDependents": ("boolean", "The older form of propagationPolicy."),
}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_STRATEGIC = "application/strategic-merge-patch+json"  # kubectl apply sends it where it is listed


def _parameter(name: str) -> Object:
    kind, description = _DESCRIPTIONS[name]
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": kind, "uniqueItems": True},
    }


def _path_parameter(name: str) -> Object:
    text = {"name": "The name of the object.", "namespace": "The namespace of the object."}[name]
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def resource_paths(info: ResourceInfo, naming: Naming) -> Object:
    """Path → path item, for the collection, one object, and the subresources."""
    root = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
    scope = f"{root}/namespaces/{{namespace}}" if info.namespaced else root
    base = [_path_parameter("namespace")] if info.namespaced else []
    gvk = {"group": info.group, "version": info.version, "kind": info.kind}
    this, whole = REF + naming(info), REF + naming(info, info.list_kind)
    patches = _PATCHES if info.items_typed else (*_PATCHES, _STRATEGIC)
    paths: Object = {}

    def operation(
        action: str, gives: str, parameters: tuple[str, ...], takes: tuple[str, tuple[str, ...]] | None = None
    ) -> Object:
        content = {media: {"schema": {"$ref": gives}} for media in (JSON, YAML)}
        tag = f"{info.group.split('.')[0] or 'core'}_{info.version}"
        made: Object = {
            "description": f"{action} {info.kind}",
            "operationId": f"{action}-{tag}-{info.plural}",
            "tags": [tag],
            "parameters": [_parameter(name) for name in parameters],
            "responses": {
                "200": {"description": "OK", "content": content},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }
        if action == "post":
            made["responses"]["201"] = {"description": "Created", "content": content}
        if takes is not None:
            schema, media = takes
            made["requestBody"] = {"content": {m: {"schema": {"$ref": schema}} for m in media}}
        return made

    collection: Object = {}
    single: Object = {}
    if "list" in info.verbs:
        collection["get"] = operation("list", whole, _LIST)
    if "create" in info.verbs:
        collection["post"] = operation("post", this, _WRITE, (this, (JSON, YAML)))
    if "deletecollection" in info.verbs:
        taken = (META + "DeleteOptions", (JSON,))
        collection["delete"] = operation("deletecollection", META + "Status", _DELETE + _LIST, taken)
    if "get" in info.verbs:
        single["get"] = operation("get", this, ())
    if "update" in info.verbs:
        single["put"] = operation("put", this, _WRITE, (this, (JSON, YAML)))
    if "patch" in info.verbs:
        single["patch"] = operation("patch", this, (*_WRITE, "force"), (META + "Patch", patches))
    if "delete" in info.verbs:
        taken = (META + "DeleteOptions", (JSON,))
        single["delete"] = operation("delete", META + "Status", _DELETE, taken)
    if collection:
        paths[f"{scope}/{info.plural}"] = {**collection, "parameters": [*base, _parameter("pretty")]}
        if info.namespaced and "list" in info.verbs:
            everywhere = {"get": operation("list", whole, _LIST), "parameters": [_parameter("pretty")]}
            paths[f"{root}/{info.plural}"] = everywhere
    named = [_path_parameter("name"), *base, _parameter("pretty")]
    if single:
        paths[f"{scope}/{info.plural}/{{name}}"] = {**single, "parameters": named}
    for sub in info.subresources:
        item: Object = {"parameters": named}
        for verb, method in (("get", "get"), ("update", "put"), ("patch", "patch"), ("create", "post")):
            if verb not in sub.verbs:
                continue
            media = patches if verb == "patch" else (JSON, YAML)
            name = naming(info, sub.kind)
            kind = REF + name if name in info.definitions else this
            body = None if verb == "get" else (META + "Patch" if verb == "patch" else kind, media)
            item[method] = operation(method, kind, _WRITE if body else (), body)
            item[method]["operationId"] += f"-{sub.name}"
        paths[f"{scope}/{info.plural}/{{name}}/{sub.name}"] = item
    return paths
