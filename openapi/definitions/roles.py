"""ClusterRoles that give the cluster's own admin, edit and view access to what users of Antrea write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openapi.definitions.resource import GROUP

READ = ("get", "list", "watch")
WRITE = (*READ, "create", "update", "patch", "delete")
AGGREGATED = {
    "aggregate-antrea-policies": ("clusternetworkpolicies", "networkpolicies"),
    "aggregate-traceflows": ("traceflows",),
    "aggregate-antrea-clustergroups": ("clustergroups",),
}


def roles() -> Iterator[dict[str, Any]]:
    for name, resources in AGGREGATED.items():
        yield _role(f"{name}-edit", resources, WRITE, "admin", "edit")
        yield _role(f"{name}-view", resources, READ, "view")


def _role(name: str, resources: tuple[str, ...], verbs: tuple[str, ...], *into: str) -> dict[str, Any]:
    labels = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in into}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"app": "antrea", **labels}},
        "rules": [{"apiGroups": [GROUP], "resources": list(resources), "verbs": list(verbs)}],
    }
