"""Conversion webhooks: kube-apiserver has objects of a custom resource turned from one version into another.

    Conversion(server).path("/convert/ippool", convert_pool)

A converter gets the object as data and the version wanted, and returns the new object; the machinery sets its
apiVersion. A ConversionError, from any object, makes the whole review fail with that text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
import yaml
from aiohttp import web

from apis.gojson import syntax
from apiserver import yamltext
from apiserver.body import read_bytes
from apiserver.negotiation import JSON, YAML
from apiserver.request import Context
from apiserver.resources import Object
from apiserver.server import ApiServer

_log = logging.getLogger(__name__)

# A list is converted in one review; kube-apiserver's pages are bounded by it, not by us.
MAX_REVIEW: Final = 32 * 1024 * 1024
LARGE: Final = 64 * 1024  # bytes; a larger review is handled in a thread
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
        body = await read_bytes(ctx.http, MAX_REVIEW)
        content_type = ctx.http.headers.get("Content-Type", "")
        if content_type not in (JSON, YAML):
            return _text(415, f"Invalid Content-Type={content_type}, expected {JSON} or {YAML}")
        try:
            if len(body) <= LARGE and content_type == JSON:
                review = _convert(body, content_type, converter)
            else:
                async with self._large:
                    review = await asyncio.to_thread(_convert, body, content_type, converter)
        except _Unreadable as error:
            text = body.decode("utf-8", "replace")
            return _text(400, f"failed to deserialize body ({text[:4096]}) with error {error}")
        accept = ctx.http.headers.get("Accept", "")
        media = _accepted(accept)
        if media is None:
            return _text(400, f"invalid accept header `{accept}`", escape=False)
        if media == YAML:
            return web.Response(body=await asyncio.to_thread(_yaml, review), content_type=YAML)
        return web.Response(body=msgspec.json.encode(review), content_type=JSON)


def _accepted(accept: str) -> str | None:
    """JSON or YAML, whichever the header names first; JSON without a preference."""
    for clause in accept.split(","):
        media = clause.split(";", 1)[0].strip().lower()
        if media in ("", "*/*", "application/*", JSON):
            return JSON
        if media == YAML:
            return YAML
    return None


def _yaml(review: Object) -> bytes:
    return yaml.safe_dump(review, sort_keys=False, allow_unicode=True).encode()


def _text(code: int, sentence: str, *, escape: bool = True) -> web.Response:
    # Antrea escapes what it quotes, so that no browser takes it for HTML.
    return web.Response(text=(sentence.translate(_ESCAPES) if escape else sentence) + "\n", status=code)


def _convert(body: bytes, media: str, converter: Converter) -> Object:
    """The answer to a review. Raises _Unreadable."""
    review = _decode(body, media)
    request = review.get("request")
    if not isinstance(request, dict):
        raise _Unreadable("the review has no request")
    response: Object = {"uid": request.get("uid") or "", "convertedObjects": None}
    try:
        converted = _objects(request, converter)
        response["convertedObjects"] = converted or None
        response["result"] = {"metadata": {}, "status": "Success"}
    except ConversionError as error:
        response["result"] = {"metadata": {}, "status": "Failure", "message": str(error)}
    except Exception as error:
        _log.exception("Objects could not be converted")
        message = f"the objects could not be converted, which is a fault here: {error!r}"
        response["result"] = {"metadata": {}, "status": "Failure", "message": message}
    return {
        "kind": "ConversionReview",
        "apiVersion": review["apiVersion"],
        "request": {"uid": "", "desiredAPIVersion": "", "objects": None},
        "response": response,
    }


def _objects(request: Object, converter: Converter) -> list[Object]:
    desired = request.get("desiredAPIVersion") or ""
    found = request.get("objects") or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConversionError("the objects of the review are not a list of objects")
    converted = []
    for item in found:
        if item.get("apiVersion") == desired:
            raise ConversionError(
                f"conversion from a version to itself should not call the webhook: {desired}"
            )
        result = converter(item, desired)
        result["apiVersion"] = desired
        converted.append(result)
    return converted


def _decode(body: bytes, media: str) -> dict[str, Any]:
    try:
        review = msgspec.json.decode(body) if media == JSON else yamltext.load(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = syntax.problem(body) if media == JSON else None
        raise _Unreadable(f"couldn't get version/kind; json parse error: {problem or error}") from None
    if not isinstance(review, dict):
        raise _Unreadable("couldn't get version/kind; json parse error: the review is no object")
    version, kind = review.get("apiVersion"), review.get("kind")
    if kind != "ConversionReview" or version not in VERSIONS:
        # The end is how Kubernetes' library names the scheme.
        raise _Unreadable(
            f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        )
    return review
