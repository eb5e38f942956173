"""Documents over HTTP: one endpoint for each kind and version in front of the registry.

Reading (get, list, watch) is the store's own. Writing decodes the body as the kind does, takes the steps of a
write (see `writes` and `pending`), and answers with the object as it is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver import errors, render
from apiserver.body import media_type, parse_body, parse_text, read_bytes, read_object
from apiserver.documents import ownership, patches
from apiserver.documents.info import resource_info
from apiserver.documents.kind import Kind, clone
from apiserver.documents.operation import Operation, Result
from apiserver.documents.pending import Forms, carry_out, off_loop
from apiserver.documents.record import Document, full_object
from apiserver.documents.registry import Registry
from apiserver.documents.requests import (
    check_apply_body,
    check_identity,
    decode_body,
    deleted_status,
    options_of,
    read_deletion,
)
from apiserver.documents.writes import Creation, Deletion, Update, Write
from apiserver.endpoints import StoreEndpoint
from apiserver.errors import StatusError
from apiserver.negotiation import JSON, YAML, negotiate
from apiserver.options import check_write_options, read_options
from apiserver.request import Context
from apiserver.resources import Object, Subresource
from apiserver.stores import Stored

Change = Callable[[Object, int], Object]
SubHandler = Callable[[Context, str, str, Object | None], Awaitable[Object | web.StreamResponse]]


class DocumentEndpoint(StoreEndpoint):
    """Serves one kind in one version out of the registry."""

    def __init__(self, kind: Kind, registry: Registry, extra: tuple[Subresource, ...] = ()) -> None:
        super().__init__(resource_info(kind, extra), registry.stores)
        self.kind = kind
        self.target = kind  # the kind under which the registry keeps the objects
        self.registry = registry
        self.forms: Forms | None = None  # of a version that another program converts

    def to_stored(self, obj: Object) -> Object:
        """From this version's form to the one that is kept."""
        return obj

    def from_stored(self, obj: Object) -> Object:
        """And back; shares what it can with the argument."""
        return obj

    def _operation(self, ctx: Context, verb: str, subresource: str = "") -> Operation:
        check_write_options(ctx.info.verb, ctx.query)
        return Operation(
            verb,
            ctx.info.namespace,
            ctx.info.name,
            None,
            None,
            subresource,
            ctx.user.name,
            ctx.user.groups,
            ctx.dry_run,
            uid=ctx.user.uid,
            extra=ctx.user.extra,
            options=options_of(ctx),
        )

    async def _carry_out(self, ctx: Context, write: Write) -> Result:
        return await carry_out(write, self.registry.reviewer, ctx.http.content.total_bytes, self.forms)

    def _answer(
        self, ctx: Context, result: Result, operation: Operation, code: int = 200
    ) -> web.StreamResponse:
        ctx.warnings += operation.warnings
        document = self.from_stored(result.document)
        if not result.version:
            full = full_object(self.info, document, 0)
            full["metadata"].pop("resourceVersion", None)
            return render.plain_object(ctx, self.info, full, code)
        return render.stored_object(ctx, self.info, Stored(Document(document), result.version), code)

    def _key_of(self, ctx: Context) -> tuple[str, str]:
        return (ctx.info.namespace if self.kind.namespaced else "", ctx.info.name)

    # --- verbs ---

    async def create(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.name:
            raise errors.method_not_allowed()
        kind = self.kind
        document = await read_object(ctx, self.info, kind.kind, kind.group, kind.version)
        obj = await off_loop(ctx.http.content.total_bytes, decode_body, ctx, kind, document)
        metadata = obj["metadata"]
        if kind.namespaced:
            given = metadata.get("namespace", "")
            if given and given != ctx.info.namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = ctx.info.namespace
        operation = self._operation(ctx, "create")
        operation.name = metadata.get("name", "")
        return await self._create(ctx, obj, operation)

    async def _create(self, ctx: Context, obj: Object, operation: Operation) -> web.StreamResponse:
        ownership.created(obj)
        write = Creation(self.registry, self.target, self.to_stored(obj), operation, None)
        result = await self._carry_out(ctx, write)
        return self._answer(ctx, result, operation, 201)

    async def update(self, ctx: Context) -> web.StreamResponse:
        return await self._put(ctx, "")

    async def _put(self, ctx: Context, subresource: str) -> web.StreamResponse:
        if not ctx.info.name:
            raise errors.method_not_allowed()
        kind = self.kind
        document = await read_object(ctx, self.info, kind.kind, kind.group, kind.version)
        obj = await off_loop(ctx.http.content.total_bytes, decode_body, ctx, kind, document)
        namespace, name = self._key_of(ctx)
        metadata = obj["metadata"]
        given = metadata.get("name", "")
        if not given:
            metadata["name"] = name
        elif given != name:
            raise errors.bad_request(
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
        if kind.namespaced:
            if metadata.get("namespace", namespace) != namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        if (
            kind.creates_on_update
            and not subresource
            and self.registry.get(self.target.resource, namespace, name) is None
        ):
            metadata.pop("resourceVersion", None)
            return await self._create(ctx, obj, self._operation(ctx, "create"))
        operation = self._operation(ctx, "update", subresource)

        def replace(current: Object, version: int) -> Object:
            new = clone(obj)  # a write that was outrun begins again with the same body
            ownership.updated(kind, current, new, ctx.field_manager, subresource)
            return self.to_stored(new)

        return await self._update(ctx, operation, replace, unconditional=False)

    async def _update(
        self, ctx: Context, operation: Operation, change: Change, *, unconditional: bool = True
    ) -> web.StreamResponse:
        write = Update(self.registry, self.target, operation, change, unconditional)
        return self._answer(ctx, await self._carry_out(ctx, write), operation)

    async def patch(self, ctx: Context) -> web.StreamResponse:
        return await self._patch(ctx, "")

    async def _patch(self, ctx: Context, subresource: str) -> web.StreamResponse:
        if not ctx.info.name:
            raise errors.method_not_allowed()
        media = media_type(ctx.http)
        accepted = patches.accepted(self.kind)
        if media not in accepted:
            raise errors.unsupported_media_type(accepted)
        raw = await read_bytes(ctx.http)
        if media == patches.APPLY:
            return await self._apply(ctx, raw, subresource)
        if "force" in ctx.query:
            raise errors.invalid(
                "PatchOptions",
                "meta.k8s.io",
                "",
                [errors.forbidden_value("force", "may not be specified for non-apply patch")],
            )
        patch = parse_text(raw, JSON, "patch")
        kind = self.kind
        namespace, name = self._key_of(ctx)
        operation = self._operation(ctx, "update", subresource)

        def change(current: Object, version: int) -> Object:
            before = full_object(self.info, clone(self.from_stored(current)), version)
            after = patches.apply_patch(kind, media, before, patch)
            check_identity(kind, after, namespace, name)
            obj = decode_body(ctx, kind, after)
            if "resourceVersion" not in after.get("metadata", {}):
                obj["metadata"].pop("resourceVersion", None)
            ownership.updated(kind, current, obj, ctx.field_manager, subresource)
            return self.to_stored(obj)

        return await self._update(ctx, operation, change)

    async def _apply(self, ctx: Context, raw: bytes, subresource: str) -> web.StreamResponse:
        """Server-side apply."""
        kind = self.kind
        if not ctx.query.get("fieldManager"):
            raise errors.invalid(
                "PatchOptions",
                "meta.k8s.io",
                "",
                [errors.required("fieldManager", "is required for apply patch")],
            )
        document = check_apply_body(kind, await parse_body(raw, YAML, kind.kind))
        namespace, name = self._key_of(ctx)
        check_identity(kind, document, namespace, name)
        force = ctx.query.get("force", "") in ("true", "1")
        if document.get("metadata", {}).get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        applied = await off_loop(len(raw), decode_body, ctx, kind, document)
        applied["metadata"].pop("resourceVersion", None)
        applied["metadata"]["name"] = name
        if kind.namespaced:
            applied["metadata"]["namespace"] = namespace
        manager = ctx.field_manager
        if self.registry.get(self.target.resource, namespace, name) is None:
            if subresource:
                raise errors.not_found(self.info, name)
            operation = self._operation(ctx, "create")
            obj = self.to_stored(ownership.applied(kind, None, applied, manager, force, subresource))
            write = Creation(self.registry, self.target, obj, operation, None)
            return self._answer(ctx, await self._carry_out(ctx, write), operation, 201)
        operation = self._operation(ctx, "update", subresource)

        def change(current: Object, version: int) -> Object:
            given = document.get("metadata", {}).get("resourceVersion")
            present = self.from_stored(current)
            merged = ownership.applied(kind, present, applied, manager, force, subresource)
            if given:
                merged["metadata"]["resourceVersion"] = given
            return self.to_stored(merged)

        return await self._update(ctx, operation, change)

    async def delete(self, ctx: Context) -> web.StreamResponse:
        if not ctx.info.name:
            return await self.deletecollection(ctx)
        options = await read_deletion(ctx)
        operation = self._operation(ctx, "delete")
        operation.dry_run = "All" in (options.get("dryRun") or ())
        operation.options = options
        name = ctx.info.name
        write = Deletion(self.registry, self.target, operation, options)
        result = await self._carry_out(ctx, write)
        if not write.gone or self.kind.returns_deleted:
            return self._answer(ctx, result, operation)
        uid = result.document["metadata"].get("uid", "")
        return render.status(ctx.form, deleted_status(self.kind, name, uid), 200, ctx)

    async def deletecollection(self, ctx: Context) -> web.StreamResponse:
        options = await read_deletion(ctx)
        chosen = read_options(self.info, ctx.query, ctx.info.namespace, watch=False).selection
        deleted: list[Stored] = []
        for (namespace, name), stored in sorted(
            self.stores.items(self.info.store, chosen), key=lambda item: item[0]
        ):
            operation = self._operation(ctx, "delete")
            operation.namespace, operation.name = namespace, name
            operation.options = options
            operation.dry_run = "All" in (options.get("dryRun") or ())
            write = Deletion(self.registry, self.target, operation, options)
            try:
                result = await self._carry_out(ctx, write)
            except StatusError as error:
                if error.code != 404:  # somebody else was faster: what was asked for is true
                    raise
                continue
            deleted.append(Stored(Document(result.document), stored.version))
        return render.stored_list(ctx, self.info, deleted, self.stores.version)

    # --- subresources ---

    async def serve_subresource(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.subresource != "status" or not self.kind.has_status:
            return await super().serve_subresource(ctx)
        ctx.form = negotiate(
            ctx.http.headers.get("Accept", ""),
            served=self.served_media(),
            watch=False,
            table=self.info.has_table,
            pretty=ctx.form.pretty,
        )
        match ctx.info.verb:
            case "get":
                return await self.get(ctx)
            case "update":
                return await self._put(ctx, "status")
            case "patch":
                return await self._patch(ctx, "status")
        raise errors.method_not_allowed()
