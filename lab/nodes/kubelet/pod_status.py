"""A pod's status from what is known of its sandbox and its responder. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lab.nodes.kubelet.pod_facts import Pod, containers
from lab.nodes.kubelet.sandbox import Sandbox


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build(
    pod: Pod,
    sandbox: Sandbox | None,
    *,
    running: bool,
    ready: Mapping[str, bool],
    host_ips: list[str],
    phase: str,
    waiting_reason: str,
    now: float,
) -> dict[str, Any]:
    """The whole status. ``ready`` is per container name, and counts only while the responder runs."""
    old = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    all_ready = running and all(ready.get(c["name"], True) for c in containers(pod))
    networked = sandbox is not None and bool(sandbox.ips)
    ended = phase in ("Succeeded", "Failed")
    facts = {
        "PodScheduled": (True, ""),
        "PodReadyToStartContainers": (networked and not ended, ""),
        "Initialized": (networked or ended, ""),
        "ContainersReady": (all_ready, "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"),
        "Ready": (all_ready, "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"),
    }
    conditions = []
    for kind, (value, reason) in facts.items():
        text = "True" if value else "False"
        previous = old.get(kind)
        unchanged = previous is not None and previous.get("status") == text
        condition = {
            "type": kind,
            "status": text,
            "lastTransitionTime": previous["lastTransitionTime"]
            if unchanged and previous and previous.get("lastTransitionTime")
            else timestamp(now),
        }
        if reason and not value:
            condition["reason"] = reason
        conditions.append(condition)
    # Conditions of others (readiness gates) stay.
    conditions += [condition for kind, condition in old.items() if kind not in facts]

    status: dict[str, Any] = {
        "phase": phase,
        "conditions": conditions,
        "hostIP": host_ips[0] if host_ips else None,
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "startTime": timestamp(sandbox.created if sandbox else now),
        "qosClass": "BestEffort",
        "containerStatuses": [
            _container(container, sandbox, running, ready, phase, waiting_reason)
            for container in (pod.get("spec") or {}).get("containers") or []
        ],
    }
    initial = (pod.get("spec") or {}).get("initContainers") or []
    if initial:
        status["initContainerStatuses"] = [
            _container(c, sandbox, running, ready, phase, waiting_reason)
            if c.get("restartPolicy") == "Always"
            else _completed(c, sandbox)
            for c in initial
        ]
    if networked and sandbox is not None:
        status["podIP"] = sandbox.ips[0]
        status["podIPs"] = [{"ip": ip} for ip in sandbox.ips]
    return status


def _container(
    container: dict[str, Any],
    sandbox: Sandbox | None,
    running: bool,
    ready: Mapping[str, bool],
    phase: str,
    waiting_reason: str,
) -> dict[str, Any]:
    name, image = container["name"], container.get("image", "")
    state: dict[str, Any]
    if running and sandbox:
        state = {"running": {"startedAt": timestamp(sandbox.started)}}
    elif phase in ("Succeeded", "Failed") and sandbox:
        state = {"terminated": _terminated(sandbox)}
    else:
        state = {"waiting": {"reason": waiting_reason or "ContainerCreating"}}
    status = {
        "name": name,
        "image": image,
        "imageID": "",
        "ready": running and ready.get(name, True),
        "started": running,
        "restartCount": sandbox.restarts if sandbox else 0,
        "state": state,
        "lastState": {},
    }
    if sandbox and sandbox.started:
        status["containerID"] = f"lab://{sandbox.container_id}"
    if sandbox and sandbox.restarts and sandbox.last_exit is not None and "terminated" not in state:
        status["lastState"] = {"terminated": _terminated(sandbox)}
    return status


def _terminated(sandbox: Sandbox) -> dict[str, Any]:
    code = sandbox.last_exit or 0
    # As a container runtime reports a signal: 128 plus its number.
    return {
        "exitCode": 128 - code if code < 0 else code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": timestamp(sandbox.started),
        "finishedAt": timestamp(sandbox.started),
        "containerID": f"lab://{sandbox.container_id}",
    }


def _completed(container: dict[str, Any], sandbox: Sandbox | None) -> dict[str, Any]:
    state: dict[str, Any] = (
        {"terminated": {**_terminated(sandbox), "exitCode": 0, "reason": "Completed"}}
        if sandbox
        else {"waiting": {"reason": "PodInitializing"}}
    )
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": sandbox is not None,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }
