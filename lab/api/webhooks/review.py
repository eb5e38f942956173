"""AdmissionReview (admission.k8s.io/v1, and v1beta1 for hooks that know nothing newer)."""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apiserver.documents.kind import Kind
from apiserver.documents.operation import Operation
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.webhooks.caller import CallError

_GROUP = "admission.k8s.io"


class AnswerError(Exception):
    """An answer that is no AdmissionReview for the question."""


@dataclass(slots=True)
class Answer:
    allowed: bool
    result: Object = field(default_factory=dict)
    patch: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def form_of(obj: Object | None, kind: Kind, version: str) -> Object | None:
    """The object as a webhook sees it, under a version of its kind."""
    if obj is None:
        return None
    api_version = f"{kind.group}/{version}" if kind.group else version
    return {"kind": kind.kind, "apiVersion": api_version, **obj}


def question(
    versions: list[str],
    kind: Kind,
    operation: Operation,
    version: str,
    new: Object | None,
    old: Object | None,
) -> Object:
    """The review of a write for a hook that wants ``version``; the objects are given in that version."""
    review = next((known for known in versions if known in ("v1", "v1beta1")), "")
    if not review:
        raise CallError(f"webhook does not accept known AdmissionReview versions ({', '.join(versions)})")
    user: Object = {"username": operation.user}
    if operation.uid:
        user["uid"] = operation.uid
    if operation.groups:
        user["groups"] = list(operation.groups)
    if operation.extra:
        user["extra"] = {key: list(values) for key, values in operation.extra.items()}
    request: Object = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": kind.group, "version": version, "kind": kind.kind},
        "resource": {"group": kind.group, "version": version, "resource": kind.plural},
        "requestKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "requestResource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
        "name": operation.name,
        "namespace": operation.name if kind.resource == "namespaces" else operation.namespace,
        "operation": operation.verb.upper(),
        "userInfo": user,
        "object": new,
        "oldObject": old,
        "dryRun": operation.dry_run,
        "options": operation.options or None,
    }
    if operation.subresource:
        request["subResource"] = request["requestSubResource"] = operation.subresource
    request = {key: value for key, value in request.items() if value != ""}
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{review}", "request": request}


def read(answer: Any, asked: Object, mutating: bool) -> Answer:
    """The answer to a question. Raises AnswerError."""
    if not isinstance(answer, dict) or not isinstance(answer.get("response"), dict):
        raise AnswerError("webhook response was absent")
    response = answer["response"]
    strict = asked["apiVersion"] == f"{_GROUP}/v1"
    if strict:
        wanted = (asked["apiVersion"], "AdmissionReview")
        if (answer.get("apiVersion"), answer.get("kind")) != wanted:
            raise AnswerError(
                f"expected webhook response of {wanted[0]}, Kind={wanted[1]}, got "
                f"{answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
            )
        if response.get("uid") != asked["request"]["uid"]:
            raise AnswerError(
                f'expected response.uid="{asked["request"]["uid"]}", got "{response.get("uid", "")}"'
            )
    patch, patch_type = response.get("patch"), response.get("patchType")
    if not mutating and strict and (patch or patch_type):
        raise AnswerError(f"validating webhook may not return response.{'patch' if patch else 'patchType'}")
    if mutating and strict and bool(patch) != bool(patch_type):
        given, missing = ("patch", "patchType") if patch else ("patchType", "patch")
        raise AnswerError(f"webhook returned response.{given} but not response.{missing}")
    if mutating and patch and patch_type not in (None, "JSONPatch"):
        raise AnswerError(f'invalid response.patchType "{patch_type}"')
    result = response.get("status")
    warnings = response.get("warnings")
    return Answer(
        response.get("allowed") is True,
        result if isinstance(result, dict) else {},
        _operations(patch) if mutating and patch else [],
        [str(warning) for warning in warnings] if isinstance(warnings, list) else [],
    )


def _operations(patch: Any) -> list[Any]:
    try:
        decoded = msgspec.json.decode(base64.b64decode(str(patch)))
    except (binascii.Error, ValueError) as error:
        raise AnswerError(f"response.patch is no JSON patch: {error}") from None
    if decoded is None:
        return []
    if not isinstance(decoded, list):
        raise AnswerError("response.patch is no JSON patch: it is no list")
    return decoded


def denied(name: str, result: Object) -> StatusError:
    """What the client is told of a refusal."""
    by = f'admission webhook "{name}" denied the request'
    text = result.get("message") or result.get("reason")
    code = result.get("code")
    code = code if isinstance(code, int) and 400 <= code < 600 else 400
    details = result.get("details")
    return StatusError(
        code,
        str(result.get("reason") or ""),
        f"{by}: {text}" if text else f"{by} without explanation",
        details if isinstance(details, dict) else None,
    )
