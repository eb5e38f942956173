"""The server: from an HTTP request to the endpoint that answers it.

    request → path → who (authenticators) → not too many at once → may they (authorizer) → discovery, path
    handler, resource or fallback

Every failure below becomes a Status; nothing that a client sends ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from aiohttp import web

from apis.fields import parse_fields
from apis.labels import SelectorError
from apiserver import errors, render
from apiserver.auth import ANONYMOUS, AllowAll, Authenticator, Authorizer, User
from apiserver.discovery import Discovery
from apiserver.endpoints import Endpoint
from apiserver.health import HealthChecks
from apiserver.holding import Holding
from apiserver.inflight import InFlight
from apiserver.negotiation import JSON, error_form
from apiserver.openapi import OpenAPI
from apiserver.registry import Registry
from apiserver.request import Context, RequestInfo, parse_path, truthy
from apiserver.resources import Object
from apiserver.stores import Stores

_log = logging.getLogger(__name__)

PathHandler = Callable[[Context], Awaitable[web.StreamResponse]]
Fallback = Callable[[Context], Awaitable[web.StreamResponse | None]]


@dataclass
class _Paths:
    """Handlers of paths that are no resources: exact ones, and prefixes (longest first)."""

    exact: dict[str, PathHandler] = field(default_factory=dict)
    prefixes: dict[str, PathHandler] = field(default_factory=dict)

    def find(self, path: str) -> PathHandler | None:
        handler = self.exact.get(path)
        if handler is None:
            for prefix in sorted(self.prefixes, key=len, reverse=True):
                if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                    return self.prefixes[prefix]
        return handler


class ApiServer:
    """Holds what is served; apiserver.listener puts it on sockets. See the package's docstring."""

    def __init__(
        self,
        *,
        title: str,
        version: Object,
        stores: Stores | None = None,
        authenticators: Sequence[Authenticator] = (),
        authorizer: Authorizer | None = None,
        anonymous: bool = True,
        always_allow: Iterable[str] = ("/healthz", "/livez", "/readyz"),
    ) -> None:
        self.title = title
        self.version = version
        self.stores = stores or Stores()
        self.registry = Registry()
        self.health = HealthChecks()
        self.discovery = Discovery(self.registry)
        self.openapi = OpenAPI(self.registry, title, version)
        self.authenticators = list(authenticators)
        self.authorizer: Authorizer = authorizer or AllowAll()
        self.in_flight = InFlight()
        self.holding = Holding()
        self.anonymous = anonymous
        self.always_allow = set(always_allow)
        self.fallback: Fallback | None = None
        self._paths = _Paths()

    # --- registration ---

    def register(self, endpoint: Endpoint) -> None:
        """Serves a resource from now on (again, if it was registered before)."""
        self.registry.add(endpoint)

    def unregister(self, group: str, version: str, plural: str) -> None:
        """Serves it no more. If no other version shares its store, the store goes too and its watches end."""
        endpoint = self.registry.remove(group, version, plural)
        if endpoint is not None and not any(i.store == endpoint.info.store for i in self.registry.infos()):
            self.stores.drop(endpoint.info.store)

    def path(
        self, path: str, handler: PathHandler, *, prefix: bool = False, long_running: bool = False
    ) -> None:
        """Serves a path that is no resource, with every method; the handler may stream its answer.

        ``long_running`` (an exact path): it is not counted among the requests in flight."""
        if long_running:
            self.in_flight.long_running.add(path)
        (self._paths.prefixes if prefix else self._paths.exact)[path] = handler

    def remove_path(self, path: str) -> None:
        self._paths.exact.pop(path, None)
        self._paths.prefixes.pop(path, None)

    # --- requests ---

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request. Raises only on cancellation and on a connection that is gone."""
        query = request.rel_url.query
        info = parse_path(request.method, request.rel_url.raw_path, query)
        form = error_form(request.headers.get("Accept", ""), _pretty(request))
        ctx = Context(self, request, info, query, form=form)
        try:
            response = await self._answer(ctx)
        except errors.StatusError as error:
            response = render.failure(form, error, ctx)
        except RecursionError:
            response = render.failure(form, errors.bad_request("the object is nested too deeply"), ctx)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.rel_url)
            response = render.failure(form, errors.internal(f"{type(error).__name__}: {error}"), ctx)
        if not response.prepared:
            response.headers.setdefault("Audit-Id", str(uuid.uuid4()))
            response.headers.setdefault("Cache-Control", render.HEADERS["Cache-Control"])
            if response.status >= 400 and response.content_type == "text/plain":
                response.headers.setdefault("X-Content-Type-Options", "nosniff")  # as Go's http.Error
        return response

    async def _answer(self, ctx: Context) -> web.StreamResponse:
        ctx.user = await self._authenticate(ctx.http)
        with self.in_flight.slot(ctx.user, ctx.info):
            return await self._answer_admitted(ctx)

    async def _answer_admitted(self, ctx: Context) -> web.StreamResponse:
        await self._authorize(ctx)
        info = ctx.info
        if info.is_resource:
            return await self._answer_resource(ctx)
        handler = self._paths.find(info.path)
        if handler is not None:
            return await handler(ctx)
        found = await self._builtin(ctx)
        if found is None and self.fallback is not None:
            found = await self.fallback(ctx)
        return found if found is not None else self._index(404)

    async def _answer_resource(self, ctx: Context) -> web.StreamResponse:
        info = ctx.info
        if not self.registry.has_version(info.group, info.version):
            answer = await self.fallback(ctx) if self.fallback is not None else None
            if answer is not None:
                return answer
            if self.registry.has_group(info.group):
                raise errors.no_such_resource()
            return self._index(404)
        endpoint = self.registry.find(info.group, info.version, info.resource)
        if endpoint is None:
            raise errors.no_such_resource()
        ctx.resource = endpoint.info
        if endpoint.info.deprecation:
            ctx.warnings.append(endpoint.info.deprecation)
        namespaced = endpoint.info.namespaced
        if info.resource != "namespaces" or info.group:
            if info.namespace and not namespaced:
                raise errors.no_such_resource()
            if namespaced and not info.namespace and info.name:
                raise errors.no_such_resource()
        if namespaced and not info.namespace and info.verb in ("create", "update", "patch", "delete"):
            raise errors.method_not_allowed()
        if info.subresource:
            ctx.subresource = endpoint.info.subresource(info.subresource)
            return await endpoint.serve_subresource(ctx)
        return await endpoint.serve(ctx)

    async def _authenticate(self, request: web.BaseRequest) -> User:
        for authenticator in self.authenticators:
            user = await authenticator.authenticate(request)
            if user is not None:
                return user.authenticated()
        if request.headers.get("Authorization") and self.authenticators:
            raise errors.unauthorized()
        if not self.anonymous:
            raise errors.unauthorized()
        return ANONYMOUS

    async def _authorize(self, ctx: Context) -> None:
        info, user = _with_selected_name(ctx.info, ctx.query), ctx.user
        if info.path in self.always_allow:
            return
        decision = await self.authorizer.authorize(user, info)
        if decision.allowed:
            return
        if not info.is_resource:
            raise errors.forbidden_path(user.name, info.verb, info.path)
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        where = f' in the namespace "{info.namespace}"' if info.namespace else " at the cluster scope"
        why = (
            f'User "{user.name}" cannot {info.verb} resource "{resource}" in API group "{info.group}"{where}'
        )
        if decision.reason:
            why += f": {decision.reason}"
        raise errors.forbidden(info.resource, info.group, info.name, why)

    # --- what every server has ---

    async def _builtin(self, ctx: Context) -> web.StreamResponse | None:
        path = ctx.info.path
        if path == "/":
            return self._index(200)
        if path == "/version":
            return render.respond(None, msgspec.json.encode(self.version), JSON)
        if path.startswith("/openapi/"):
            answer = await self.openapi.serve(ctx)
            if answer is not None:
                return answer
        answer = await self.health.serve(ctx)
        if answer is None:
            answer = await self.discovery.serve(ctx)
        return answer

    def _index(self, code: int) -> web.Response:
        return render.respond(None, msgspec.json.encode({"paths": self.index_paths()}), JSON, code)

    def index_paths(self) -> list[str]:
        """Every path there is, as the document at / lists them."""
        paths = {"/apis", "/version", "/openapi/v2", "/openapi/v3", *self.health.paths()}
        for group, version in self.registry.group_versions():
            if group:
                paths |= {f"/apis/{group}", f"/apis/{group}/{version}"}
            else:
                paths |= {"/api", f"/api/{version}"}
        return sorted(paths | set(self._paths.exact) | set(self._paths.prefixes))


def _pretty(request: web.BaseRequest) -> bool:
    query = request.rel_url.query
    if "pretty" in query:
        return truthy(query, "pretty")
    agent: str = request.headers.get("User-Agent", "")
    return agent.startswith("Mozilla")


def _with_selected_name(info: RequestInfo, query: Mapping[str, str]) -> RequestInfo:
    """A list or watch of metadata.name=X is authorized as one of that name."""
    if info.verb not in ("list", "watch", "deletecollection") or info.name:
        return info
    try:
        terms = parse_fields(query.get("fieldSelector", "")).terms
    except SelectorError:
        return info
    for term in terms:
        if term.field == "metadata.name" and not term.negated:
            return replace(info, name=term.value)
    return info
