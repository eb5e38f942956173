"""Admission webhooks: kube-apiserver asks whether a write may happen, and what to change in it.

The HTTP side, which knows no kind (admission.k8s.io; what Antrea v2.7 answers to good and bad requests)::

    admission = Admission(server)
    admission.path("/validate/egress", check_egress)
    by_kind = ByKind()
    by_kind.add(GroupVersionKind("crd.antrea.io", "v1beta1", "Tier"), check_tier)
    admission.path("/validate/tier", by_kind)

A handler is called with an AdmissionRequest and gives a Verdict, or an awaitable of one. What a handler
raises as GoJSONError (an object that does not decode) becomes a refusal with that text. Large reviews are
handled in a thread, one at a time, so that the event loop is never held for long: handlers must not touch
anything that other threads may not read.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import msgspec
from aiohttp import web

from apis.gojson import GoJSONError, GoStruct, Named, unmarshal
from apiserver.auth import User
from apiserver.body import read_bytes
from apiserver.errors import StatusError
from apiserver.holding import ARRIVAL
from apiserver.request import Context
from apiserver.server import ApiServer

_log = logging.getLogger(__name__)

# A review carries the new and the old object, each up to the 3 MiB that kube-apiserver takes.
MAX_REVIEW: Final = 8 * 1024 * 1024
LARGE: Final = 64 * 1024  # bytes; a larger review is handled in a thread
NO_REQUEST: Final = "invalid AdmissionReview: nil request"


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    group: str
    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class GroupVersionResource:
    group: str
    version: str
    resource: str


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What is asked. ``object`` and ``old`` are JSON text, None where there is none (delete, create)."""

    uid: str
    kind: GroupVersionKind
    resource: GroupVersionResource
    operation: str  # CREATE, UPDATE, DELETE, CONNECT
    namespace: str
    name: str
    user: User
    object: msgspec.Raw | None
    old: msgspec.Raw | None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. ``patch`` is a list of JSON Patch operations, None for no patch at all.

    A refusal without a code is the user's mistake (kube-apiserver makes it a 400); 503 says that the answer
    could not be found out at the moment.
    """

    allowed: bool
    message: str = ""
    code: int = 0
    warnings: Sequence[str] = ()
    patch: Sequence[Mapping[str, Any]] | None = None


ALLOWED: Final = Verdict(True)
NOT_MINE: Final = Verdict(False)  # a kind that nobody here knows; kube-apiserver words the refusal

Handler = Callable[[AdmissionRequest], Verdict | Awaitable[Verdict]]


def refused(message: str, code: int = 0) -> Verdict:
    return Verdict(False, message, code)


class ByKind:
    """A handler that goes by the kind in the request, whatever the path says."""

    def __init__(self) -> None:
        self._handlers: dict[GroupVersionKind, Handler] = {}

    def add(self, kind: GroupVersionKind, handler: Handler) -> None:
        self._handlers[kind] = handler

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        handler = self._handlers.get(request.kind)
        return NOT_MINE if handler is None else handler(request)


class Admission:
    """Puts handlers on paths of a server."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._large = asyncio.Semaphore(1)

    def path(self, path: str, handler: Handler) -> None:
        async def serve(ctx: Context) -> web.StreamResponse:
            return await self._serve(ctx, handler)

        self._server.path(path, serve)

    async def _serve(self, ctx: Context, handler: Handler) -> web.Response:
        async with self._server.holding.room(ctx.http, MAX_REVIEW):
            return await self._answer(ctx, handler)

    async def _answer(self, ctx: Context, handler: Handler) -> web.Response:
        body = await read_bytes(ctx.http, MAX_REVIEW, ARRIVAL)
        if not body:
            return _text(400, "empty request body")
        if ctx.http.headers.get("Content-Type", "") != "application/json":
            return _text(415, "invalid Content-Type, expected `application/json`")
        if len(body) <= LARGE:
            uid, verdict = _judge(body, handler)
        else:
            async with self._large:
                uid, verdict = await asyncio.to_thread(_judge_large, body, handler)
        if inspect.isawaitable(verdict):
            verdict = await _settle(verdict)
        return web.Response(body=_encode(uid, verdict), content_type="application/json")


