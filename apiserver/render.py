"""Answers: objects, lists and failures written in the negotiated form.

Bodies come from the records as they are stored; kind, apiVersion or the protobuf envelope are joined to them
here. Only Table, metadata and YAML answers go through Python data.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from aiohttp import web

from apis.envelope import field, type_meta, wrap, wrap_typed
from apis.meta import v1 as meta
from apis.record import Media
from apiserver import table
from apiserver.documents.record import full_object
from apiserver.errors import StatusError, internal, not_acceptable
from apiserver.negotiation import JSON, PROTOBUF, YAML, Form
from apiserver.pace import Pace
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo
from apiserver.selection import metadata_of, object_of
from apiserver.slices import Long, Makers, steps_of
from apiserver.snapshot import SharedFrames
from apiserver.stores import Stored

HEADERS = {"Cache-Control": "no-cache, private"}
_WARNING_LIMIT, _MAX_WARNINGS = 256, 64  # names in them are the client's, and the head is bounded
GZIP_FROM = 128 * 1024
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_encode = msgspec.json.Encoder().encode


def text(document: Any, form: Form) -> bytes:
    """JSON or YAML text of plain data; JSON ends with a newline, unless it is indented for people."""
    if form.media == YAML:
        return yaml.dump(document, Dumper=_Dumper, sort_keys=True, allow_unicode=True).encode()
    encoded = _encode(document)
    if form.pretty:
        return msgspec.json.format(encoded, indent=2)
    return encoded + b"\n"


def respond(ctx: Context | None, body: bytes, content_type: str, code: int = 200) -> web.Response:
    """A response with the headers that every answer has, and the request's warnings."""
    response = web.Response(body=body, status=code, headers=HEADERS)
    response.headers["Content-Type"] = content_type
    if ctx is not None:
        for warning in ctx.warnings[:_MAX_WARNINGS]:
            shown = "".join(sign if sign.isprintable() else "?" for sign in warning[:_WARNING_LIMIT])
            escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{escaped}"')
    return response


async def compressed(ctx: Context, response: web.Response) -> web.Response:
    """Compresses a large answer where the client accepts it; off the loop, in a thread."""
    body = response.body
    if not isinstance(body, bytes) or len(body) < GZIP_FROM:
        return response
    if "gzip" not in ctx.http.headers.get("Accept-Encoding", "").lower():
        return response

    def squeeze() -> bytes:
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        return compressor.compress(body) + compressor.flush()

    response.body = await asyncio.to_thread(squeeze)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response


def failure(form: Form, error: StatusError, ctx: Context | None = None) -> web.Response:
    response = status(form, error.status(), error.code, ctx)
    response.headers.update(error.headers)
    if form.media == JSON and _unterminated(error, ctx):
        response.body = response.body.rstrip(b"\n") if isinstance(response.body, bytes) else response.body
    return response


def _unterminated(error: StatusError, ctx: Context | None) -> bool:
    """Whether the API machinery writes this failure past its encoder, without a newline."""
    return error.code == 406 or (ctx is not None and "as=Table" in ctx.http.headers.get("Accept", ""))


def status(form: Form, document: Object, code: int, ctx: Context | None = None) -> web.Response:
    """A Status: an error, or the success of a deletion."""
    if form.media == PROTOBUF:
        return respond(ctx, meta.encode_status(document), PROTOBUF, code)
    return respond(ctx, text(document, form), form.media, code)


def typed_json(info: ResourceInfo, body: bytes) -> bytes:
    """The JSON text of a body with kind and apiVersion in front."""
    head = f'{{"kind":"{info.kind}","apiVersion":"{info.api_version}"'.encode()
    return head + (b"}" if body == b"{}" else b"," + body[1:])


def document_of(ctx: Context, info: ResourceInfo, stored: Stored) -> Object:
    """The stored object as JSON data with kind, apiVersion and version; of one that has it encoded, only
    what the answer shows is decoded."""
    read = metadata_of if _metadata_suffices(ctx, info) else object_of
    return full_object(info, read(stored.record), stored.version)


