"""The roles and bindings that a cluster starts with, as far as the kinds served here need them."""

from __future__ import annotations

from typing import Any

from lab.api.kinds.access import GROUP

Object = dict[str, Any]
_LABEL = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def _rule(verbs: list[str], group: str, *resources: str) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs}


def _urls(*paths: str) -> Object:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


_VIEW = [
    _rule(_READ, "", "configmaps", "endpoints", "pods", "serviceaccounts", "services", "services/status"),
    _rule(_READ, "", "bindings", "events", "namespaces/status", "pods/log", "pods/status", "namespaces"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(
        _READ, "apps", "daemonsets", "daemonsets/status", "deployments", "deployments/status", "replicasets"
    ),
    _rule(_READ, "networking.k8s.io", "networkpolicies"),
]
_EDIT = [
    _rule(
        _READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"
    ),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(_WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
    _rule(["create"], "", "pods/eviction"),
    _rule(_WRITE, "", "configmaps", "events", "secrets", "serviceaccounts", "services", "services/proxy"),
    _rule(["create"], "", "serviceaccounts/token"),
    _rule(_WRITE, "apps", "daemonsets", "deployments", "replicasets"),
    _rule(_WRITE, "networking.k8s.io", "networkpolicies"),
    _rule([*_READ, *_WRITE], "coordination.k8s.io", "leases"),
]
_ADMIN = [
    _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule([*_READ, *_WRITE], GROUP, "roles", "rolebindings"),
]
_NODE = [
    _rule(["create"], "authentication.k8s.io", "tokenreviews"),
    _rule(["create"], "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
    _rule(_READ, "", "services"),
    _rule(["create", *_READ], "", "nodes"),
    _rule(["patch", "update"], "", "nodes/status", "nodes"),
    _rule(["create", "patch", "update"], "", "events"),
    _rule(_READ, "", "pods"),
    _rule(["create", "delete"], "", "pods"),
    _rule(["patch", "update"], "", "pods/status"),
    _rule(["create"], "", "pods/eviction"),
    _rule(_READ, "", "secrets", "configmaps"),
    _rule(["create"], "", "serviceaccounts/token"),
    _rule(["create", "delete", "get", "patch", "update"], "coordination.k8s.io", "leases"),
]
_DISCOVERY = [
    _urls(
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    )
]
_PUBLIC = [_urls("/healthz", "/livez", "/readyz", "/version", "/version/")]
_SELF = [
    _rule(["create"], "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    _rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
]
_DELEGATOR = [
    _rule(["create"], "authentication.k8s.io", "tokenreviews"),
    _rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
]


def _cluster_role(name: str, rules: list[Object], labels: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {**_LABEL, **(labels or {})}},
        "rules": rules,
    }


def _aggregated(name: str, to: str | None = None) -> Object:
    labels = {_AGGREGATE + to: "true"} if to else None
    role = _cluster_role(name, [], labels)
    role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {_AGGREGATE + name: "true"}}]}
    return role


def _binding(name: str, role: str, *subjects: tuple[str, str]) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": dict(_LABEL)},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": kind, "name": subject} for kind, subject in subjects],
    }


def objects() -> list[Object]:
    """Every bootstrap role and binding, roles first."""
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    reader: Object = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Role",
        "metadata": {
            "name": "extension-apiserver-authentication-reader",
            "namespace": "kube-system",
            "labels": dict(_LABEL),
        },
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": ["extension-apiserver-authentication"],
                "verbs": _READ,
            }
        ],
    }
    authenticated, anonymous = ("Group", "system:authenticated"), ("Group", "system:unauthenticated")
    return [
        _cluster_role("cluster-admin", everything),
        _aggregated("admin"),
        _aggregated("edit", "admin"),
        _aggregated("view", "edit"),
        _cluster_role("system:aggregate-to-admin", _ADMIN, {_AGGREGATE + "admin": "true"}),
        _cluster_role("system:aggregate-to-edit", _EDIT, {_AGGREGATE + "edit": "true"}),
        _cluster_role("system:aggregate-to-view", _VIEW, {_AGGREGATE + "view": "true"}),
        _cluster_role("system:discovery", _DISCOVERY),
        _cluster_role("system:basic-user", _SELF),
        _cluster_role("system:public-info-viewer", _PUBLIC),
        _cluster_role("system:auth-delegator", _DELEGATOR),
        _cluster_role("system:node", _NODE),
        _cluster_role(
            "system:monitoring",
            [_urls("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/readyz", "/readyz/*")],
        ),
        _binding("cluster-admin", "cluster-admin", ("Group", "system:masters")),
        _binding("system:discovery", "system:discovery", authenticated),
        _binding("system:basic-user", "system:basic-user", authenticated),
        _binding("system:public-info-viewer", "system:public-info-viewer", authenticated, anonymous),
        _binding("system:node", "system:node", ("Group", "system:nodes")),
        _binding("system:monitoring", "system:monitoring", ("Group", "system:monitoring")),
        reader,
    ]
