"""What upstream's controller answered for the recorded inputs, ours answers.

Compared are the full lists after each step, and what a client of each watch holds after each step. Of the
events it is asked that ours tell of no object that the recorded ones do not tell of, end alike for each
object, and are not more: upstream sends a new group empty and its members by a patch, ours sends it whole.
Members are compared as sets: upstream's order is random.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from computation.graph import Graph
from tests.computation.harness import KINDS, Event, Stream, delete, encoded, member, upsert
from tests.computation.oracle import Member

DATA = Path(__file__).parent.parent / "data" / "golden-computation"
SCENARIOS = sorted(path.stem for path in DATA.glob("*.json"))

# Where ours differs on purpose: (scenario, step).
DIFFERENT = {
    # Upstream notices a second address of a pod only when something else about the pod changes (step 3).
    ("04-pod-lifecycle", 2),
    ("04-pod-lifecycle", 3),
}

Key = tuple[str, str]


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return loaded


def canonical(event: Event) -> tuple[str, object]:
    """An event with its members as sets."""
    kind, resource, document = event
    if resource == "networkpolicies":
        return kind, json.dumps(document, sort_keys=True)
    lists = ("groupMembers", "addedGroupMembers", "removedGroupMembers")
    return kind, tuple(frozenset(map(member, document.get(each, ()))) for each in lists)


class Replay:
    """Our controller's watches beside the recorded ones, one per resource and node as recorded."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.scenario = scenario
        self.graph = Graph()
        self.records: dict[Key, Any] = {}
        self.nodes = sorted({stream["nodeName"] for stream in scenario["streams"]}, key=str)
        self.ours = {node: Stream(node) for node in self.nodes}
        self.theirs = {node: Stream(node) for node in self.nodes}

    def flush(self) -> dict[str | None, list[Event]]:
        events: dict[str | None, list[Event]] = {node: [] for node in self.nodes}
        for change in self.graph.flush():
            key = (change.resource, change.key[1])
            if change.new is None:
                del self.records[key]
            else:
                self.records[key] = change.new
            for node, stream in self.ours.items():
                event = stream.follow(change)
                if event is not None:
                    events[node].append(event)
        return events

    def recorded(self, node: str | None, step: int) -> list[Event]:
        """The recorded events of a step."""
        found = []
        for stream in self.scenario["streams"]:
            if stream["nodeName"] != node:
                continue
            for event in stream["events"]:
                if event["step"] != step:
                    continue
                document = {key: value for key, value in event["object"].items() if key != "apiVersion"}
                if not document["kind"].endswith("Patch"):
                    del document["kind"]
                made: Event = (event["type"], stream["resource"], document)
                self.theirs[node].apply(made)
                found.append(made)
        return found

    def check_lists(self, step: int) -> None:
        for resource in KINDS:
            expected = {
                item["metadata"]["name"]: item for item in self.scenario["states"][str(step)][resource]
            }
            ours = {
                name: encoded(record, resource, None)
                for (each, name), record in self.records.items()
                if each == resource
            }
            assert ours.keys() == expected.keys(), resource
            for name, document in ours.items():
                assert canonical(("", resource, document)) == canonical(("", resource, expected[name]))

    def check_streams(self) -> None:
        for node in self.nodes:
            assert self.ours[node].policies == self.theirs[node].policies, node
            for resource in KINDS:
                assert self.ours[node].members(resource) == self.theirs[node].members(resource), node


def by_object(events: list[Event]) -> dict[Key, list[str]]:
    """The types of the events of each object."""
    found: dict[Key, list[str]] = {}
    for kind, resource, document in events:
        found.setdefault((resource, document["metadata"]["name"]), []).append(kind)
    return found


def check_events(ours: list[Event], theirs: list[Event]) -> None:
    recorded = by_object(theirs)
    for key, kinds in by_object(ours).items():
        assert key in recorded, key
        assert len(kinds) <= len(recorded[key]), key
        if recorded[key][0] == "ADDED":
            assert kinds[0] == "ADDED", key
        else:
            assert kinds[-1] == recorded[key][-1], key


@pytest.mark.parametrize("name", SCENARIOS)
def test_recorded_scenarios(name: str) -> None:
    scenario = load(name)
    replay = Replay(scenario)
    for manifest in scenario["inputs"]:
        upsert(replay.graph, manifest)
    ours = replay.flush()
    for node in replay.nodes:
        check_events(ours[node], replay.recorded(node, 0))
    replay.check_lists(0)
    replay.check_streams()
    for step in scenario["steps"]:
        number = step["step"]
        total: dict[str | None, list[Event]] = {node: [] for node in replay.nodes}
        for change in step["changes"]:
            meta = change["object"]["metadata"]
            if change["op"] == "delete":
                delete(replay.graph, change["object"]["kind"], meta.get("namespace", ""), meta["name"])
            else:
                upsert(replay.graph, change["object"])
            for node, events in replay.flush().items():
                total[node] += events
        recorded = {node: replay.recorded(node, number) for node in replay.nodes}
        if (name, number) in DIFFERENT:
            continue
        for node in replay.nodes:
            check_events(total[node], recorded[node])
        replay.check_lists(number)
        replay.check_streams()


def test_a_second_address_is_noticed_when_it_appears() -> None:
    """The known difference: upstream compares podIP only, and sends the second address one step later."""
    scenario = load("04-pod-lifecycle")
    replay = Replay(scenario)
    for manifest in scenario["inputs"]:
        upsert(replay.graph, manifest)
    for step in scenario["steps"][:2]:
        for change in step["changes"]:
            upsert(replay.graph, change["object"])
    replay.flush()
    members = {each for group in replay.ours[None].members("addressgroups").values() for each in group}
    assert Member("l", "noip", ("10.10.2.44", "fd00:10:2::44")) in members
