"""What a request asks for, read from its path and query: verb, resource, name, and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from apiserver.auth import ANONYMOUS, User
from apiserver.negotiation import Form
from apiserver.resources import ResourceInfo, Subresource

if TYPE_CHECKING:
    from apiserver.server import ApiServer

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request in the terms of authorization. Not a resource: only ``verb`` (method) and ``path``
    count."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    subpath: tuple[str, ...] = ()  # what follows the subresource (proxy paths)
    prefix: str = ""  # "api" or "apis"


def truthy(query: Mapping[str, str], key: str) -> bool:
    """Kubernetes' reading of a boolean query parameter: anything but "false" and "0" is true."""
    value = query.get(key)
    return value is not None and value not in ("false", "0")


def parse_path(method: str, raw_path: str, query: Mapping[str, str]) -> RequestInfo:
    """Understands ``/api/v1/…`` and ``/apis/GROUP/VERSION/…``; anything else is a path that is no
    resource."""
    verb = method.lower()
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    path = "/" + "/".join(parts)
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(path=path, verb=verb)

    verb = _VERBS.get(method, verb)
    if rest[0] in ("watch", "proxy") and len(rest) > 1:
        verb, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces":
        if len(rest) > 1:
            namespace = rest[1]
        if len(rest) > 2 and not (rest[2] in ("status", "finalize") and not group):
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if not name and verb == "get":
        verb = "watch" if truthy(query, "watch") else "list"
    elif not name and verb == "delete":
        verb = "deletecollection"
    return RequestInfo(
        path, verb, True, group, version, resource, subresource, namespace, name, tuple(rest[3:]), parts[0]
    )


@dataclass(slots=True)
class Context:
    """A request on its way through the server."""

    server: ApiServer
    http: web.BaseRequest
    info: RequestInfo
    query: Mapping[str, str]
    user: User = ANONYMOUS
    form: Form = field(default_factory=Form)
    resource: ResourceInfo | None = None
    subresource: Subresource | None = None
    warnings: list[str] = field(default_factory=list)  # sent as Warning headers
    values: dict[str, Any] = field(default_factory=dict)  # a place for handlers

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    @property
    def field_manager(self) -> str:
        """Who writes, for managedFields: the parameter, or the client's name."""
        manager = self.query.get("fieldManager", "")
        if manager:
            return manager
        agent = self.http.headers.get("User-Agent", "")
        return agent.split("/", 1)[0][:128].encode("ascii", "replace").decode() or "unknown"
