"""HTTP for the registry: one endpoint for each kind and version.

Reading (get, list, watch) is the store's own. Writing decodes the body as the kind does, lets the registry
decide, and answers with the object as it is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver import errors, render
from apiserver.body import media_type, parse_text, read_bytes, read_delete_options, read_object
from apiserver.documents import Document, full_object
from apiserver.endpoints import StoreEndpoint
from apiserver.errors import StatusError
from apiserver.negotiation import negotiate
from apiserver.options import read_options
from apiserver.request import Context
from apiserver.resources import Object, Subresource
from apiserver.stores import Stored
from lab.api import patching
from lab.api.kinds.kind import Kind, clone
from lab.api.ownership import FieldOwnership
from lab.api.registry import Operation, Registry, Result
from lab.api.requests import check_apply_body, check_delete_options, check_identity
from lab.api.resource import resource_info
from lab.api.schema.decode import DecodeError

SubHandler = Callable[[Context, str, str, Object | None], Awaitable[Object | web.StreamResponse]]
_RETURNS_OBJECT = frozenset(("pods", "services", "serviceaccounts"))  # what DELETE answers with, once gone
_VALIDATIONS = ("", "Ignore", "Warn", "Strict")


class ObjectEndpoint(StoreEndpoint):
    """Serves one kind in one version out of the registry."""

    def __init__(
        self,
        kind: Kind,
        registry: Registry,
        ownership: FieldOwnership,
        schema: Object | None = None,
        extra: tuple[Subresource, ...] = (),
    ) -> None:
        super().__init__(resource_info(kind, schema, extra), registry.stores)
        self.kind = kind
        self.target = kind  # the kind under which the registry keeps the objects
        self.registry = registry
        self.ownership = ownership

    def to_stored(self, obj: Object) -> Object:
        """From this version's form to the one that is kept."""
        return obj

    def from_stored(self, obj: Object) -> Object:
        """And back; shares what it can with the argument."""
        return obj

    # --- bodies ---

    def _decode(self, ctx: Context, document: Object) -> Object:
        """The body as the kind keeps it; what becomes of unknown fields is the client's wish."""
        version = str(document.get("metadata", {}).get("resourceVersion") or "")
        kind = self.kind
        try:
            obj, unknown = kind.decode(document)
        except DecodeError as error:
            raise errors.bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
            ) from None
        except RecursionError:
            raise errors.bad_request("the object is nested too deeply") from None
        if version:
            obj.setdefault("metadata", {})["resourceVersion"] = version
        obj.setdefault("metadata", {})
        if unknown:
            self._report_unknown(ctx, unknown)
        return obj

    def _report_unknown(self, ctx: Context, unknown: list[str]) -> None:
        wish = ctx.query.get("fieldValidation", "")
        if wish not in _VALIDATIONS:
            raise errors.invalid(
                "CreateOptions",
                "meta.k8s.io",
                "",
                [errors.not_supported("fieldValidation", wish, _VALIDATIONS)],
            )
        texts = [f'unknown field "{path}"' for path in unknown]
        if wish == "Strict":
            kind = self.kind
            raise errors.bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                f"strict decoding error: {', '.join(texts)}"
            )
        if wish != "Ignore":
            ctx.warnings += texts

    def _operation(self, ctx: Context, verb: str, subresource: str = "") -> Operation:
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
        )

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
        kind = self.kind
        document = await read_object(ctx, self.info, kind.kind, kind.group, kind.version)
        obj = self._decode(ctx, document)
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
        return self._create(ctx, obj, operation)

    def _create(self, ctx: Context, obj: Object, operation: Operation) -> web.StreamResponse:
        self.ownership.created(self.kind, obj, ctx.field_manager)
        result = self.registry.create(self.target, self.to_stored(obj), operation)
        return self._answer(ctx, result, operation, 201)

    async def update(self, ctx: Context) -> web.StreamResponse:
        return await self._put(ctx, "")

    async def _put(self, ctx: Context, subresource: str) -> web.StreamResponse:
        kind = self.kind
        document = await read_object(ctx, self.info, kind.kind, kind.group, kind.version)
        obj = self._decode(ctx, document)
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
            return self._create(ctx, obj, self._operation(ctx, "create"))
        operation = self._operation(ctx, "update", subresource)

        def replace(current: Object, version: int) -> Object:
            self.ownership.updated(kind, current, obj, ctx.field_manager, subresource)
            return self.to_stored(obj)

        result = self.registry.update(
            self.target, namespace, name, replace, subresource=subresource, operation=operation
        )
        return self._answer(ctx, result, operation)

    async def patch(self, ctx: Context) -> web.StreamResponse:
        return await self._patch(ctx, "")

    async def _patch(self, ctx: Context, subresource: str) -> web.StreamResponse:
        media = media_type(ctx.http)
        accepted = patching.accepted(self.kind)
        if media not in accepted:
            raise errors.unsupported_media_type(accepted)
        raw = await read_bytes(ctx.http)
        if media == patching.APPLY:
            return await self._apply(ctx, raw, subresource)
        if "force" in ctx.query:
            raise errors.invalid(
                "PatchOptions",
                "meta.k8s.io",
                "",
                [errors.forbidden_value("force", "may not be specified for non-apply patch")],
            )
        patch = parse_text(raw, "application/json", "patch")
        kind = self.kind
        namespace, name = self._key_of(ctx)
        operation = self._operation(ctx, "update", subresource)

        def change(current: Object, version: int) -> Object:
            before = full_object(self.info, clone(self.from_stored(current)), version)
            after = patching.apply_patch(kind, media, before, patch)
            check_identity(kind, after, namespace, name)
            obj = self._decode(ctx, after)
            if "resourceVersion" not in after.get("metadata", {}):
                obj["metadata"].pop("resourceVersion", None)
            self.ownership.updated(kind, current, obj, ctx.field_manager, subresource)
            return self.to_stored(obj)

        result = self.registry.update(
            self.target,
            namespace,
            name,
            change,
            subresource=subresource,
            unconditional=True,
            operation=operation,
        )
        return self._answer(ctx, result, operation)

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
        document = parse_text(raw, "application/yaml", kind.kind)
        if not isinstance(document, dict):
            raise errors.bad_request("the object provided is unrecognized (must be an object)")
        check_apply_body(kind, document)
        namespace, name = self._key_of(ctx)
        check_identity(kind, document, namespace, name)
        force = ctx.query.get("force", "") in ("true", "1")
        if document.get("metadata", {}).get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        applied = self._decode(ctx, document)
        applied["metadata"].pop("resourceVersion", None)
        applied["metadata"]["name"] = name
        if kind.namespaced:
            applied["metadata"]["namespace"] = namespace
        manager = ctx.field_manager
        if self.registry.get(self.target.resource, namespace, name) is None:
            if subresource:
                raise errors.not_found(self.info, name)
            operation = self._operation(ctx, "create")
            obj = self.to_stored(self.ownership.applied(kind, None, applied, manager, force, subresource))
            return self._answer(ctx, self.registry.create(self.target, obj, operation), operation, 201)
        operation = self._operation(ctx, "update", subresource)

        def change(current: Object, version: int) -> Object:
            given = document.get("metadata", {}).get("resourceVersion")
            present = self.from_stored(current)
            merged = self.ownership.applied(kind, present, applied, manager, force, subresource)
            if given:
                merged["metadata"]["resourceVersion"] = given
            return self.to_stored(merged)

        result = self.registry.update(
            self.target,
            namespace,
            name,
            change,
            subresource=subresource,
            unconditional=True,
            operation=operation,
        )
        return self._answer(ctx, result, operation)

    async def delete(self, ctx: Context) -> web.StreamResponse:
        options = await read_delete_options(ctx)
        check_delete_options(options)
        operation = self._operation(ctx, "delete")
        operation.dry_run = "All" in (options.get("dryRun") or ())
        namespace, name = self._key_of(ctx)
        result, gone = self.registry.delete(self.target, namespace, name, options, operation)
        if not gone or self.kind.resource in _RETURNS_OBJECT:
            return self._answer(ctx, result, operation)
        details: Object = {"name": name}
        if self.kind.group:
            details["group"] = self.kind.group
        details.update(kind=self.kind.plural, uid=result.document["metadata"]["uid"])
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return render.status(ctx.form, status, 200, ctx)

    async def deletecollection(self, ctx: Context) -> web.StreamResponse:
        options = await read_delete_options(ctx)
        check_delete_options(options)
        chosen = read_options(self.info, ctx.query, ctx.info.namespace, watch=False).selection
        deleted: list[Stored] = []
        for (namespace, name), stored in sorted(
            self.stores.items(self.info.store, chosen), key=lambda item: item[0]
        ):
            operation = self._operation(ctx, "delete")
            operation.name = name
            operation.dry_run = "All" in (options.get("dryRun") or ())
            try:
                result, _ = self.registry.delete(self.target, namespace, name, options, operation)
            except StatusError as error:
                if error.code == 404:
                    continue
                raise
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
