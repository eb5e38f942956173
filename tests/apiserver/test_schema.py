"""Documents are read by the schema of their kind: what is kept, dropped and refused."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.documents.schema import DecodeError, decode

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "ratio": {"type": "number"},
                "on": {"type": "boolean"},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                "list": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"a": {"type": "string"}}},
                },
                "maybe": {"type": "string", "nullable": True},
            },
        }
    },
}


def read(spec: Any) -> tuple[Any, list[str]]:
    document = {"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "t"}, "spec": spec}
    body, unknown = decode(document, SCHEMA, "x/v1", "Thing")
    assert set(body) <= {"metadata", "spec"}
    return body.get("spec"), unknown


@pytest.mark.parametrize(
    ("spec", "kept", "unknown"),
    [
        ({"size": 1, "ratio": 2, "on": False}, {"size": 1, "ratio": 2, "on": False}, []),
        ({"size": 2.0}, {"size": 2.0}, []),
        ({"port": 80}, {"port": 80}, []),
        ({"port": "http"}, {"port": "http"}, []),
        ({"free": {"any": [1, {"thing": None}]}}, {"free": {"any": [1, {"thing": None}]}}, []),
        ({"counts": {"a": 1}}, {"counts": {"a": 1}}, []),
        ({"list": [{"a": "x", "b": 1}, {}]}, {"list": [{"a": "x"}, {}]}, ["spec.list[0].b"]),
        ({"sise": 1, "size": 2}, {"size": 2}, ["spec.sise"]),
        ({"size": None, "maybe": None}, {"maybe": None}, []),
        (None, None, []),
    ],
)
def test_what_is_kept(spec: Any, kept: Any, unknown: list[str]) -> None:
    assert read(spec) == (kept, unknown)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (5, "spec must be of type object, not int"),
        ({"size": "1"}, "spec.size must be of type integer, not str"),
        ({"size": True}, "spec.size must be of type integer, not bool"),
        ({"size": 1.5}, "spec.size must be of type integer, not float"),
        ({"on": 1}, "spec.on must be of type boolean, not int"),
        ({"port": []}, "spec.port must be of type integer or string, not list"),
        ({"counts": {"a": "x"}}, "spec.counts.a must be of type integer, not str"),
        ({"list": [1]}, "spec.list[0] must be of type object, not int"),
    ],
)
def test_what_is_refused(spec: Any, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(spec)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ([], "metadata must be an object"),
        ({"labels": ["a"]}, "metadata.labels must be of type object, not list"),
        ({"finalizers": [1]}, "metadata.finalizers[0] must be of type string, not int"),
        (
            {"ownerReferences": [{"uid": 1}]},
            "metadata.ownerReferences[0].uid must be of type string, not int",
        ),
    ],
)
def test_metadata_is_read_alike_for_all_kinds(metadata: Any, text: str) -> None:
    for schema in (SCHEMA, None):
        with pytest.raises(DecodeError) as caught:
            decode({"metadata": metadata}, schema, "x/v1", "Thing")
        assert str(caught.value) == text


def test_the_argument_is_left_alone_and_emptiness_vanishes() -> None:
    document = {"metadata": {"name": "t", "labels": {}, "finalizers": []}, "data": {"a": "b"}}
    body, unknown = decode(document, None, "x/v1", "Unheard")
    assert (body, unknown) == ({"metadata": {"name": "t"}, "data": {"a": "b"}}, [])
    assert document["metadata"]["labels"] == {}
