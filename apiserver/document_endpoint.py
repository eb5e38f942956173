"""Documents over HTTP: create, update, patch, delete and deletecollection on top of reading a store."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from aiohttp import web

from apiserver import errors, render
from apiserver.apply import apply_configuration
from apiserver.body import (
    check_kind,
    media_type,
    parse_body,
    parse_text,
    read_bytes,
    read_delete_options,
    read_object,
)
from apiserver.collection import Collection
from apiserver.endpoints import StoreEndpoint
from apiserver.negotiation import JSON, YAML, negotiate
from apiserver.options import read_options
from apiserver.patching import PatchError, json_patch, merge_patch
from apiserver.request import Context
from apiserver.resources import Object
from apiserver.stores import Stored
from apiserver.strategic import strategic_merge
from apiserver.strategy import Operation

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class DocumentEndpoint(StoreEndpoint):
    """A resource that clients write. Its status subresource is served when the strategy has one."""

    def __init__(self, collection: Collection, watch_limit: int = 65536) -> None:
        super().__init__(collection.info, collection.stores, watch_limit)
        self.collection = collection

    # --- create, update ---

    async def create(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.name:
            raise errors.method_not_allowed()
        op = operation(ctx, "CreateOptions")
        info = self.info
        body = await read_object(ctx, info, info.kind, info.group, info.version)
        stored = await self.collection.create(body, ctx.info.namespace, op)
        return self._answer(ctx, stored, 201)

    async def update(self, ctx: Context) -> web.StreamResponse:
        return await self._update(ctx, "")

    async def _update(self, ctx: Context, subresource: str) -> web.StreamResponse:
        if not ctx.info.name:
            raise errors.method_not_allowed()
        op = operation(ctx, "UpdateOptions")
        info = self.info
        body = await read_object(ctx, info, info.kind, info.group, info.version)
        namespace, name = ctx.info.namespace, ctx.info.name
        if not body["metadata"].get("name"):
            raise errors.bad_request(f"the name of the object () does not match the name on the URL ({name})")
        stored = await self.collection.update(
            namespace, name, lambda _old: copy.deepcopy(body), op, subresource
        )
        return self._answer(ctx, stored)

    # --- patch ---

    async def patch(self, ctx: Context) -> web.StreamResponse:
        return await self._patch(ctx, "")

    async def _patch(self, ctx: Context, subresource: str) -> web.StreamResponse:
        if not ctx.info.name:
            raise errors.method_not_allowed()
        op = operation(ctx, "PatchOptions")
        media = media_type(ctx.http)
        accepted = [JSON_PATCH, MERGE_PATCH]
        if self.collection.strategy.strategic_merge:
            accepted.append(STRATEGIC_PATCH)
        accepted.append(APPLY_PATCH)
        if media not in accepted:
            raise errors.unsupported_media_type(accepted)
        raw = await read_bytes(ctx.http)
        if media == APPLY_PATCH:
            return await self._apply(ctx, raw, op, subresource)
        patch = parse_text(raw, JSON, self.info.kind)
        mutate = self._mutation(media, patch)
        stored = await self.collection.update(ctx.info.namespace, ctx.info.name, mutate, op, subresource)
        return self._answer(ctx, stored)

    def _mutation(self, media: str, patch: Any) -> Callable[[Object], Object]:
        info = self.info

        def mutate(old: Object) -> Object:
            try:
                if media == JSON_PATCH:
                    patched = json_patch(old, patch)
                elif media == MERGE_PATCH:
                    patched = merge_patch(old, patch)
                else:
                    patched = strategic_merge(info.kind, old, patch)
            except PatchError as error:
                if error.unprocessable:
                    raise errors.StatusError(422, "Invalid", str(error), {}) from error
                raise errors.bad_request(str(error)) from error
            return check_kind(patched, info.kind, info.group, info.version)

        return mutate

    async def _apply(self, ctx: Context, raw: bytes, op: Operation, subresource: str) -> web.StreamResponse:
        info = self.info
        if not ctx.query.get("fieldManager"):
            raise errors.invalid(
                "PatchOptions",
                "meta.k8s.io",
                "",
                [errors.required("fieldManager", "is required for apply patch")],
            )
        document = check_kind(await parse_body(raw, YAML, info.kind), info.kind, info.group, info.version)
        if document["metadata"].get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        document["metadata"].setdefault("name", ctx.info.name)
        op.force = ctx.query.get("force") in ("true", "1")
        namespace, name = ctx.info.namespace, ctx.info.name

        def mutate(old: Object | None) -> Object:
            with self.collection.understood():
                merged = apply_configuration(info, old, document, op, subresource)
            return check_kind(merged, info.kind, info.group, info.version)

        if self.collection.find(namespace, name) is None:
            if subresource:
                raise errors.not_found(info, name)
            return self._answer(ctx, await self.collection.create(mutate(None), namespace, op), 201)
        stored = await self.collection.update(namespace, name, mutate, op, subresource)
        return self._answer(ctx, stored)

    # --- delete ---

    async def delete(self, ctx: Context) -> web.StreamResponse:
        if not ctx.info.name:
            return await self.deletecollection(ctx)
        options = await read_delete_options(ctx)
        op = operation(ctx, "DeleteOptions")
        op.dry_run = op.dry_run or bool(options.get("dryRun"))
        stored, gone = await self.collection.delete(ctx.info.namespace, ctx.info.name, options, op)
        if not gone or self.collection.strategy.return_deleted:
            return self._answer(ctx, stored)
        details: Object = {"name": stored.record.name}
        if self.info.group:
            details["group"] = self.info.group
        details |= {"kind": self.info.plural, "uid": stored.record.uid}
        success = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return render.status(ctx.form, success, 200, ctx)

    async def deletecollection(self, ctx: Context) -> web.StreamResponse:
        body = await read_delete_options(ctx)
        chosen = read_options(self.info, ctx.query, ctx.info.namespace, watch=False).selection
        op = operation(ctx, "DeleteOptions")
        op.dry_run = op.dry_run or bool(body.get("dryRun"))
        deleted: list[Stored] = []
        for stored in self.collection.items(chosen):
            try:
                last, _ = await self.collection.delete(stored.record.namespace, stored.record.name, body, op)
            except errors.StatusError as error:
                if error.code != 404:  # somebody else was faster: what was asked for is true
                    raise
                continue
            deleted.append(last)
        return render.stored_list(ctx, self.info, deleted, self.stores.version)

    # --- subresources ---

    async def serve_subresource(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.subresource != "status" or "status" in self.subresources:
            return await super().serve_subresource(ctx)
        sub = self.info.subresource("status")
        if sub is None:
            raise errors.no_such_resource()
        if ctx.info.verb not in sub.verbs:
            raise errors.method_not_allowed()
        ctx.form = negotiate(
            ctx.http.headers.get("Accept", ""), served=self.served_media(), pretty=ctx.form.pretty
        )
        if ctx.info.verb == "get":
            return await self.get(ctx)
        return await (
            self._update(ctx, "status") if ctx.info.verb == "update" else self._patch(ctx, "status")
        )

    def _answer(self, ctx: Context, stored: Stored, code: int = 200) -> web.Response:
        return render.stored_object(ctx, self.info, stored, code)


def operation(ctx: Context, options_kind: str) -> Operation:
    """The write options of a request. Raises Invalid for values that they do not have."""
    found: list[errors.FieldError] = []
    query = ctx.query
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        found.append(errors.not_supported("dryRun", dry_run, ("All",)))
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        found.append(errors.not_supported("fieldValidation", validation, ("Ignore", "Strict", "Warn")))
    if found:
        raise errors.invalid(options_kind, "meta.k8s.io", "", found)
    return Operation(ctx.user, ctx.field_manager, dry_run == "All", validation, ctx.warnings)
