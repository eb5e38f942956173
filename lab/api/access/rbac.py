"""Evaluates RBAC: Roles and ClusterRoles through their bindings.

The evaluator keeps indexes (bindings by subject, roles by name) that follow the store, so that a decision
costs in proportion to the bindings of the asking user and groups. ClusterRoles with an aggregationRule take
the rules of the roles that they select (Kubernetes' aggregation controller, done here on change).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
MASTERS = "system:masters"
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Who:
    """An authenticated user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants to do: to a resource, or (path set) to a non-resource URL."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def rule_allows(rule: Object, ask: Ask) -> bool:
    """One rule of a role against one request (Kubernetes' RuleAllows)."""
    verbs = rule.get("verbs", ())
    if "*" not in verbs and ask.verb not in verbs:
        return False
    if ask.path:
        return any(_path_matches(pattern, ask.path) for pattern in rule.get("nonResourceURLs", ()))
    groups = rule.get("apiGroups", ())
    if "*" not in groups and ask.group not in groups:
        return False
    resources = rule.get("resources", ())
    full = f"{ask.resource}/{ask.subresource}" if ask.subresource else ask.resource
    if not (
        "*" in resources or full in resources or (ask.subresource and f"*/{ask.subresource}" in resources)
    ):
        return False
    names = rule.get("resourceNames", ())
    return not names or ask.name in names


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


def covers(owned: Sequence[Object], wanted: Object) -> bool:
    """Whether the owned rules together allow everything that the wanted rule does (escalation check)."""
    for verb in wanted.get("verbs", ()):
        for path in wanted.get("nonResourceURLs", ()):
            if not any(
                ("*" in r.get("verbs", ()) or verb in r.get("verbs", ()))
                and any(_path_matches(p, path) for p in r.get("nonResourceURLs", ()))
                for r in owned
            ):
                return False
        for group in wanted.get("apiGroups", ()):
            for resource in wanted.get("resources", ()):
                base, _, sub = resource.partition("/")
                for name in wanted.get("resourceNames", ()) or ("",):
                    ask = Ask(verb, group, base, sub, name=name)
                    if not any(rule_allows(r, ask) for r in owned):
                        return False
    return True


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """A label selector against labels; an empty selector selects everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key"), term.get("values") or ()
        present = key in labels
        match term.get("operator"):
            case "In":
                fits = present and labels[key] in values
            case "NotIn":
                fits = not present or labels[key] not in values
            case "Exists":
                fits = present
            case _:
                fits = not present
        if not fits:
            return False
    return True


class Rbac:
    """Answers for the objects it has been told of; `role_changed` and `binding_changed` keep it current."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], Object] = {}  # (namespace or "", name)
        self._bindings: dict[tuple[str, str], Object] = {}
        self._by_subject: dict[tuple[str, str], set[tuple[str, str]]] = {}  # ("User"|"Group", name)

    def role_changed(self, namespace: str, name: str, role: Object | None) -> None:
        if role is None:
            self._roles.pop((namespace, name), None)
        else:
            self._roles[namespace, name] = role

    def binding_changed(self, namespace: str, name: str, binding: Object | None) -> None:
        key = (namespace, name)
        previous = self._bindings.pop(key, None)
        if previous is not None:
            for subject in self._subjects(previous, namespace):
                self._by_subject[subject].discard(key)
        if binding is not None:
            self._bindings[key] = binding
            for subject in self._subjects(binding, namespace):
                self._by_subject.setdefault(subject, set()).add(key)

    @staticmethod
    def _subjects(binding: Object, namespace: str) -> Iterator[tuple[str, str]]:
        for subject in binding.get("subjects") or ():
            if subject.get("kind") == "ServiceAccount":
                yield (
                    "User",
                    f"{SERVICE_ACCOUNT}{subject.get('namespace') or namespace}:{subject.get('name')}",
                )
            else:
                yield subject.get("kind", ""), subject.get("name", "")

    def rules(self, who: Who, namespace: str = "") -> Iterator[tuple[Object, str]]:
        """The rules that hold for the user in the namespace ("": everywhere), each with its binding."""
        keys: set[tuple[str, str]] = set(self._by_subject.get(("User", who.name), ()))
        for group in who.groups:
            keys |= self._by_subject.get(("Group", group), set())
        for where, name in sorted(keys):
            if where and where != namespace:
                continue
            reference = self._bindings[where, name].get("roleRef", {})
            scope = where if reference.get("kind") == "Role" else ""
            role = self._roles.get((scope, reference.get("name", "")))
            if role is None:
                continue
            kind = "RoleBinding" if where else "ClusterRoleBinding"
            shown = f"{name}/{where}" if where else name
            why = f'{kind} "{shown}" of {reference.get("kind")} "{reference.get("name")}"'
            for rule in role.get("rules") or ():
                yield rule, why

    def allowed(self, who: Who, ask: Ask) -> str | None:
        """The reason why it is allowed, or None."""
        if MASTERS in who.groups:
            return "the user is in system:masters"
        for rule, why in self.rules(who, ask.namespace):
            if rule_allows(rule, ask):
                subject = _subject_text(who, why)
                return f"RBAC: allowed by {why}{subject}"
        return None


def _subject_text(who: Who, why: str) -> str:
    return f' to User "{who.name}"' if why else ""


def denial(who: Who, ask: Ask) -> str:
    """The sentence of a 403, as kube-apiserver words it."""
    if ask.path:
        return f'User "{who.name}" cannot {ask.verb} path "{ask.path}"'
    resource = f"{ask.resource}/{ask.subresource}" if ask.subresource else ask.resource
    where = f'in the namespace "{ask.namespace}"' if ask.namespace else "at the cluster scope"
    return f'User "{who.name}" cannot {ask.verb} resource "{resource}" in API group "{ask.group}" {where}'
