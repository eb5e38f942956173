"""Failures as Kubernetes says them: a Status with reason, code and details.

Handlers raise :class:`StatusError`; the server turns it into the answer. The wording is that of Kubernetes
(apimachinery's api/errors), because kubectl, client-go and people read it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.resources import ResourceInfo


class StatusError(Exception):
    """An error that is answered as a Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """The Status object, with kind and apiVersion, keys in Kubernetes' order."""
        document: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            document["reason"] = self.reason
        if self.details is not None:
            document["details"] = self.details
        document["code"] = self.code
        return document


@dataclass(frozen=True, slots=True)
class FieldError:
    """One failed validation: which field (``spec.ports[0].port``), which type of error, and why."""

    reason: str  # FieldValueInvalid, FieldValueRequired, FieldValueForbidden, FieldValueNotSupported …
    field: str
    message: str  # as it is listed in causes: "Invalid value: 0: must be between 1 and 65535, inclusive"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def shown(value: Any) -> str:
    """A value as it stands in a message: strings quoted, numbers and booleans bare, the rest as JSON."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {shown(value)}: {detail}")


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(
        "FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value"
    )


def forbidden_value(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueForbidden", field, f"Forbidden: {detail}" if detail else "Forbidden")


def not_supported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    choices = ", ".join(shown(choice) for choice in supported)
    message = f"Unsupported value: {shown(value)}: supported values: {choices}"
    return FieldError("FieldValueNotSupported", field, message)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {shown(value)}")


def too_long(field: str, limit: int) -> FieldError:
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")


def _details(info: ResourceInfo, name: str, kind: str | None = None) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if info.group:
        details["group"] = info.group
    details["kind"] = kind or info.plural
    return details


def not_found(info: ResourceInfo, name: str) -> StatusError:
    resource = info.not_found_name or info.plural
    qualified = f"{resource}.{info.group}" if info.group else resource
    return StatusError(404, "NotFound", f'{qualified} "{name}" not found', _details(info, name, resource))


def resource_not_found(name: str, details: dict[str, Any]) -> StatusError:
    """NotFound for something that is not this server's own resource; ``name`` is the qualified resource."""
    return StatusError(404, "NotFound", f'{name} "{details.get("name", "")}" not found', details)


def no_such_resource() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(info: ResourceInfo, name: str) -> StatusError:
    return StatusError(
        409, "AlreadyExists", f'{info.qualified} "{name}" already exists', _details(info, name)
    )


def conflict(info: ResourceInfo, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {info.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(info, name))


def modified_conflict(info: ResourceInfo, name: str) -> StatusError:
    return conflict(
        info,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 with one cause per failed field."""
    texts = list(dict.fromkeys(str(error) for error in errors))  # equal ones once
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    details["causes"] = [
        {"reason": error.reason, "message": error.message, "field": error.field} for error in errors
    ]
    return StatusError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, group: str, name: str, why: str) -> StatusError:
    """403. ``why`` is the sentence after the colon."""
    qualified = f"{resource}.{group}" if group else resource
    message = f'{qualified} "{name}" is forbidden: {why}' if name else f"{qualified} is forbidden: {why}"
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return StatusError(403, "Forbidden", message, details)


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    message = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return StatusError(403, "Forbidden", message, {})


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    message = "only the following media types are accepted: " + ", ".join(accepted)
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
        accepted
    )
    return StatusError(415, "UnsupportedMediaType", message)


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def too_many_requests() -> StatusError:
    return StatusError(
        429,
        "TooManyRequests",
        "Too many requests, please try again later.",
        {"retryAfterSeconds": 1},
        headers={"Retry-After": "1"},
    )


def too_large(limit: int) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def timeout(message: str) -> StatusError:
    return StatusError(504, "Timeout", message, {})


def internal(message: str) -> StatusError:
    text = f"Internal error occurred: {message}"
    return StatusError(500, "InternalError", text, {"causes": [{"message": message}]})


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)
