"""Server-side apply: who owns what, conflicts, what goes when nobody names it any more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver.documents import fieldsets
from apiserver.documents.shape import SchemaShape
from lab.api.kinds.services import Services
from tests.lab.api.process import Answer, LabApi
from tests.lab.api.test_custom_resources import definition, establish

APPLY = "application/apply-patch+yaml"


class Applier:
    """Applies configurations to one object under the names of different managers."""

    def __init__(self, api: LabApi, path: str, kind: str, version: str) -> None:
        self.api, self.path = api, path
        self.head = {"apiVersion": version, "kind": kind, "metadata": {"name": path.rpartition("/")[2]}}

    def __call__(self, manager: str, force: bool = False, metadata: Any = None, **parts: Any) -> Answer:
        body = {**self.head, **parts}
        body["metadata"] = {**self.head["metadata"], **(metadata or {})}  # type: ignore[dict-item]
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return self.api.request("PATCH", self.path + query, body, media=APPLY)

    def managers(self) -> dict[str, Any]:
        entries = self.api.get(self.path).json["metadata"].get("managedFields", [])
        return {f"{entry['manager']}/{entry['operation']}": entry["fieldsV1"] for entry in entries}


@pytest.fixture
def config(api: LabApi, request: pytest.FixtureRequest) -> Applier:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    return Applier(api, f"{api.namespace(name)}/configmaps/c", "ConfigMap", "v1")


def test_two_appliers_share_an_object(config: Applier) -> None:
    assert config("one", data={"a": "1", "b": "1"}).status == 201
    assert config("two", data={"c": "2"}).json["data"] == {"a": "1", "b": "1", "c": "2"}
    refused = config("two", data={"c": "2", "a": "9"})
    assert refused.status == 409
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    assert config("two", force=True, data={"c": "2", "a": "9"}).json["data"]["a"] == "9"
    # what an applier no longer names goes, unless somebody else owns it
    assert config("one", data={"b": "1"}).json["data"] == {"a": "9", "b": "1", "c": "2"}
    assert config("two", data={"a": "9"}).json["data"] == {"a": "9", "b": "1"}
    assert config.managers() == {
        "one/Apply": {"f:data": {"f:b": {}}},
        "two/Apply": {"f:data": {"f:a": {}}},
    }


def test_the_same_value_may_have_two_owners(config: Applier) -> None:
    config("one", data={"a": "1"})
    assert config("two", data={"a": "1"}).status == 200
    assert config("one", data={}).json["data"] == {"a": "1"}
    assert "data" not in config("two").json


def test_applying_the_same_again_changes_nothing(config: Applier) -> None:
    first = config("one", data={"a": "1"}).json
    assert (
        config("one", data={"a": "1"}).json["metadata"]["resourceVersion"]
        == first["metadata"]["resourceVersion"]
    )


def test_a_plain_write_takes_over_what_it_changes(config: Applier) -> None:
    config("one", data={"a": "1", "b": "1"}, metadata={"labels": {"l": "1"}})
    config.api.merge(f"{config.path}?fieldManager=hand", {"data": {"a": "2"}})
    assert config.managers() == {
        "one/Apply": {"f:data": {"f:b": {}}, "f:metadata": {"f:labels": {"f:l": {}}}},
        "hand/Update": {"f:data": {"f:a": {}}},
    }
    assert config("one", data={"a": "1", "b": "1"}).status == 409
    assert config("one", data={"b": "1"}).json["data"] == {"a": "2", "b": "1"}
    config.api.merge(config.path, {"metadata": {"managedFields": []}})
    assert config.managers()
    config.api.merge(config.path, {"metadata": {"managedFields": [{}]}})
    assert config.managers() == {}


def test_what_was_written_before_the_first_apply(config: Applier) -> None:
    config.api.create(config.path.rpartition("/")[0], {"metadata": {"name": "c"}, "data": {"a": "1"}})
    refused = config("one", data={"a": "2"})
    assert refused.json["message"].endswith('conflict with "before-first-apply": .data.a')
    assert config("one", data={"b": "2"}).json["data"] == {"a": "1", "b": "2"}


def test_bad_configurations(config: Applier) -> None:
    nameless = config.api.request("PATCH", config.path, config.head, media=APPLY)
    assert (nameless.status, "fieldManager" in nameless.json["message"]) == (422, True)
    other = {**config.head, "kind": "Secret"}
    assert config.api.request("PATCH", f"{config.path}?fieldManager=x", other, media=APPLY).status == 400
    managed = {**config.head, "metadata": {"managedFields": [{}]}}
    assert config.api.request("PATCH", f"{config.path}?fieldManager=x", managed, media=APPLY).status == 400
    assert config("x", metadata={"resourceVersion": "1"}, data={}).status in (201, 409)


def test_lists_of_built_in_kinds_merge_by_their_keys(api: LabApi) -> None:
    service = Applier(api, f"{api.namespace('keyed')}/services/s", "Service", "v1")
    service("one", spec={"ports": [{"name": "a", "port": 80}]})
    both = service("two", spec={"ports": [{"name": "b", "port": 80, "protocol": "UDP"}]}).json
    assert [(p["port"], p["protocol"]) for p in both["spec"]["ports"]] == [(80, "TCP"), (80, "UDP")]
    left = service("two", spec={"type": "ClusterIP"}).json
    assert [(p["port"], p["protocol"]) for p in left["spec"]["ports"]] == [(80, "TCP")]


def test_lists_of_custom_resources_merge_as_their_schema_says(api: LabApi) -> None:
    text = {"type": "string"}
    element = {
        "type": "object",
        "properties": {
            "name": text,
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        },
    }
    items = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": element,
    }
    spec = {"type": "object", "properties": {"items": items, "whole": {"type": "array", "items": text}}}
    establish(api, definition("Listed", {"type": "object", "properties": {"spec": spec}}))
    listed = Applier(api, "/apis/example.com/v1/namespaces/default/listeds/x", "Listed", "example.com/v1")

    def found(answer: Answer) -> Any:
        assert answer.status in (200, 201), answer.raw
        return answer.json["spec"]["items"]

    found(listed("one", spec={"items": [{"name": "e1", "tags": ["1", "2"]}]}))
    second = found(listed("two", spec={"items": [{"name": "e2", "tags": ["9"]}]}))
    assert second == [{"name": "e1", "tags": ["1", "2"]}, {"name": "e2", "tags": ["9"]}]
    third = found(
        listed("two", spec={"items": [{"name": "e1", "tags": ["3"]}, {"name": "e2", "tags": ["9"]}]})
    )
    assert third[0] == {"name": "e1", "tags": ["1", "2", "3"]}
    fewer = found(listed("one", spec={"items": [{"name": "e1", "tags": ["1"]}]}))
    assert fewer[0] == {"name": "e1", "tags": ["1", "3"]}
    last = found(listed("one", spec={"whole": ["a"]}))
    assert last == [{"name": "e1", "tags": ["3"]}, {"name": "e2", "tags": ["9"]}]
    assert listed("two", spec={"whole": ["b"]}).status == 409


# --- the sets by themselves ---

SHAPE = SchemaShape(
    {
        "type": "object",
        "properties": {
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "list": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {
                    "type": "object",
                    "properties": {"k": {"type": "integer"}, "v": {"type": "integer"}},
                },
            },
        },
    }
)
small = st.integers(0, 3)
objects = st.fixed_dictionaries(
    {},
    optional={
        "map": st.dictionaries(st.sampled_from("abc"), small, min_size=1),
        "set": st.lists(small, min_size=1, unique=True),
        "list": st.lists(
            st.fixed_dictionaries({"k": small}, optional={"v": small}),
            min_size=1,
            unique_by=lambda item: item["k"],
        ),
    },
)


def same(first: Any, second: Any) -> bool:
    """Equal but for the order of lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return sorted(map(repr, map(plain, value))) if isinstance(value, list) else value

    return bool(plain(first) == plain(second))


