"""Where the lab's scheduler puts pods."""

from __future__ import annotations

from typing import Any

import pytest

from lab.nodes.scheduler import fits, waits_for_a_node
from lab.pods import pod


def node(ready: str = "True", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "labels": labels or {}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("case", "spec", "subject", "expected"),
    [
        ("a ready node", {}, node(), True),
        ("a node that is not ready", {}, node("False"), False),
        ("a node that is not known", {}, node("Unknown"), False),
        ("a cordoned node", {}, node(unschedulable=True), False),
        ("a node without the label", {"nodeSelector": {"disk": "ssd"}}, node(), False),
        ("a node with another value", {"nodeSelector": {"disk": "ssd"}}, node(labels={"disk": "hdd"}), False),
        ("a node with the label", {"nodeSelector": {"disk": "ssd"}}, node(labels={"disk": "ssd"}), True),
        ("a taint", {}, node(taints=[TAINT]), False),
        ("a mere preference", {}, node(taints=[{**TAINT, "effect": "PreferNoSchedule"}]), True),
        ("a tolerated taint", {"tolerations": [TAINT]}, node(taints=[TAINT]), True),
        ("tolerated by existence", {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, node(taints=[TAINT]), True),
        ("everything tolerated", {"tolerations": [{"operator": "Exists"}]}, node(taints=[TAINT]), True),
        ("another value tolerated", {"tolerations": [{**TAINT, "value": "web"}]}, node(taints=[TAINT]), False),
        ("another effect tolerated", {"tolerations": [{**TAINT, "effect": "NoExecute"}]}, node(taints=[TAINT]), False),
    ],
)  # fmt: skip
def test_fits(case: str, spec: dict[str, Any], subject: dict[str, Any], expected: bool) -> None:
    assert fits(pod("x/a", **spec), subject) is expected


@pytest.mark.parametrize(
    ("case", "change", "expected"),
    [
        ("fresh", {}, True),
        ("bound", {"spec": {"nodeName": "n"}}, False),
        ("being deleted", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
        ("gated", {"spec": {"schedulingGates": [{"name": "later"}]}}, False),
        ("another scheduler's", {"spec": {"schedulerName": "mine"}}, False),
        ("ended", {"status": {"phase": "Succeeded"}}, False),
    ],
)
def test_waits_for_a_node(case: str, change: dict[str, dict[str, Any]], expected: bool) -> None:
    document = pod("x/a")
    for part, values in change.items():
        document[part] = {**document.get(part, {}), **values}
    assert waits_for_a_node(document) is expected