def _metadata_suffices(ctx: Context, info: ResourceInfo) -> bool:
    """Whether the answer shows nothing of the objects but their metadata."""
    if ctx.form.transform == "Table":
        return info.columns is None and ctx.query.get("includeObject") != "Object"
    return ctx.form.transform != ""


class Bodies:
    """JSON texts of large objects for answers: made in steps, shared by requests at the same time."""

    def __init__(self, makers: Makers, frames: SharedFrames) -> None:
        self._makers = makers
        self._frames = frames

    async def body(self, form: Form, stored: Stored, view: str | None = None) -> bytes:
        """The object as it is stored, in the media type of the form, without kind and apiVersion."""
        media = Media.PROTOBUF if form.media == PROTOBUF else Media.JSON
        record, frames = stored.record, self._frames
        if (steps := steps_of(record, media, view, stored.version)) is None:
            return record.encode(media, view, str(stored.version))
        key = ("body", media, stored.version)
        with frames:
            made = await self._makers.text(Long(key, lambda: frames.get(key), lambda: steps), initial=True)
            return frames.keep(key, made) if frames.get(key) is None else made


def stored_object(ctx: Context, info: ResourceInfo, stored: Stored, code: int = 200) -> web.Response:
    """One object of a store."""
    if data_form(ctx.form):
        return plain_object(ctx, info, document_of(ctx, info, stored), code)
    media = Media.PROTOBUF if ctx.form.media == PROTOBUF else Media.JSON
    return _object(ctx, info, stored.record.encode(media, None, str(stored.version)), code)


async def sliced_object(ctx: Context, info: ResourceInfo, stored: Stored, bodies: Bodies) -> web.Response:
    """The same of an object of any size."""
    if data_form(ctx.form):
        return plain_object(ctx, info, document_of(ctx, info, stored))
    return _object(ctx, info, await bodies.body(ctx.form, stored), 200)


def _object(ctx: Context, info: ResourceInfo, body: bytes, code: int) -> web.Response:
    if ctx.form.media == PROTOBUF:
        return respond(ctx, wrap(info.api_version, info.kind, body), PROTOBUF, code)
    return respond(ctx, typed_json(info, body) + b"\n", JSON, code)


def plain_object(ctx: Context, info: ResourceInfo, document: Object, code: int = 200) -> web.Response:
    """One object given as JSON data, kind and apiVersion included."""
    form = ctx.form
    if form.transform == "Table":
        include = table.include_object(ctx.query.get("includeObject", ""))
        metadata = {"resourceVersion": document.get("metadata", {}).get("resourceVersion", "")}
        made = table.table(
            info, [document], include, {k: v for k, v in metadata.items() if v}, form.transform_version
        )
        return respond(ctx, text(made, form), form.media, code)
    if form.transform:
        document = {**table.partial(document), "apiVersion": f"meta.k8s.io/{form.transform_version}"}
    if form.media == PROTOBUF:
        return respond(ctx, _protobuf(info, document), PROTOBUF, code)
    return respond(ctx, text(document, form), form.media, code)


def _protobuf(info: ResourceInfo, document: Object) -> bytes:
    kind, api_version = document.get("kind", ""), document.get("apiVersion", "")
    if kind in ("PartialObjectMetadata", "Status"):
        return wrap(api_version, kind, meta.encode_kind(kind, document))
    if info.codec is None:
        raise not_acceptable((JSON, YAML))
    try:
        return wrap(api_version, kind, info.codec.encode(kind, document))
    except ValueError as error:
        raise internal(str(error)) from error


def stored_list(
    ctx: Context,
    info: ResourceInfo,
    items: Sequence[Stored],
    version: int,
    token: str = "",
    remaining: int | None = None,
) -> web.Response:
    """A list of some stored objects at a version. Long lists: sliced_list."""
    if data_form(ctx.form):
        documents = [document_of(ctx, info, stored) for stored in items]
        return plain_list(ctx, info, documents, str(version), token, remaining)
    media = Media.PROTOBUF if ctx.form.media == PROTOBUF else Media.JSON
    encoded = [stored.record.encode(media, None, str(stored.version)) for stored in items]
    return _joined_list(
        ctx,
        info,
        [_item(ctx.form, info, body) for body in encoded],
        list_metadata(str(version), token, remaining),
    )


