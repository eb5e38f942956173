"""Which patches a kind takes, and how each is applied. Server-side apply is in ownership."""

from __future__ import annotations

from typing import Any

from apiserver import errors
from apiserver.documents.jsonpatch import PatchError, json_patch, merge_patch
from apiserver.documents.kind import Kind
from apiserver.documents.strategic import strategic_merge
from apiserver.resources import Object

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def accepted(kind: Kind) -> tuple[str, ...]:
    """Custom resources have no strategic merge: nothing says how their lists merge."""
    if kind.custom:
        return (JSON_PATCH, MERGE, APPLY)
    return (JSON_PATCH, MERGE, STRATEGIC, APPLY)


def apply_patch(kind: Kind, media: str, document: Object, patch: Any) -> Object:
    """The patched object. Raises BadRequest, or Invalid for a JSON patch that does not fit."""
    try:
        if media == JSON_PATCH:
            result = json_patch(document, patch)
        elif not isinstance(patch, dict):
            raise errors.bad_request("the patch must be a JSON object")
        elif media == STRATEGIC:
            result = strategic_merge(kind.kind, document, patch)
        else:
            result = merge_patch(document, patch)
    except PatchError as error:
        if error.unprocessable:
            raise errors.StatusError(422, "Invalid", str(error), {}) from None
        raise errors.bad_request(str(error)) from None
    except RecursionError:
        raise errors.bad_request("the patch is nested too deeply") from None
    if not isinstance(result, dict):
        raise errors.bad_request("the patched object is no JSON object")
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if result.get(field, wanted) != wanted:
            raise errors.bad_request(f"the {field} of an object may not be changed")
    return result
