"""A flush in steps: it pauses often, and what was told can be read at every pause."""

from __future__ import annotations

import pytest

from computation import steps
from computation.graph import Graph
from tests.computation.harness import delete, upsert
from tests.computation.manifests import namespace, namespaces, pod, policy

PODS = 6


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    """Namespace y with six pods, and a policy in x whose peers are the namespaces with team=a."""
    monkeypatch.setattr(steps, "STEP", 1)
    made = Graph()
    for manifest in (
        namespace("x", {}),
        namespace("y", {}),
        *(pod(f"p{number}", namespace="y", ips=(f"10.0.0.{number + 1}",)) for number in range(PODS)),
        pod("web", namespace="x", node="node-1"),
        policy(namespace="x", types=["Ingress"], ingress=[{"from": [namespaces(team="a")]}]),
    ):
        upsert(made, manifest)
    return made


def test_what_was_told_is_unchanged_at_every_pause(graph: Graph) -> None:
    (group,) = [change.new for change in graph.flush() if change.resource == "addressgroups"]
    for labels, before, after in (({"team": "a"}, 0, PODS), ({}, PODS, 0), ({"team": "a"}, 0, PODS)):
        upsert(graph, namespace("y", labels))
        pauses = 0
        for step in graph.steps():
            if step is None:
                pauses += 1
                assert len(group.members()) == before
            elif step.resource == "addressgroups":
                assert len(group.members()) == before, "a version stays what it was"
                group = step.new
        assert pauses >= PODS
        assert len(group.members()) == after


def test_the_end_of_a_large_group_is_told_at_once_and_forgotten_in_steps(graph: Graph) -> None:
    upsert(graph, namespace("y", {"team": "a"}))
    list(graph.flush())
    delete(graph, "NetworkPolicy", "x", "p")
    ended = [step for step in graph.steps() if step is not None]
    assert [(change.resource, change.new) for change in ended] == [
        ("networkpolicies", None),
        ("appliedtogroups", None),
        ("addressgroups", None),
    ]
    assert not graph.dirty


def test_a_step_has_no_more_than_its_share(graph: Graph) -> None:
    upsert(graph, namespace("y", {"team": "a"}))
    assert sum(step is None for step in graph.steps()) > PODS