async def sliced_list(
    ctx: Context,
    info: ResourceInfo,
    items: Sequence[Stored],
    version: int,
    bodies: Bodies,
    token: str = "",
    remaining: int | None = None,
    node: str = "",
) -> web.Response:
    """A list of any length, without holding the event loop; ``node``: as that node sees the objects."""
    pace = Pace()
    if data_form(ctx.form):
        documents: list[Object] = []
        for stored in items:
            documents.append(document_of(ctx, info, stored))
            if pace.due():
                await pace.rest()
        return plain_list(ctx, info, documents, str(version), token, remaining)
    encoded: list[bytes] = []
    for stored in items:
        view = node if node and stored.record.has_views else None
        encoded.append(_item(ctx.form, info, await bodies.body(ctx.form, stored, view)))
        if pace.due():
            await pace.rest()
    return _joined_list(ctx, info, encoded, list_metadata(str(version), token, remaining))


def data_form(form: Form) -> bool:
    """Whether the answer has to be made from data instead of from encoded bodies."""
    return bool(form.transform) or form.media == YAML or form.pretty


def _item(form: Form, info: ResourceInfo, body: bytes) -> bytes:
    if form.media == PROTOBUF:
        return field(2, body)
    return typed_json(info, body) if info.items_typed else body


def _joined_list(ctx: Context, info: ResourceInfo, bodies: list[bytes], metadata: Object) -> web.Response:
    if ctx.form.media == PROTOBUF:
        list_meta = meta.encode_list_meta(
            metadata.get("resourceVersion", ""),
            metadata.get("continue", ""),
            metadata.get("remainingItemCount"),
        )
        message = b"".join((field(1, list_meta), *bodies))
        return respond(ctx, wrap_typed(type_meta(info.api_version, info.list_kind), message), PROTOBUF)
    head = {
        "kind": info.list_kind,
        "apiVersion": info.api_version,
        "metadata": metadata,
    }
    body = b"".join((_encode(head)[:-1], b',"items":[', b",".join(bodies), b"]}\n"))
    return respond(ctx, body, JSON)


def list_metadata(version: str, token: str = "", remaining: int | None = None) -> Object:
    metadata: Object = {}
    if version:
        metadata["resourceVersion"] = version
    if token:
        metadata["continue"] = token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return metadata


def plain_list(
    ctx: Context,
    info: ResourceInfo,
    documents: Sequence[Object],
    version: str = "",
    token: str = "",
    remaining: int | None = None,
) -> web.Response:
    """A list given as JSON data; items have kind and apiVersion."""
    form = ctx.form
    metadata = list_metadata(version, token, remaining)
    if form.transform == "Table":
        include = table.include_object(ctx.query.get("includeObject", ""))
        made = table.table(info, documents, include, metadata, form.transform_version)
        return respond(ctx, text(made, form), form.media)
    if form.transform:
        items = [table.partial(document) for document in documents]
        made = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{form.transform_version}",
            "metadata": metadata,
            "items": items,
        }
        if form.media == PROTOBUF:
            message = meta.encode_kind("PartialObjectMetadataList", made)
            return respond(ctx, wrap(made["apiVersion"], made["kind"], message), PROTOBUF)
        return respond(ctx, text(made, form), form.media)
    if not info.items_typed:
        documents = [{k: v for k, v in d.items() if k not in ("kind", "apiVersion")} for d in documents]
    made = {
        "kind": info.list_kind,
        "apiVersion": info.api_version,
        "metadata": metadata,
        "items": list(documents),
    }
    if form.media == PROTOBUF:
        if info.codec is None:
            raise not_acceptable((JSON, YAML))
        return respond(
            ctx, wrap(info.api_version, info.list_kind, info.codec.encode(info.list_kind, made)), PROTOBUF
        )
    return respond(ctx, text(made, form), form.media)
