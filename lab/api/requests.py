"""Checks of what a request says besides the object: names on the URL, apply bodies, delete options."""

from __future__ import annotations

from apiserver import errors
from apiserver.resources import Object
from lab.api.kinds.kind import Kind


def check_identity(kind: Kind, document: Object, namespace: str, name: str) -> None:
    metadata = document.get("metadata")
    if metadata is None:
        metadata = document["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    given = metadata.get("name") or name
    if given != name:
        raise errors.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )
    where = metadata.get("namespace") or namespace
    if kind.namespaced and where != namespace:
        raise errors.bad_request(
            f"the namespace of the object ({where}) does not match the namespace on the URL ({namespace})"
        )


def check_apply_body(kind: Kind, document: Object) -> None:
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        given = document.get(field)
        if not given:
            raise errors.bad_request(f"Object '{field.capitalize()}' is missing in the applied configuration")
        if given != wanted:
            raise errors.bad_request(
                f"the {field} of the applied configuration ({given}) is not that of the URL ({wanted})"
            )


def check_delete_options(options: Object) -> None:
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        raise errors.invalid(
            "DeleteOptions",
            "",
            "",
            [
                errors.not_supported(
                    "propagationPolicy", policy, ("Background", "Foreground", "Orphan", "nil")
                )
            ],
        )
    if policy is not None and options.get("orphanDependents") is not None:
        raise errors.invalid(
            "DeleteOptions",
            "",
            "",
            [
                errors.invalid_value(
                    "propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set"
                )
            ],
        )
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise errors.bad_request("gracePeriodSeconds must be an integer")
