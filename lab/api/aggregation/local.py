"""An APIService for every group version that is served here, as kube-apiserver registers them."""

from __future__ import annotations

from apiserver.documents.registry import Registry
from apiserver.server import ApiServer
from lab.api.aggregation.availability import AUTOMANAGED, OWN_GROUP, RESOURCE
from lab.api.reactor import Reactor

# groupPriorityMinimum of Kubernetes 1.34. It decides whose "networkpolicies" kubectl means by that word.
_GROUP_PRIORITY = {
    "": 18000,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "networking.k8s.io": 17200,
    "rbac.authorization.k8s.io": 17000,
    "admissionregistration.k8s.io": 16700,
    "apiextensions.k8s.io": 16700,
    "coordination.k8s.io": 16500,
    "discovery.k8s.io": 16200,
}
_CUSTOM = (1000, 100)  # of custom resources: groupPriorityMinimum, versionPriority


class LocalServices:
    def __init__(self, registry: Registry, reactor: Reactor, server: ApiServer) -> None:
        self._registry = registry
        self._reactor = reactor
        self._server = server
        server.registry.on_change.append(self._changed)
        self._sync()

    def _changed(self) -> None:
        self._reactor.soon("local-apiservices", self._sync)

    def _sync(self) -> None:
        registry = self._registry
        kind = registry.kinds[RESOURCE]
        present = {
            f"{version}.{group}": (group, version)
            for group, version in self._server.registry.group_versions()
            if group != OWN_GROUP
        }
        for name, (group, version) in present.items():
            if registry.get(RESOURCE, "", name) is not None:
                continue
            builtin = group in _GROUP_PRIORITY
            low, priority = (_GROUP_PRIORITY[group], 15 if group else 1) if builtin else _CUSTOM
            spec = {"version": version, "groupPriorityMinimum": low, "versionPriority": priority}
            if group:
                spec["group"] = group
            labels = {AUTOMANAGED: "onstart" if builtin else "true"}
            registry.create(kind, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        for api_service in list(registry.items(RESOURCE)):
            name = api_service["metadata"]["name"]
            managed = api_service["metadata"].get("labels", {}).get(AUTOMANAGED) == "true"
            if managed and "service" not in api_service["spec"] and name not in present:
                registry.delete(kind, "", name)
