"""Namespaces: their end, and what each has from the start (a ServiceAccount, the cluster's CA).

A namespace that is being deleted stays, Terminating, until everything in it is gone; objects with finalizers
hold it up, and its conditions say so.
"""

from __future__ import annotations

import copy
from typing import Any

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.kinds.namespaces import FINALIZER
from lab.api.reactor import Reactor

ROOT_CA = "kube-root-ca.crt"


def namespace_active(registry: Registry, name: str) -> bool:
    """Whether there is such a namespace, and it is not being deleted."""
    namespace = registry.get("namespaces", "", name)
    return namespace is not None and not namespace["metadata"].get("deletionTimestamp")


class NamespaceController:
    def __init__(self, registry: Registry, reactor: Reactor, root_ca: str) -> None:
        self._registry = registry
        self._reactor = reactor
        self._root_ca = root_ca
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == "namespaces":
            if new is not None:
                self._soon(new["metadata"]["name"])
            return
        if new is None and old is not None and kind.namespaced:
            namespace = old["metadata"].get("namespace", "")
            own = kind.resource in ("serviceaccounts", "configmaps")
            if own or not namespace_active(self._registry, namespace):
                self._soon(namespace)

    def _soon(self, name: str) -> None:
        self._reactor.soon(("namespace", name), lambda: self._sync(name))

    def _sync(self, name: str) -> None:
        namespace = self._registry.get("namespaces", "", name)
        if namespace is None:
            return
        if not namespace["metadata"].get("deletionTimestamp"):
            self._furnish(name)
        elif FINALIZER in namespace["spec"].get("finalizers", ()):
            self._empty(name)

    def _furnish(self, name: str) -> None:
        registry = self._registry
        if registry.get("serviceaccounts", name, "default") is None:
            account: Object = {"metadata": {"name": "default", "namespace": name}}
            registry.create(registry.kinds["serviceaccounts"], account)
        if registry.get("configmaps", name, ROOT_CA) is None:
            words = "The CA of this cluster's API: pods check with it whom they talk to."
            metadata = {
                "name": ROOT_CA,
                "namespace": name,
                "annotations": {"kubernetes.io/description": words},
            }
            registry.create(
                registry.kinds["configmaps"], {"metadata": metadata, "data": {"ca.crt": self._root_ca}}
            )

    def _empty(self, name: str) -> None:
        """Deletes the contents; when nothing is left, the namespace itself."""
        registry = self._registry
        remaining: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        for kind in list(registry.kinds.values()):
            if not kind.namespaced:
                continue
            for obj in list(registry.items(kind.resource, name)):
                gone = False
                if not obj["metadata"].get("deletionTimestamp"):
                    try:
                        _, gone = registry.delete(kind, name, obj["metadata"]["name"])
                    except StatusError as error:
                        gone = error.code == 404
                if not gone:
                    remaining[kind.resource] = remaining.get(kind.resource, 0) + 1
                    for finalizer in obj["metadata"].get("finalizers", ()):
                        finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        if remaining:
            self._report(name, remaining, finalizers)
        else:
            self._finalize(name)

    def _report(self, name: str, remaining: dict[str, int], finalizers: dict[str, int]) -> None:
        def conditions(obj: Object, _version: int) -> Object:
            texts = ", ".join(
                f"{resource} has {count} resource instances" for resource, count in sorted(remaining.items())
            )
            held = ", ".join(
                f"{finalizer} in {count} resource instances"
                for finalizer, count in sorted(finalizers.items())
            )
            wanted = [
                _condition(
                    "NamespaceContentRemaining",
                    True,
                    "SomeResourcesRemain",
                    f"Some resources are remaining: {texts}",
                ),
                _condition(
                    "NamespaceFinalizersRemaining",
                    bool(held),
                    "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
                    f"Some content in the namespace has finalizers remaining: {held}"
                    if held
                    else "All content-preserving finalizers finished",
                ),
            ]
            before = {c["type"]: c for c in obj["status"].get("conditions", ())}
            for condition in wanted:
                previous = before.get(condition["type"])
                if previous is not None and previous["status"] == condition["status"]:
                    condition["lastTransitionTime"] = previous["lastTransitionTime"]
            obj["status"]["conditions"] = wanted
            return obj

        kind = self._registry.kinds["namespaces"]
        self._registry.update(kind, "", name, conditions, subresource="status", unconditional=True)

    def _finalize(self, name: str) -> None:
        def without(obj: Object, _version: int) -> Object:
            obj = copy.copy(obj)
            obj["spec"] = {"finalizers": [f for f in obj["spec"].get("finalizers", ()) if f != FINALIZER]}
            if not obj["spec"]["finalizers"]:
                obj["spec"] = {}
            return obj

        self._registry.update(
            self._registry.kinds["namespaces"], "", name, without, subresource="finalize", unconditional=True
        )


def _condition(kind: str, state: bool, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True" if state else "False",
        "lastTransitionTime": clock.stamp(),
        "reason": reason,
        "message": message,
    }
