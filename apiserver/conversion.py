"""Conversion webhooks: kube-apiserver has objects of a custom resource turned from one version into another.

    Conversion(server).path("/convert/ippool", convert_pool)

A converter gets the object as data and the version wanted, and returns the new object; the machinery sets its
apiVersion. A ConversionError, from any object, makes the whole review fail with that text.

The path is open to everybody. A review is therefore never decoded whole: object by object, each no longer
than kube-apiserver takes one, so that neither the memory nor the time between two turns of the event loop
grows with the review.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
import yaml
from aiohttp import web

from apis.gojson import syntax
from apiserver import yamltext
from apiserver.body import MAX_BODY, read_bytes
from apiserver.errors import too_large
from apiserver.holding import ARRIVAL
from apiserver.negotiation import JSON, YAML
from apiserver.request import Context
from apiserver.resources import Object
from apiserver.server import ApiServer

_log = logging.getLogger(__name__)

# A list is converted in one review; kube-apiserver's pages are bounded by it, not by us.
MAX_REVIEW: Final = 32 * 1024 * 1024
LARGE: Final = 64 * 1024  # bytes; a larger review is handled in a thread
MAX_YAML: Final = 256 * 1024  # it takes seconds per megabyte, and kube-apiserver speaks JSON
# In a large review: objects have at least so many bytes for each of their values on average.
_BYTES_PER_VALUE: Final = 6
VERSIONS: Final = ("apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1")

# As Go escapes HTML.
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})

Converter = Callable[[Object, str], Object]
"""(object, desired apiVersion) -> converted object; it may change the one it is given."""


class ConversionError(Exception):
    """An object cannot be converted; the text is for the user."""


class _Unreadable(Exception):
    """The body is no ConversionReview."""


def unexpected_versions(source: str, target: str) -> ConversionError:
    """For a converter that is asked for a pair of versions which it does not have."""
    return ConversionError(f'unexpected conversion fromVersion "{source}" to toVersion "{target}"')


class Conversion:
    """Puts converters on paths of a server."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._large = asyncio.Semaphore(1)

    def path(self, path: str, converter: Converter) -> None:
        async def serve(ctx: Context) -> web.StreamResponse:
            return await self._serve(ctx, converter)

        self._server.path(path, serve)

    async def _serve(self, ctx: Context, converter: Converter) -> web.Response:
        async with self._server.holding.room(ctx.http, MAX_REVIEW):
            return await self._answer(ctx, converter)

    async def _answer(self, ctx: Context, converter: Converter) -> web.Response:
        body = await read_bytes(ctx.http, MAX_REVIEW, ARRIVAL)
        content_type = ctx.http.headers.get("Content-Type", "")
        if content_type not in (JSON, YAML):
            return _text(415, f"Invalid Content-Type={content_type}, expected {JSON} or {YAML}")
        accept = ctx.http.headers.get("Accept", "")
        media = _accepted(accept)
        if YAML in (content_type, media) and len(body) > MAX_YAML:
            raise too_large(MAX_YAML)
        try:
            if len(body) <= LARGE and content_type == JSON:
                review = _convert(body, content_type, converter)
            else:
                async with self._large:
                    review = await asyncio.to_thread(_convert_large, body, content_type, converter)
        except _Unreadable as error:
            text = body[: 4 * 4096].decode("utf-8", "replace")
            return _text(400, f"failed to deserialize body ({text[:4096]}) with error {error}")
        if media is None:
            return _text(400, f"invalid accept header `{accept}`", escape=False)
        if media == YAML:
            async with self._large:
                return web.Response(body=await asyncio.to_thread(_yaml, review), content_type=YAML)
        return web.Response(body=review, content_type=JSON)


def _accepted(accept: str) -> str | None:
    """JSON or YAML, whichever the header names first; JSON without a preference."""
    for clause in accept.split(","):
        media = clause.split(";", 1)[0].strip().lower()
        if media in ("", "*/*", "application/*", JSON):
            return JSON
        if media == YAML:
            return YAML
    return None


def _yaml(review: bytes) -> bytes:
    return yaml.safe_dump(msgspec.json.decode(review), sort_keys=False, allow_unicode=True).encode()


def _text(code: int, sentence: str, *, escape: bool = True) -> web.Response:
    # Antrea escapes what it quotes, so that no browser takes it for HTML.
    return web.Response(text=(sentence.translate(_ESCAPES) if escape else sentence) + "\n", status=code)


