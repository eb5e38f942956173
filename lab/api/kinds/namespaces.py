"""v1 Namespace: the name label, the kubernetes finalizer in its spec, the /finalize subresource."""

from __future__ import annotations

import datetime
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


class Namespaces(BuiltIn):
    group, version, kind = "", "v1", "Namespace"
    plural, singular, namespaced = "namespaces", "namespace", False
    short_names = ("ns",)
    verbs = ("create", "delete", "get", "list", "patch", "update", "watch")
    type_name = "core.Namespace"
    has_status = True
    table = (NAME, Heading("Status"), AGE)

    def check_name(self, name: str) -> list[str]:
        return formats.dns_label(name)

    def default(self, obj: Object) -> None:
        name = obj["metadata"].get("name")
        if name:
            obj["metadata"].setdefault("labels", {})[NAME_LABEL] = name

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}
        spec = obj.setdefault("spec", {})
        if FINALIZER not in spec.get("finalizers", ()):
            spec["finalizers"] = [*spec.get("finalizers", ()), FINALIZER]

    def prepare_update(self, new: Object, old: Object) -> None:
        new["spec"], new["status"] = old["spec"], old["status"]

    def may_vanish(self, obj: Object) -> bool:
        return not obj.get("spec", {}).get("finalizers")

    def mark_deleted(self, obj: Object) -> None:
        obj["metadata"].pop("deletionGracePeriodSeconds", None)
        obj.setdefault("status", {})["phase"] = "Terminating"

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        for finalizer in obj.get("spec", {}).get("finalizers", ()):
            problems = formats.qualified_name(finalizer)
            errors.invalids("spec.finalizers", finalizer, problems)
            if (
                not problems
                and "/" not in finalizer
                and finalizer not in (FINALIZER, "orphan", "foregroundDeletion")
            ):
                errors.invalid(
                    "spec.finalizers",
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                )

    def validate_status(self, new: Object, old: Object, errors: FieldErrors) -> None:
        phase = new.get("status", {}).get("phase")
        deleting = bool(new["metadata"].get("deletionTimestamp"))
        if not deleting and phase != "Active":
            errors.invalid(
                "status.Phase", phase or "", "may only be 'Active' if `deletionTimestamp` is empty"
            )
        if deleting and phase != "Terminating":
            errors.invalid(
                "status.Phase", phase or "", "may only be 'Terminating' if `deletionTimestamp` is not empty"
            )

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.phase": obj.get("status", {}).get("phase", "")}

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("status", {}).get("phase", ""), age(obj, now)]
