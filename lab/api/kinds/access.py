"""rbac.authorization.k8s.io/v1: Roles, ClusterRoles and their bindings."""

from __future__ import annotations

import datetime
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.documents.metadata import validate_label_selector
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age

GROUP = "rbac.authorization.k8s.io"


class _Rbac(BuiltIn):
    group, version = GROUP, "v1"

    def check_name(self, name: str) -> list[str]:
        return formats.path_segment(name)


def _validate_rules(rules: Any, namespaced: bool, errors: FieldErrors) -> None:
    for i, rule in enumerate(rules):
        path = f"rules[{i}]"
        if not rule.get("verbs"):
            errors.required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                errors.invalid(
                    f"{path}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "namespaced rules cannot apply to non-resource URLs",
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                errors.invalid(
                    f"{path}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            errors.required(f"{path}.resources", "resource rules must supply at least one resource")


class Roles(_Rbac):
    kind, plural, singular, namespaced = "Role", "roles", "role", True
    type_name = "rbac.Role"
    table = (NAME, Heading("Created At", type="date"))

    def default(self, obj: Object) -> None:
        obj.setdefault("rules", None)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        _validate_rules(obj.get("rules") or (), self.namespaced, errors)
        for i, selector in enumerate(obj.get("aggregationRule", {}).get("clusterRoleSelectors", ())):
            validate_label_selector(selector, f"aggregationRule.clusterRoleSelectors[{i}]", errors)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


class ClusterRoles(Roles):
    kind, plural, singular, namespaced = "ClusterRole", "clusterroles", "clusterrole", False
    type_name = "rbac.ClusterRole"


class RoleBindings(_Rbac):
    kind, plural, singular, namespaced = "RoleBinding", "rolebindings", "rolebinding", True
    type_name = "rbac.RoleBinding"
    table = (
        NAME,
        Heading("Role"),
        AGE,
        Heading("Users", priority=1),
        Heading("Groups", priority=1),
        Heading("ServiceAccounts", priority=1),
    )

    def default(self, obj: Object) -> None:
        reference = obj.get("roleRef")
        if reference is not None and not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in obj.get("subjects", ()):
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        reference = obj.get("roleRef", {})
        if reference.get("apiGroup") != GROUP:
            errors.not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (GROUP,))
        kinds = ("Role", "ClusterRole") if self.namespaced else ("ClusterRole",)
        if reference.get("kind") not in kinds:
            errors.not_supported("roleRef.kind", reference.get("kind", ""), kinds)
        if not reference.get("name"):
            errors.required("roleRef.name")
        for i, subject in enumerate(obj.get("subjects", ())):
            path = f"subjects[{i}]"
            if not subject.get("name"):
                errors.required(f"{path}.name")
            kind = subject.get("kind", "")
            if kind not in ("ServiceAccount", "User", "Group"):
                errors.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))
            if kind == "ServiceAccount":
                if subject.get("apiGroup"):
                    errors.not_supported(f"{path}.apiGroup", subject["apiGroup"], ("",))
                if not self.namespaced and not subject.get("namespace"):
                    errors.required(f"{path}.namespace")

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        errors.immutable("roleRef", new.get("roleRef"), old.get("roleRef"), "cannot change roleRef")
        self.validate(new, errors)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        reference, subjects = obj.get("roleRef", {}), obj.get("subjects", ())

        def named(kind: str) -> str:
            return ", ".join(s.get("name", "") for s in subjects if s.get("kind") == kind)

        accounts = ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}"
            for s in subjects
            if s.get("kind") == "ServiceAccount"
        )
        role = f"{reference.get('kind')}/{reference.get('name')}"
        return [obj["metadata"]["name"], role, age(obj, now), named("User"), named("Group"), accounts]


class ClusterRoleBindings(RoleBindings):
    kind, plural, singular, namespaced = (
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
        False,
    )
    type_name = "rbac.ClusterRoleBinding"