def _convert_large(body: bytes, media: str, converter: Converter) -> bytes:
    # See apiserver.admission: the collector would find nothing and hold the event loop for it.
    collecting = gc.isenabled()
    gc.disable()
    try:
        if body.count(b",") * _BYTES_PER_VALUE > len(body):
            raise _Unreadable("the review has more values than objects of its size can have")
        return _convert(body, media, converter)
    finally:
        if collecting:
            gc.enable()


def _convert(body: bytes, media: str, converter: Converter) -> bytes:
    """The answer to a review, as JSON. Raises _Unreadable."""
    review = _decode(body, media)
    request = _members(review.get("request", _NULL))
    if request is None:
        raise _Unreadable("the review has no request")
    uid = request.get("uid", _NULL)
    response: Object = {"uid": "" if _is_null(uid) else uid, "convertedObjects": None}
    try:
        converted = _objects(request, converter)
        response["convertedObjects"] = converted or None
        response["result"] = {"metadata": {}, "status": "Success"}
    except ConversionError as error:
        response["result"] = {"metadata": {}, "status": "Failure", "message": str(error)}
    except msgspec.MsgspecError as error:
        # What was only passed over before: the review is no JSON after all.
        raise _Unreadable(f"couldn't get version/kind; json parse error: {error}") from None
    except Exception as error:
        _log.exception("Objects could not be converted")
        message = f"the objects could not be converted, which is a fault here: {error!r}"
        response["result"] = {"metadata": {}, "status": "Failure", "message": message}
    return msgspec.json.encode(
        {
            "kind": "ConversionReview",
            "apiVersion": review["apiVersion"],
            "request": {"uid": "", "desiredAPIVersion": "", "objects": None},
            "response": response,
        }
    )


def _objects(request: Members, converter: Converter) -> list[msgspec.Raw]:
    desired = _value(request.get("desiredAPIVersion", _NULL)) or ""
    try:
        found = _LIST.decode(request.get("objects", _NULL)) or []
    except msgspec.ValidationError:
        raise ConversionError(_NO_LIST) from None
    return [_object(item, desired, converter) for item in found]


def _object(raw: msgspec.Raw, desired: Any, converter: Converter) -> msgspec.Raw:
    if len(memoryview(raw)) > MAX_BODY:
        raise ConversionError(f"an object of the review is longer than {MAX_BODY} bytes")
    item = msgspec.json.decode(raw)
    if not isinstance(item, dict):
        raise ConversionError(_NO_LIST)
    if item.get("apiVersion") == desired:
        raise ConversionError(f"conversion from a version to itself should not call the webhook: {desired}")
    result = converter(item, desired)
    result["apiVersion"] = desired
    return msgspec.Raw(msgspec.json.encode(result))


_NULL: Final = msgspec.Raw(b"null")
_NO_LIST: Final = "the objects of the review are not a list of objects"
Members = dict[str, msgspec.Raw]
_MEMBERS: Final = msgspec.json.Decoder(Members)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw] | None)


def _is_null(raw: msgspec.Raw) -> bool:
    return len(memoryview(raw)) <= len("null") and bytes(raw) in (b"", b"null")


def _members(raw: bytes | msgspec.Raw) -> Members | None:
    """The members of a JSON object, unread; None for any other value."""
    try:
        return _MEMBERS.decode(raw)
    except msgspec.ValidationError:
        return None


def _value(raw: msgspec.Raw) -> Any:
    """A value that is short, or None."""
    return msgspec.json.decode(raw) if len(memoryview(raw)) <= _LONGEST else None


_LONGEST: Final = 4096


def _decode(body: bytes, media: str) -> dict[str, Any]:
    """The members of the review, of which apiVersion is read."""
    try:
        text = body if media == JSON else msgspec.json.encode(yamltext.load(body))
        review = _members(text)
        version = kind = None
        if review is not None:
            version, kind = (_value(review.get(key, _NULL)) for key in ("apiVersion", "kind"))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        problem = syntax.problem(body) if media == JSON and len(body) <= LARGE else None
        raise _Unreadable(f"couldn't get version/kind; json parse error: {problem or error}") from None
    if review is None:
        raise _Unreadable("couldn't get version/kind; json parse error: the review is no object")
    if kind != "ConversionReview" or version not in VERSIONS:
        # The end is how Kubernetes' library names the scheme.
        raise _Unreadable(
            f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        )
    return {**review, "apiVersion": version}
