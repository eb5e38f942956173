"""Which admission hooks there are, and which of them a write concerns (Kubernetes 1.34,
admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from apis.labels import LabelSelector, Selector, SelectorError, from_label_selector
from apiserver.documents.kind import Kind
from apiserver.documents.operation import Operation
from apiserver.documents.registry import Registry
from apiserver.resources import Object

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"


class Hook(NamedTuple):
    """One webhook of a configuration."""

    configuration: str
    spec: Object
    namespaces: Selector | None  # None: nothing matches
    objects: Selector | None

    @property
    def name(self) -> str:
        return str(self.spec.get("name", ""))


class Concern(NamedTuple):
    """A hook that a write concerns, and the version in which it wants the objects."""

    hook: Hook
    version: str


def _selector(raw: Any) -> Selector | None:
    try:
        return from_label_selector(msgspec.convert(raw or {}, LabelSelector)) or Selector()
    except (SelectorError, msgspec.ValidationError):
        return None


class Configurations:
    """The hooks of all configurations: by the name of the configuration, then in its order."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._hooks: dict[str, list[Hook]] = {}
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        self._hooks.pop(kind.resource, None)

    def _all(self, resource: str) -> list[Hook]:
        hooks = self._hooks.get(resource)
        if hooks is None:
            found = sorted(self._registry.items(resource), key=lambda obj: str(obj["metadata"]["name"]))
            hooks = self._hooks[resource] = [
                Hook(
                    configuration["metadata"]["name"],
                    hook,
                    _selector(hook.get("namespaceSelector")),
                    _selector(hook.get("objectSelector")),
                )
                for configuration in found
                for hook in configuration.get("webhooks", ())
            ]
        return hooks

    def concerned(self, resource: str, kind: Kind, operation: Operation) -> list[Concern]:
        """The hooks of one resource, MUTATING or VALIDATING, that the write concerns, in order."""
        if kind.resource in (MUTATING, VALIDATING):
            return []  # nobody locks himself out
        found = []
        for hook in self._all(resource):
            version = self._wanted_version(hook, kind, operation)
            if version and self._selected(hook, kind, operation):
                found.append(Concern(hook, version))
        return found

    def _wanted_version(self, hook: Hook, kind: Kind, operation: Operation) -> str:
        """The request's own version if a rule names it; else, for Equivalent, one that a rule does name."""
        versions = [kind.version]
        if hook.spec.get("matchPolicy", "Equivalent") == "Equivalent":
            versions += [version for version in self._served(kind) if version != kind.version]
        for version in versions:
            if any(_fits(rule, kind, version, operation) for rule in hook.spec.get("rules") or ()):
                return version
        return ""

    def _served(self, kind: Kind) -> Iterator[str]:
        if kind.custom:
            name = "customresourcedefinitions.apiextensions.k8s.io"
            definition = self._registry.get(name, "", kind.resource)
            for version in definition["spec"].get("versions", ()) if definition is not None else ():
                if version.get("served"):
                    yield version["name"]

    def _selected(self, hook: Hook, kind: Kind, operation: Operation) -> bool:
        if hook.namespaces is None or hook.objects is None:
            return False
        objects = [obj for obj in (operation.new, operation.old) if obj is not None]
        if not hook.objects.is_everything and not any(hook.objects.matches(_labels(obj)) for obj in objects):
            return False
        if hook.namespaces.is_everything:
            return True
        if kind.resource == "namespaces":
            return bool(objects) and hook.namespaces.matches(_labels(objects[0]))
        if not kind.namespaced:
            return True
        namespace = self._registry.get("namespaces", "", operation.namespace)
        return namespace is not None and hook.namespaces.matches(_labels(namespace))


def _labels(obj: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels


def _fits(rule: Object, kind: Kind, version: str, operation: Operation) -> bool:
    def named(key: str, value: str) -> bool:
        values = rule.get(key) or ()
        return "*" in values or value in values

    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") != kind.namespaced:
        return False
    if not named("operations", operation.verb.upper()):
        return False
    if not named("apiGroups", kind.group) or not named("apiVersions", version):
        return False
    return any(_covers(text, kind.plural, operation.subresource) for text in rule.get("resources") or ())


def _covers(text: str, plural: str, subresource: str) -> bool:
    resource, _, sub = text.partition("/")
    return resource in ("*", plural) and (sub == subresource or sub == "*")
