"""An APIService for every group version that is served here, as kube-apiserver registers them."""

from __future__ import annotations

from apiserver.documents.registry import Registry
from apiserver.server import ApiServer
from lab.api.aggregation.availability import AUTOMANAGED, RESOURCE
from lab.api.reactor import Reactor

_BUILT_IN_PRIORITY = {"": (18000, 1)}


class LocalServices:
    def __init__(self, registry: Registry, reactor: Reactor, server: ApiServer) -> None:
        self._registry = registry
        self._reactor = reactor
        self._server = server
        self._builtin = set(server.registry.group_versions())
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
        }
        for name, (group, version) in present.items():
            if registry.get(RESOURCE, "", name) is not None:
                continue
            builtin = (group, version) in self._builtin
            low, priority = _BUILT_IN_PRIORITY.get(group, (17000, 15) if builtin else (1000, 100))
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
