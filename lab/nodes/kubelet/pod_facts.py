"""What the kubelet stand-in reads out of a Pod: plain functions over its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Pod = dict[str, Any]
DEFAULT_GRACE = 30
TERMINAL = ("Succeeded", "Failed")


def key(pod: Pod) -> str:
    return f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"


def containers(pod: Pod) -> list[dict[str, Any]]:
    """Those that run side by side: the containers, and init containers that restart always (sidecars)."""
    spec = pod.get("spec") or {}
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    return [*sidecars, *(spec.get("containers") or [])]


def declared_ports(pod: Pod) -> list[tuple[str, int]]:
    """("TCP", 80) and so on, of all containers; nothing declared: an empty list."""
    return [
        (port.get("protocol") or "TCP", int(port["containerPort"]))
        for container in containers(pod)
        for port in container.get("ports") or []
        if port.get("containerPort")
    ]


def host_network(pod: Pod) -> bool:
    return bool((pod.get("spec") or {}).get("hostNetwork"))


def restart_policy(pod: Pod) -> str:
    return str((pod.get("spec") or {}).get("restartPolicy") or "Always")


def terminating(pod: Pod) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def grace_seconds(pod: Pod) -> float:
    """How long a pod that is being deleted has."""
    value = pod["metadata"].get("deletionGracePeriodSeconds")
    if value is None:
        value = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    return float(DEFAULT_GRACE if value is None else value)


def terminal(pod: Pod) -> bool:
    """Whether the pod has ended for good (its phase says so)."""
    return (pod.get("status") or {}).get("phase") in TERMINAL


def probe_port(container: dict[str, Any], port: int | str) -> int | None:
    """A probe's port, by number or by the name that the container declares."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    return None


def readiness_probes(pod: Pod) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(container name, container, probe) of every container that has a readiness probe."""
    for container in containers(pod):
        if probe := container.get("readinessProbe"):
            yield container["name"], container, probe