@settings(max_examples=100, deadline=None)
@given(objects, objects)
def test_a_merged_configuration_is_in_the_result(live: Any, config: Any) -> None:
    merged = fieldsets.merge(SHAPE, live, config)
    wanted = set(fieldsets.leaves(fieldsets.fields_of(SHAPE, config)))
    for path in wanted:
        assert (
            same(fieldsets.value_at(SHAPE, merged, path), fieldsets.value_at(SHAPE, config, path))
            or path[-1][0] == "k"
        )
    assert wanted <= set(fieldsets.leaves(fieldsets.fields_of(SHAPE, merged)))


@settings(max_examples=100, deadline=None)
@given(objects, objects)
def test_taking_away_what_was_added_gives_what_was(live: Any, config: Any) -> None:
    before = set(fieldsets.leaves(fieldsets.fields_of(SHAPE, live)))
    after = fieldsets.merge(SHAPE, live, config)
    added = set(fieldsets.leaves(fieldsets.fields_of(SHAPE, after))) - before
    left = fieldsets.without(SHAPE, after, added)
    assert set(fieldsets.leaves(fieldsets.fields_of(SHAPE, left))) == before


@settings(max_examples=100, deadline=None)
@given(objects, objects)
def test_what_has_changed(old: Any, new: Any) -> None:
    moved, removed = fieldsets.changed(SHAPE, old, new)
    before, after = (set(fieldsets.leaves(fieldsets.fields_of(SHAPE, value))) for value in (old, new))
    assert removed == before - after
    assert after - before <= moved
    for path in (after & before) - moved:
        old_part, new_part = (fieldsets.value_at(SHAPE, value, path) for value in (old, new))
        assert old_part == new_part or path[-1][0] == "k"


@settings(max_examples=50, deadline=None)
@given(objects)
def test_sets_survive_their_encoding(value: Any) -> None:
    fields = fieldsets.fields_of(SHAPE, value)
    paths = set(fieldsets.leaves(fields))
    assert set(fieldsets.leaves(fieldsets.from_paths(paths))) == paths


def test_paths_as_conflicts_name_them() -> None:
    obj = {"spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "a"}]}}
    shown = sorted(
        fieldsets.text(path) for path in fieldsets.leaves(fieldsets.fields_of(Services().shape(), obj))
    )
    assert shown == [
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].name',
        '.spec.ports[port=80,protocol="TCP"].port',
        '.spec.ports[port=80,protocol="TCP"].protocol',
    ]
