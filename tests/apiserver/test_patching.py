"""Patches as tables: the document, the patch, and what comes out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver.documents.jsonpatch import PatchError, json_patch, merge_patch
from apiserver.documents.strategic import strategic_merge

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the table of RFC 7386
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": {"b": 1}}], {"a": {"b": 1}}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 5}], {"a": [5, 2]}),
        ({"a": {}}, [{"op": "replace", "path": "/a/new", "value": 5}], {"a": {"new": 5}}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ],
)
def test_json_patch(document: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    ("operations", "unprocessable"),
    [
        ("x", False),
        ([{"op": "add"}], False),
        ([{"op": "add", "path": "/b"}], False),
        ([{"op": "grow", "path": "/a"}], False),
        ([{"op": "add", "path": "b", "value": 1}], False),
        ([{"op": "move", "path": "/a"}], False),
        ([{"op": "remove", "path": ""}], False),
        ([{"op": "add", "path": "/b", "value": 1}] * 10_001, False),
        ([{"op": "remove", "path": "/zz"}], True),
        ([{"op": "replace", "path": "/l/7", "value": 1}], True),
        ([{"op": "add", "path": "/l/-1", "value": 1}], True),
        ([{"op": "add", "path": "/a/b/c", "value": 1}], True),
        ([{"op": "test", "path": "/a", "value": 2}], True),
    ],
)
def test_json_patches_that_do_not_fit(operations: Any, unprocessable: bool) -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({"a": 1, "l": [1]}, operations)
    assert refused.value.unprocessable is unprocessable


def test_copies_of_copies_end_at_a_limit() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(100)]
    with pytest.raises(PatchError, match="accumulated size increase of copy is") as refused:
        json_patch({"a": {"text": "x" * 1000}}, doubling)
    assert refused.value.unprocessable
    assert len(json_patch({"a": {"text": "x" * 1000}}, doubling[:8])["a"]) == 9


@settings(max_examples=100)
@given(
    documents,
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.text(max_size=3) | st.sampled_from(["add", "remove", "move", "test"]),
                "path": st.text("/ab-0~", max_size=5),
            },
            optional={"value": documents, "from": st.text("/ab0", max_size=4)},
        ),
        max_size=4,
    ),
)
def test_no_json_patch_does_more_than_refuse(document: Any, operations: Any) -> None:
    try:
        json_patch(document, operations)
    except PatchError:
        pass


POD = {
    "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
    "spec": {
        "containers": [
            {"name": "one", "image": "i1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {
                "name": "two",
                "image": "i2",
                "args": ["x", "y"],
                "ports": [{"containerPort": 80, "name": "web"}],
            },
        ],
        "tolerations": [{"key": "k"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def containers(patched: Any) -> Any:
    return [container["name"] for container in patched["spec"]["containers"]]


@pytest.mark.parametrize(
    ("patch", "where", "result"),
    [
        (
            {"spec": {"containers": [{"name": "two", "image": "new"}]}},
            ("spec", "containers", 1, "image"),
            "new",
        ),
        (
            {"spec": {"containers": [{"name": "two", "image": "new"}]}},
            ("spec", "containers", 1, "args"),
            ["x", "y"],
        ),
        (
            {"spec": {"containers": [{"name": "two", "args": ["z"]}]}},
            ("spec", "containers", 1, "args"),
            ["z"],
        ),
        (
            {
                "spec": {
                    "containers": [
                        {
                            "name": "one",
                            "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}],
                        }
                    ]
                }
            },
            ("spec", "containers", 0, "env"),
            [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}],
        ),
        (
            {"spec": {"containers": [{"name": "two", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}},
            ("spec", "containers", 1, "ports"),
            [{"containerPort": 80, "name": "web", "protocol": "TCP"}],
        ),
        ({"spec": {"tolerations": [{"key": "z"}]}}, ("spec", "tolerations"), [{"key": "z"}]),
        ({"metadata": {"finalizers": ["c", "a"]}}, ("metadata", "finalizers"), ["a", "b", "c"]),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, ("metadata", "finalizers"), ["b"]),
        ({"metadata": {"labels": {"x": None, "y": "2"}}}, ("metadata", "labels"), {"y": "2"}),
        ({"metadata": {"labels": {"$patch": "replace", "z": "9"}}}, ("metadata", "labels"), {"z": "9"}),
        ({"metadata": {"labels": {"$patch": "delete"}}}, ("metadata", "labels"), {}),
        (
            {
                "spec": {
                    "volumes": [
                        {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}
                    ]
                }
            },
            ("spec", "volumes"),
            [{"name": "v", "hostPath": {"path": "/x"}}],
        ),
        (
            {"spec": {"containers": [{"$patch": "replace"}, {"name": "new"}]}},
            ("spec", "containers"),
            [{"name": "new"}],
        ),
    ],
)
def test_strategic_merge_of_a_pod(patch: Any, where: tuple[Any, ...], result: Any) -> None:
    before = copy.deepcopy(POD)
    found: Any = strategic_merge("Pod", POD, patch)
    for step in where:
        found = found[step]
    assert found == result
    assert before == POD


def test_strategic_merge_orders_elements_as_told() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "three"}, {"name": "two"}, {"name": "one"}],
            "containers": [{"name": "three", "image": "i3"}],
        }
    }
    assert containers(strategic_merge("Pod", POD, patch)) == ["three", "two", "one"]
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "two"}],
            "containers": [{"name": "one", "$patch": "delete"}],
        }
    }
    assert containers(strategic_merge("Pod", POD, patch)) == ["two"]


@pytest.mark.parametrize(
    ("kind", "patch", "result"),
    [
        (
            "Service",
            {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}},
            {"spec": {"ports": [{"port": 80, "name": "web", "targetPort": 8080}, {"port": 443}]}},
        ),
        (
            "NetworkPolicy",
            {"spec": {"ports": [{"port": 1}]}},
            {"spec": {"ports": [{"port": 1}]}},
        ),
    ],
)
def test_the_kind_decides_how_a_list_merges(kind: str, patch: Any, result: Any) -> None:
    document = {"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 443}]}}
    assert strategic_merge(kind, document, patch) == result


@pytest.mark.parametrize(
    "patch",
    [
        [],
        "x",
        None,
        {"$patch": "explode"},
        {"spec": {"containers": [{"image": "no name"}]}},
        {"spec": {"containers": ["one"]}},
        {"spec": {"containers": [{"$patch": "delete"}]}},
    ],
)
def test_strategic_patches_that_make_no_sense(patch: Any) -> None:
    with pytest.raises(PatchError):
        strategic_merge("Pod", POD, patch)
