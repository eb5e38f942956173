"""Kubernetes objects for tests, short to write."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def node(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}


def pod(namespace: str, name: str, node: str = "", ip: str = "", **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            **({"nodeName": node} if node else {}),
            "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}],
        },
        **({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}} if ip else {}),
    }


def policy(namespace: str, name: str, selector: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector or {}, "policyTypes": ["Ingress"], **spec},
    }


def allow_from(**labels: str) -> Object:
    """An ingress rule that lets Pods of the same namespace with these labels in."""
    return {"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"protocol": "TCP", "port": 80}]}