def _judge(body: bytes, handler: Handler) -> tuple[str, Verdict | Awaitable[Verdict]]:
    """The request's uid and the handler's answer; never raises."""
    uid = ""
    try:
        review = unmarshal(body, AdmissionReview)
        if review.request is None:
            return uid, refused(NO_REQUEST)
        uid = review.request.uid or ""
        return uid, handler(_request(review.request))
    except Exception as error:
        return uid, _failed(error)


def _judge_large(body: bytes, handler: Handler) -> tuple[str, Verdict | Awaitable[Verdict]]:
    # The collector would walk through 100,000 new lists again and again, find nothing, and hold the event
    # loop for it: decoding 3 MiB takes half as long without.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _judge(body, handler)
    finally:
        if collecting:
            gc.enable()


async def _settle(verdict: Awaitable[Verdict]) -> Verdict:
    try:
        return await verdict
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> Verdict:
    if isinstance(error, GoJSONError):
        return refused(str(error))
    if isinstance(error, StatusError):
        return refused(error.message, error.code)
    _log.error("A review could not be judged", exc_info=error)
    return refused(f"the object could not be checked, which is a fault here: {error!r}", 500)


def _text(code: int, sentence: str) -> web.Response:
    return web.Response(text=sentence + "\n", status=code)


# --- the wire ---


class _Kind(GoStruct):
    group: str | None = None
    version: str | None = None
    kind: str | None = None
    resource: str | None = None


class UserInfo(GoStruct):
    username: str | None = None
    uid: str | None = None
    groups: list[str] | None = None
    extra: dict[str, Annotated[list[str] | None, Named("v1.ExtraValue")]] | None = None


class _Request(GoStruct):
    uid: str | None = None
    kind: Annotated[_Kind | None, Named("v1.GroupVersionKind")] = None
    resource: Annotated[_Kind | None, Named("v1.GroupVersionResource")] = None
    name: str | None = None
    namespace: str | None = None
    operation: Annotated[str | None, Named("v1.Operation")] = None
    user_info: UserInfo | None = None
    object: msgspec.Raw = msgspec.Raw()
    old_object: msgspec.Raw = msgspec.Raw()
    dry_run: bool | None = None


class AdmissionReview(GoStruct):
    """The envelope, of admission.k8s.io/v1 or v1beta1: their requests are alike."""

    package: ClassVar[str] = "v1"
    request: Annotated[_Request | None, Named("v1.AdmissionRequest")] = None


def _request(request: _Request) -> AdmissionRequest:
    kind, resource = request.kind or _Kind(), request.resource or _Kind()
    user = request.user_info or UserInfo()
    return AdmissionRequest(
        uid=request.uid or "",
        kind=GroupVersionKind(kind.group or "", kind.version or "", kind.kind or ""),
        resource=GroupVersionResource(resource.group or "", resource.version or "", resource.resource or ""),
        operation=request.operation or "",
        namespace=request.namespace or "",
        name=request.name or "",
        user=User(
            user.username or "",
            tuple(user.groups or ()),
            user.uid or "",
            {key: values or [] for key, values in (user.extra or {}).items()},
        ),
        object=_present(request.object),
        old=_present(request.old_object),
        dry_run=bool(request.dry_run),
    )


def _present(raw: msgspec.Raw) -> msgspec.Raw | None:
    return None if len(memoryview(raw)) <= len("null") and bytes(raw) in (b"", b"null") else raw


def _encode(uid: str, verdict: Verdict) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if verdict.message:
        response["status"] = {"metadata": {}, "message": verdict.message}
        if verdict.code:
            response["status"]["code"] = verdict.code
    if verdict.patch is not None:
        # Nothing to change is the patch ``null``, as Antrea sends it.
        response["patch"] = base64.b64encode(msgspec.json.encode(list(verdict.patch) or None)).decode()
        response["patchType"] = "JSONPatch"
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    return msgspec.json.encode(
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
    )
