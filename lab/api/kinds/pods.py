"""v1 Pod: defaults, what may change once it exists, status, and the row that `kubectl get pods` shows."""

from __future__ import annotations

import copy
import datetime
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.errors import shown
from apiserver.resources import Object
from lab.api.kinds import podspec
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age, since

_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class Pods(BuiltIn):
    group, version, kind = "", "v1", "Pod"
    plural, singular, namespaced = "pods", "pod", True
    short_names, categories = ("po",), ("all",)
    type_name = "core.Pod"
    has_status = True
    tracks_generation = True
    returns_deleted = True
    table = (
        NAME,
        Heading("Ready"),
        Heading("Status"),
        Heading("Restarts"),
        AGE,
        Heading("IP", priority=1),
        Heading("Node", priority=1),
        Heading("Nominated Node", priority=1),
        Heading("Readiness Gates", priority=1),
    )

    def default(self, obj: Object) -> None:
        podspec.default(obj.setdefault("spec", {}))

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": _qos(obj["spec"])}

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        podspec.validate(obj["spec"], "spec", errors)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        old_images = old["spec"].get("containers", [])
        if len(new["spec"].get("containers", [])) != len(old_images):
            errors.forbidden("spec.containers", "pod updates may not add or remove containers")
            return
        podspec.validate(new["spec"], "spec", errors)
        masked = copy.deepcopy(new["spec"])
        was = old["spec"]
        for name in ("containers", "initContainers"):
            for container, before in zip(masked.get(name, []), was.get(name, []), strict=False):
                for key in ("image", "imagePullPolicy"):
                    if key in before:
                        container[key] = before[key]
        for key in ("activeDeadlineSeconds", "schedulingGates"):
            _carry(masked, was, key)
        kept = was.get("tolerations", [])
        if all(toleration in masked.get("tolerations", []) for toleration in kept):
            _carry(masked, was, "tolerations")
        if masked != was:
            changed = sorted(k for k in masked.keys() | was.keys() if masked.get(k) != was.get(k))
            diff = "".join(f"\n-{shown({k: was.get(k)})}\n+{shown({k: masked.get(k)})}" for k in changed)
            errors.forbidden("spec", f"{_MUTABLE}{diff}")

    def grace_seconds(self, obj: Object, requested: int | None) -> int:
        """Only pods that a node has taken are deleted gracefully: their kubelet confirms with grace 0."""
        spec, status = obj.get("spec", {}), obj.get("status", {})
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        grace = spec.get("terminationGracePeriodSeconds", 30) if requested is None else requested
        return 1 if grace < 0 else int(grace)

    def fields(self, obj: Object) -> dict[str, str]:
        spec, status = obj.get("spec", {}), obj.get("status", {})
        return {
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.restartPolicy": spec.get("restartPolicy", ""),
            "spec.schedulerName": spec.get("schedulerName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase", ""),
            "status.podIP": status.get("podIP", ""),
            "status.nominatedNodeName": status.get("nominatedNodeName", ""),
        }

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        spec, status = obj.get("spec", {}), obj.get("status", {})
        ready, reason, restarts = _summary(obj, now)
        gates = spec.get("readinessGates", ())
        passed = {c.get("type") for c in status.get("conditions", ()) if c.get("status") == "True"}
        ips = status.get("podIPs") or ([{"ip": status["podIP"]}] if status.get("podIP") else [])
        return [
            obj["metadata"]["name"],
            f"{ready}/{len(spec.get('containers', ()))}",
            reason,
            restarts,
            age(obj, now),
            ips[0].get("ip") if ips else "<none>",
            spec.get("nodeName") or "<none>",
            status.get("nominatedNodeName") or "<none>",
            f"{sum(g.get('conditionType') in passed for g in gates)}/{len(gates)}" if gates else "<none>",
        ]


def _carry(new: Object, old: Object, key: str) -> None:
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)


def _qos(spec: Object) -> str:
    containers = spec.get("containers", [])
    resources = [container.get("resources", {}) for container in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for r in resources:
        limits, requests = r.get("limits", {}), r.get("requests", {})
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                return "Burstable"
    return "Guaranteed"


def _summary(obj: Object, now: datetime.datetime) -> tuple[int, str, str]:
    """Ready containers, the Status column, the Restarts column: as kube-apiserver's printer derives them."""
    status = obj.get("status", {})
    phase = status.get("phase", "")
    reason = status.get("reason") or phase
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    ready, restarts, last = 0, 0, ""
    initializing = False
    for i, container in enumerate(status.get("initContainerStatuses", ())):
        restarts += container.get("restartCount", 0)
        state = container.get("state", {})
        terminated = state.get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        initializing = True
        waiting = state.get("waiting", {}).get("reason")
        if terminated is not None:
            reason = "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}")
        elif waiting and waiting != "PodInitializing":
            reason = "Init:" + waiting
        else:
            reason = f"Init:{i}/{len(obj.get('spec', {}).get('initContainers', ()))}"
        break
    if not initializing:
        restarts, running = 0, False
        for container in reversed(status.get("containerStatuses", ())):
            restarts += container.get("restartCount", 0)
            last = max(last, container.get("lastState", {}).get("terminated", {}).get("finishedAt", ""))
            state = container.get("state", {})
            waiting, terminated = state.get("waiting", {}).get("reason"), state.get("terminated")
            if waiting:
                reason = waiting
            elif terminated is not None:
                signal = terminated.get("signal")
                reason = terminated.get("reason") or (
                    f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"
                )
            elif container.get("ready") and "running" in state:
                running = True
                ready += 1
        if reason == "Completed" and running:
            conditions = status.get("conditions", ())
            is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
            reason = "Running" if is_ready else "NotReady"
    if obj["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    text = f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)
    return ready, reason, text
