"""Validation of metadata and of label selectors, which every kind shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors

NameCheck = Callable[[str], list[str]]
_MAX_ANNOTATIONS = 256 * 1024
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


def validate_labels(labels: Mapping[str, Any], path: str, errors: FieldErrors) -> None:
    for key, value in labels.items():
        errors.invalids(path, key, formats.qualified_name(key))
        errors.invalids(path, value, formats.label_value(value))


def validate_annotations(annotations: Mapping[str, str], path: str, errors: FieldErrors) -> None:
    size = 0
    for key, value in annotations.items():
        errors.invalids(path, key, formats.qualified_name(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > _MAX_ANNOTATIONS:
        errors.too_long(path, _MAX_ANNOTATIONS)


def validate_owner_references(
    references: Sequence[Mapping[str, Any]], path: str, errors: FieldErrors
) -> None:
    controller = ""
    for reference in references:
        api_version = reference.get("apiVersion", "")
        if not api_version.rpartition("/")[2]:
            errors.invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not reference.get(name):
                errors.invalid(f"{path}.{name}", "", "must not be empty")
        if (api_version, reference.get("kind")) == ("v1", "Event"):
            errors.invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")
        if reference.get("controller"):
            current = f"{reference.get('kind')}/{reference.get('name')}"
            if controller:
                errors.invalid(
                    path,
                    list(references),
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {current}",
                )
            else:
                controller = current


def validate_finalizers(finalizers: Sequence[str], path: str, errors: FieldErrors) -> None:
    for finalizer in finalizers:
        errors.invalids(path, finalizer, formats.qualified_name(finalizer))
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        errors.invalid(path, list(finalizers), f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")


def _validate_common(metadata: Mapping[str, Any], errors: FieldErrors) -> None:
    validate_labels(metadata.get("labels", {}), "metadata.labels", errors)
    validate_annotations(metadata.get("annotations", {}), "metadata.annotations", errors)
    validate_owner_references(metadata.get("ownerReferences", ()), "metadata.ownerReferences", errors)


def validate_metadata(
    metadata: Mapping[str, Any], namespaced: bool, check: NameCheck, errors: FieldErrors
) -> None:
    """Metadata of an object about to be created; its name has been generated already."""
    prefix = metadata.get("generateName", "")
    if prefix:  # whatever follows the prefix is valid, so a trailing dash is
        masked = prefix[:-1] + "a" if prefix.endswith("-") and len(prefix) > 1 else prefix
        errors.invalids("metadata.generateName", prefix, check(masked))
    name = metadata.get("name", "")
    if not name:
        errors.required("metadata.name", "name or generateName is required")
    else:
        errors.invalids("metadata.name", name, check(name))
    namespace = metadata.get("namespace", "")
    if namespaced:
        if not namespace:
            errors.required("metadata.namespace")
        else:
            errors.invalids("metadata.namespace", namespace, formats.dns_label(namespace))
    elif namespace:
        errors.forbidden("metadata.namespace", "not allowed on this type")
    _validate_common(metadata, errors)
    validate_finalizers(metadata.get("finalizers", ()), "metadata.finalizers", errors)


def validate_metadata_update(new: Mapping[str, Any], old: Mapping[str, Any], errors: FieldErrors) -> None:
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers", ())) - set(old.get("finalizers", ())))
        if extra:
            listed = ", ".join(f'"{name}"' for name in extra)
            errors.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}",
            )
    for name in ("name", "namespace", "uid"):
        errors.immutable(f"metadata.{name}", new.get(name, ""), old.get(name, ""))
    for name in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        errors.immutable(f"metadata.{name}", new.get(name), old.get(name))
    _validate_common(new, errors)


def validate_label_selector(selector: Mapping[str, Any] | None, path: str, errors: FieldErrors) -> None:
    if selector is None:
        return
    validate_labels(selector.get("matchLabels", {}), f"{path}.matchLabels", errors)
    for i, term in enumerate(selector.get("matchExpressions", ())):
        where = f"{path}.matchExpressions[{i}]"
        operator, values = term.get("operator", ""), term.get("values", ())
        if operator in ("In", "NotIn"):
            if not values:
                errors.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.forbidden(
                    f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            errors.invalid(f"{where}.operator", operator, "not a valid selector operator")
        key = term.get("key", "")
        errors.invalids(f"{where}.key", key, formats.qualified_name(key))
        for j, value in enumerate(values):
            errors.invalids(f"{where}.values[{j}]", value, formats.label_value(value))
