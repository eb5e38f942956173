"""Request bodies: read within bounds, decoded by Content-Type, checked against the kind that is expected."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from aiohttp import web

from apis.envelope import EnvelopeError, unwrap
from apis.gojson import syntax
from apis.meta import builtin
from apis.meta import v1 as meta
from apiserver import errors, yamltext
from apiserver.fitting import Fitting, Misfit, named
from apiserver.negotiation import JSON, PROTOBUF, YAML
from apiserver.request import Context
from apiserver.resources import Codec, Object, ResourceInfo

MAX_BODY = 3 * 1024 * 1024
BODY_SECONDS = 60.0
_LONG_YAML = 16 * 1024
_LONG_JSON = 128 * 1024  # looked through in a thread: megabytes of values take a tenth of a second
_LONG_PROTOBUF = 32 * 1024  # a megabyte of small messages takes more than a tenth of a second
_NO_VERSION = "couldn't get version/kind; json parse error: "
_INTO_TYPE = (  # the Go type that kind and apiVersion are looked for in
    'into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
_NO_PROTOBUF = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"


async def read_bytes(request: web.BaseRequest, limit: int = MAX_BODY, seconds: float | None = None) -> bytes:
    """The raw body. Raises 413 beyond the limit, 408 when it does not arrive in time, 400 if compressed."""
    seconds = BODY_SECONDS if seconds is None else seconds
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise errors.bad_request(
            f"the request body has the Content-Encoding {encoding[:40]}; send it as it is"
        )
    if request.content_length is not None and request.content_length > limit:
        raise errors.too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise errors.too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise errors.StatusError(408, "Timeout", f"the body did not arrive within {seconds:.0f} s") from None
    except web.RequestPayloadError as error:
        raise errors.bad_request(f"the request body could not be read: {error}") from error
    return b"".join(chunks)


def media_type(request: web.BaseRequest) -> str:
    """The Content-Type without parameters, lower case; JSON when there is none."""
    return request.headers.get("Content-Type", JSON).split(";", 1)[0].strip().lower() or JSON


def _summary(raw: bytes) -> str:
    """The start of a body as it stands in a refusal: text if it looks like JSON, digits otherwise."""
    if not raw:
        return "<empty>"
    shown = raw[:30].decode("utf-8", "replace") if raw.startswith(b"{") else raw[:30].hex()
    return shown + (" ..." if len(raw) > 30 else "")


def _unrecognized(kind: str, why: object, raw: bytes) -> errors.StatusError:
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {kind}): {why} ({_summary(raw)})"
    )


def parse_text(raw: bytes, media: str, kind: str) -> Any:
    """JSON or YAML data. Raises BadRequest."""
    try:
        return msgspec.json.decode(raw) if media == JSON else yamltext.load(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        why: object = error
        if media == JSON:
            why = f"{_NO_VERSION}{syntax.problem(raw) or error}"
        raise _unrecognized(kind, why, raw) from error


async def parse_body(raw: bytes, media: str, kind: str) -> Any:
    """The same; long YAML is read in a thread, because it takes seconds per megabyte."""
    if media == YAML and len(raw) > _LONG_YAML:
        return await asyncio.to_thread(parse_text, raw, media, kind)
    return parse_text(raw, media, kind)


async def read_object(ctx: Context, info: ResourceInfo, kind: str, group: str, version: str) -> Object:
    """The object in the body, with kind and apiVersion as expected. Raises 400, 413 or 415."""
    media = media_type(ctx.http)
    api_version = f"{group}/{version}" if group else version
    codec: Codec | None = info.codec
    if codec is None and builtin.knows(api_version, kind):
        codec = builtin.BuiltinCodec(api_version)
    accepted = [JSON, YAML] + ([PROTOBUF] if codec is not None else [])
    if media not in accepted:
        raise errors.unsupported_media_type(accepted)
    raw = await read_bytes(ctx.http)
    if media == PROTOBUF:
        assert codec is not None
        try:
            enveloped = unwrap(raw)
            named_kind = enveloped.kind or kind
            if len(raw) > _LONG_PROTOBUF:
                document = await asyncio.to_thread(codec.decode, named_kind, enveloped.raw)
            else:
                document = codec.decode(named_kind, enveloped.raw)
        except (EnvelopeError, ValueError) as error:
            raise _unrecognized(kind, error if raw.startswith(b"k8s\0") else _NO_PROTOBUF, raw) from error
        document = {"kind": enveloped.kind, "apiVersion": enveloped.api_version, **document}
        _check_type(ctx, document, kind, api_version)
        return _with_metadata(document, kind, api_version)
    document = await parse_body(raw, media, kind)
    if not isinstance(document, dict):
        raise _unrecognized(kind, f"{_NO_VERSION}json: cannot unmarshal {named(document)} {_INTO_TYPE}", raw)
    _check_type(ctx, document, kind, api_version)
    if len(raw) > _LONG_JSON:
        await asyncio.to_thread(check_fields, ctx, info, kind, document)
    else:
        check_fields(ctx, info, kind, document)
    return _with_metadata(document, kind, api_version)


def _check_type(ctx: Context, document: Object, kind: str, api_version: str) -> None:
    """Raises BadRequest for an object of another kind or version than belongs here."""
    given_kind, given_version = document.get("kind") or kind, document.get("apiVersion") or api_version
    if (given_kind, given_version) == (kind, api_version):
        return
    version = str(given_version).rpartition("/")[2]
    if not ctx.server.registry.has_kind(str(given_version), str(given_kind)):
        why = f'no kind "{given_kind}" is registered for version "{given_version}"'
    elif given_version != api_version:
        raise errors.bad_request(
            f"the API version in the data ({given_version}) does not match the expected "
            f"API version ({api_version})"
        )
    else:
        why = "unknown conversion"
    raise errors.bad_request(f'{given_kind} in version "{version}" cannot be handled as a {kind}: {why}')


def check_fields(ctx: Context, info: ResourceInfo, kind: str, document: Object) -> None:
    """Holds an object to the schema of its kind, where the resource has one. Unknown fields are refused or
    warned of, as the client wishes (?fieldValidation); whoever reads the object passes over them.

    Raises BadRequest."""
    name = info.definition_name(kind)
    if name not in info.definitions:
        return
    misfit = f'{kind} in version "{info.version}" cannot be handled as a {kind}'
    fitting = Fitting(info.definitions)
    try:
        fitting.check(name, document)
    except Misfit as error:
        raise errors.bad_request(f"{misfit}: {error}") from None
    wish = ctx.query.get("fieldValidation", "")
    if not fitting.unknown or wish == "Ignore":
        return
    texts = [f'unknown field "{path}"' for path in fitting.unknown]
    if wish == "Strict":
        raise errors.bad_request(f"{misfit}: strict decoding error: {', '.join(texts)}")
    ctx.warnings += texts


_STRING, _NUMBER, _BOOL = str, int, bool
_Shape = type | list[type] | dict[str, type]
_METADATA_TYPES: dict[str, _Shape] = {
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), _STRING),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), _STRING),
    **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), _NUMBER),
    **dict.fromkeys(("labels", "annotations"), dict),
    "finalizers": [_STRING],
    "ownerReferences": [dict],
    "managedFields": [dict],
}
_DELETE_TYPES: dict[str, _Shape] = {
    "gracePeriodSeconds": _NUMBER,
    "propagationPolicy": _STRING,
    "orphanDependents": _BOOL,
    "dryRun": [_STRING],
    "preconditions": {"uid": _STRING, "resourceVersion": _STRING},
}


def _fits(value: Any, shape: _Shape) -> bool:
    if value is None:
        return True
    if isinstance(shape, list):
        return isinstance(value, list) and all(isinstance(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(_fits(value.get(key), kind) for key, kind in shape.items())
    return isinstance(value, shape) and (shape is not _NUMBER or not isinstance(value, bool))


def check_types(value: Object, shapes: dict[str, _Shape], what: str) -> None:
    """Raises BadRequest when a field that everybody relies on has another JSON type than it must."""
    for key, shape in shapes.items():
        if not _fits(value.get(key), shape):
            raise errors.bad_request(f"{what}.{key}: a {type(value[key]).__name__} is not what belongs there")


def _with_metadata(document: Object, kind: str, api_version: str) -> Object:
    """The object with kind, apiVersion and metadata, and makes sure that metadata is an object."""
    metadata = document.get("metadata")
    if metadata is None:
        metadata = {}
    misfit = f'{kind} in version "{api_version.rpartition("/")[2]}" cannot be handled as a {kind}'
    if not isinstance(metadata, dict):
        raise errors.bad_request(
            f"{misfit}: json: cannot unmarshal {named(metadata)} into Go struct field {kind}.metadata "
            "of type v1.ObjectMeta"
        )
    check_types(metadata, _METADATA_TYPES, f"{misfit}: metadata")
    rest = {k: v for k, v in document.items() if k not in ("kind", "apiVersion", "metadata")}
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata, **rest}


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteOptions(msgspec.Struct, rename="camel"):
    """The types of the fields that count: what is read is held to them, whatever wrote it."""

    grace_period_seconds: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] | None = None
    preconditions: _Preconditions | None = None
    orphan_dependents: bool | None = None
    propagation_policy: str | None = None
    dry_run: list[str] | None = None


async def read_delete_options(ctx: Context) -> Object:
    """DeleteOptions from body and query; the query counts where the body says nothing."""
    raw = await read_bytes(ctx.http)
    options: Object = {}
    if raw.strip():
        media = media_type(ctx.http)
        if media == PROTOBUF:
            try:
                options = meta.decode_kind("DeleteOptions", unwrap(raw).raw)
            except ValueError as error:
                raise errors.bad_request(f"the object provided is no DeleteOptions: {error}") from error
        elif media in (JSON, YAML):
            decoded = await parse_body(raw, media, "DeleteOptions")
            if decoded is not None and not isinstance(decoded, dict):
                raise errors.bad_request(
                    "the object provided is unrecognized (must be of type DeleteOptions)"
                )
            options = decoded or {}
        else:
            raise errors.unsupported_media_type((JSON, YAML, PROTOBUF))
    check_types(options, _DELETE_TYPES, "DeleteOptions")
    query = ctx.query
    if "gracePeriodSeconds" in query and options.get("gracePeriodSeconds") is None:
        try:
            options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
        except ValueError:
            raise errors.bad_request(
                f'strconv.ParseInt: parsing "{query["gracePeriodSeconds"]}": invalid syntax'
            ) from None
    if query.get("propagationPolicy") and not options.get("propagationPolicy"):
        options["propagationPolicy"] = query["propagationPolicy"]
    _check_delete_options(options)
    if ctx.dry_run or "All" in (options.get("dryRun") or ()):
        options["dryRun"] = ["All"]
    return options


def _check_delete_options(options: Object) -> None:
    try:
        msgspec.convert(options, _DeleteOptions)
    except msgspec.ValidationError as error:
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type DeleteOptions): {error}"
        ) from error
