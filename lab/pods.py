"""Pods as the demo, the tests and the benchmarks need them: short to write, complete for Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
IMAGE = "antrea-lab/responder"  # nothing is pulled: every pod of the lab runs the responder


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def pod(
    key: str,
    labels: Mapping[str, str] | None = None,
    ports: Sequence[tuple[str, int] | tuple[str, int, str]] = (("TCP", 80),),
    node: str | None = None,
    grace: int = 0,
    **spec: Any,
) -> Document:
    """A Pod "namespace/name" that answers on the ports (protocol, number[, name]); ``node`` binds it there.

    ``spec`` adds fields such as hostNetwork=True."""
    space, _, name = key.rpartition("/")
    declared = [
        {"protocol": port[0], "containerPort": port[1], **({"name": port[2]} if len(port) > 2 else {})}
        for port in ports
    ]
    container: Document = {"name": "responder", "image": IMAGE, "ports": declared}
    body: Document = {"containers": [container], "terminationGracePeriodSeconds": grace, **spec}
    if node:
        body["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space or "default", "labels": dict(labels or {})},
        "spec": body,
    }
