"""A pod's status, from its sandbox and its responder."""

from __future__ import annotations

from typing import Any

import pytest

from lab.nodes.kubelet import pod_facts, pod_status
from lab.nodes.kubelet.sandbox import Sandbox
from lab.pods import pod

NOW = 1_700_000_000.0


def sandbox(**values: Any) -> Sandbox:
    defaults: dict[str, Any] = {"ips": ["10.10.1.2", "fd00::2"], "created": NOW - 10, "started": NOW - 5}
    return Sandbox("uid", "x", "a", "c" * 64, "lab-pod-a", False, **{**defaults, **values})


def build(
    document: dict[str, Any] | None = None, box: Sandbox | None = None, **values: Any
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "running": True,
        "ready": {},
        "host_ips": ["172.31.0.1"],
        "phase": "Running",
        "waiting_reason": "",
        "now": NOW,
    }
    return pod_status.build(document or pod("x/a"), box, **{**arguments, **values})


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def test_a_running_pod() -> None:
    status = build(box=sandbox())
    assert status["podIP"] == "10.10.1.2"
    assert status["podIPs"] == [{"ip": "10.10.1.2"}, {"ip": "fd00::2"}]
    assert status["hostIP"] == "172.31.0.1"
    assert conditions(status) == dict.fromkeys(
        ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"), "True"
    )
    (container,) = status["containerStatuses"]
    assert container["ready"]
    assert "running" in container["state"]


STOPPED = {"running": False}
STATES = {
    "nothing yet": (None, {**STOPPED, "phase": "Pending"}, ("Pending", "False", "waiting")),
    "not ready": (sandbox(), {"ready": {"responder": False}}, ("Running", "False", "running")),
    "crashed": (sandbox(restarts=1, last_exit=-9), STOPPED, ("Running", "False", "waiting")),
    "ended well": (
        sandbox(last_exit=0),
        {**STOPPED, "phase": "Succeeded"},
        ("Succeeded", "False", "terminated"),
    ),
    "ended badly": (sandbox(last_exit=-9), {**STOPPED, "phase": "Failed"}, ("Failed", "False", "terminated")),
}


@pytest.mark.parametrize(("box", "values", "expected"), STATES.values(), ids=STATES)
def test_states(box: Sandbox | None, values: dict[str, Any], expected: tuple[str, str, str]) -> None:
    status = build(box=box, **values)
    (state,) = status["containerStatuses"][0]["state"]
    assert (status["phase"], conditions(status)["Ready"], state) == expected


def test_a_signal_is_reported_as_container_runtimes_do() -> None:
    status = build(box=sandbox(last_exit=-9), running=False, phase="Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_transition_times_move_only_with_the_condition() -> None:
    first = build(box=sandbox())
    again = build({**pod("x/a"), "status": first}, sandbox(), now=NOW + 100)
    assert again["conditions"] == first["conditions"]
    worse = build({**pod("x/a"), "status": first}, sandbox(), now=NOW + 100, ready={"responder": False})
    pairs = zip(worse["conditions"], first["conditions"], strict=True)
    moved = {new["type"] for new, old in pairs if new["lastTransitionTime"] != old["lastTransitionTime"]}
    assert moved == {"Ready", "ContainersReady"}


def test_conditions_of_others_stay() -> None:
    gate = {"type": "example.com/gate", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = build({**pod("x/a"), "status": {"conditions": [gate]}}, sandbox())
    assert gate in status["conditions"]


def test_ports_of_all_containers_and_sidecars_are_declared() -> None:
    document = pod("x/a", ports=[("TCP", 80, "http"), ("UDP", 53)])
    document["spec"]["containers"].append(
        {"name": "second", "ports": [{"containerPort": 81}, {"name": "portless"}]}
    )
    document["spec"]["initContainers"] = [
        {"name": "sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 90, "protocol": "SCTP"}]},
        {"name": "setup", "ports": [{"containerPort": 99}]},
    ]
    assert pod_facts.declared_ports(document) == [("SCTP", 90), ("TCP", 80), ("UDP", 53), ("TCP", 81)]
    assert pod_facts.declared_ports(pod("x/b", ports=())) == []


@pytest.mark.parametrize(
    ("metadata", "spec", "seconds"),
    [
        ({}, {}, 30.0),
        ({}, {"terminationGracePeriodSeconds": 0}, 0.0),
        ({}, {"terminationGracePeriodSeconds": 5}, 5.0),
        ({"deletionGracePeriodSeconds": 1}, {"terminationGracePeriodSeconds": 5}, 1.0),
    ],
)
def test_grace(metadata: dict[str, Any], spec: dict[str, Any], seconds: float) -> None:
    assert pod_facts.grace_seconds({"metadata": metadata, "spec": spec}) == seconds
