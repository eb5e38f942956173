"""Short ways to write the manifests of the tests."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def pod(
    name: str,
    labels: dict[str, str] | None = None,
    *,
    namespace: str = "nsA",
    node: str = "nodeA",
    ips: tuple[str, ...] = ("1.2.3.4",),
    ports: tuple[tuple[int, str | None, str], ...] = (),
    host_network: bool = False,
    phase: str = "Running",
) -> Manifest:
    """``ports``: (number, name or None, protocol)."""
    container_ports = [
        {"containerPort": number, "protocol": protocol, **({"name": port_name} if port_name else {})}
        for number, port_name, protocol in ports
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "nodeName": node,
            "hostNetwork": host_network,
            "containers": [{"name": "c", "ports": container_ports}],
        },
        "status": {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]},
    }


def namespace(name: str, labels: dict[str, str] | None = None, logging: str | None = None) -> Manifest:
    metadata: Manifest = {"name": name, "labels": labels or {}}
    if logging is not None:
        metadata["annotations"] = {"networkpolicy.antrea.io/enable-logging": logging}
    return {"kind": "Namespace", "metadata": metadata}


def policy(
    name: str = "p",
    *,
    namespace: str = "nsA",
    uid: str = "",
    applied: dict[str, str] | None = None,
    types: list[str] | None = None,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
    generation: int = 1,
) -> Manifest:
    spec: Manifest = {"podSelector": {"matchLabels": applied} if applied else {}}
    for key, value in (("policyTypes", types), ("ingress", ingress), ("egress", egress)):
        if value is not None:
            spec[key] = value
    return {
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "generation": generation,
        },
        "spec": spec,
    }


def pods(**labels: str) -> Manifest:
    """A peer by podSelector; without labels every pod of the policy's namespace."""
    return {"podSelector": {"matchLabels": labels} if labels else {}}


def namespaces(**labels: str) -> Manifest:
    """A peer by namespaceSelector."""
    return {"namespaceSelector": {"matchLabels": labels} if labels else {}}
