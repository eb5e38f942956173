"""Whatever a client sends, a kind takes it or refuses it in its own words: nothing else ever comes out."""

from __future__ import annotations

import copy
import datetime
import random
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind
from apiserver.documents.metadata import validate_metadata, validate_metadata_update
from apiserver.documents.refusals import refuse
from apiserver.documents.schema import DecodeError
from lab.api.kinds import catalogue
from lab.api.kinds.builtin import BuiltIn
from lab.api.schema.notation import FieldType, Type, lookup
from tests.lab.api.conftest import node
from tests.lab.api.process import LabApi

KINDS: list[Kind] = catalogue.kinds()
NOW = datetime.datetime.now(datetime.UTC)
WORDS = (
    "",
    "a",
    "TCP",
    "None",
    "10.0.0.0/8",
    "::1",
    "-x-",
    "In",
    "ClusterIP",
    "true",
    "x" * 300,
    "ä",
    "a/b/c",
    "1Mi",
)
NUMBERS = (0, 1, -1, 80, 65536, 2**31 - 1, 2**31, 2**63, 1.5)
json_values = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


class Writer:
    """Writes documents of a type's shape: fields left out at random, values now and then of a wrong type."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def document(self, kind: BuiltIn) -> dict[str, Any]:
        made: dict[str, Any] = self.object(lookup(kind.type_name), 0)
        if not isinstance(made.get("metadata"), dict):
            made["metadata"] = {}
        made["metadata"].setdefault("name", "x")
        return made

    def object(self, type_: Type, depth: int) -> dict[str, Any]:
        chance = 0.7 if depth < 2 else 0.35
        return {
            name: self.value(field.type, depth + 1)
            for name, field in type_.fields.items()
            if self.random.random() < chance
        }

    def value(self, type_: FieldType, depth: int) -> Any:
        if self.random.random() < 0.01:
            return self.random.choice([None, "text", 7, [], {}, [None], True])
        if type_.container == "list":
            assert type_.inner is not None
            return [self.value(type_.inner, depth) for _ in range(self.random.choice([0, 1, 2]))]
        if type_.container == "map":
            assert type_.inner is not None
            return {
                self.random.choice(WORDS): self.value(type_.inner, depth)
                for _ in range(self.random.choice([0, 1, 2]))
            }
        if type_.is_object:
            return {} if depth > 7 else self.object(lookup(type_.base), depth)
        match type_.base:
            case "int32" | "int64" | "float64":
                return self.random.choice(NUMBERS[:6])
            case "bool":
                return self.random.choice([True, False])
            case "intstr":
                return self.random.choice([0, 80, "http", ""])
            case "any":
                return self.random.choice([{}, {"type": "object"}, {"type": 5}, {"properties": {"a": {}}}])
            case "time" | "microtime":
                return "2026-01-01T00:00:00Z"
            case "bytes":
                return self.random.choice(["", "YQ=="])
            case _:
                return self.random.choice(WORDS)


def take(kind: Kind, document: dict[str, Any]) -> dict[str, Any] | None:
    """All that happens to a new object, and to one that is shown. None: it does not decode."""
    try:
        obj, _ = kind.decode(copy.deepcopy(document))
    except DecodeError:
        return None
    obj.setdefault("metadata", {}).setdefault("name", "x")
    kind.default(obj)
    kind.prepare_create(obj)
    errors = FieldErrors()
    validate_metadata(obj["metadata"], kind.namespaced, kind.check_name, errors)
    kind.validate(obj, errors)
    if errors:
        refused = refuse(kind, "x", errors)
        assert refused.message
        assert refused.details is not None
        assert all(cause["message"] for cause in refused.details["causes"])
        return obj
    kind.warnings(obj)
    kind.fields(obj)
    assert len(kind.cells(obj, NOW)) == len(kind.columns or ())
    return obj


@pytest.mark.parametrize("kind", KINDS, ids=[kind.resource for kind in KINDS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_documents_of_the_right_shape(kind: BuiltIn, seed: int) -> None:
    writer = Writer(seed)
    first, second = (take(kind, writer.document(kind)) for _ in range(2))
    if first is not None and second is not None:
        errors = FieldErrors()
        kind.default(second)
        kind.prepare_update(second, first)
        validate_metadata_update(second["metadata"], first["metadata"], errors)
        kind.validate_update(second, first, errors)
        if kind.has_status:
            kind.validate_status(kind.prepare_status_update(second, first), first, errors)
        kind.generation_part(second)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.resource for kind in KINDS])
@settings(max_examples=30, deadline=None)
@given(
    parts=st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "data", "rules", "webhooks"]), json_values
    )
)
def test_documents_of_any_shape(kind: BuiltIn, parts: dict[str, Any]) -> None:
    take(kind, parts)


ANSWERS = {200, 201, 400, 403, 404, 409, 410, 413, 415, 422}


def path_of(kind: Kind, namespace: str) -> str:
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{prefix}/namespaces/{namespace}/{kind.plural}" if kind.namespaced else f"{prefix}/{kind.plural}"


def test_the_whole_road(own_api: LabApi) -> None:
    """Written, changed, shown and deleted over HTTP, with every controller looking on: no internal errors."""
    api = own_api
    api.create("/api/v1/nodes", node("n1"))
    writer = Writer(20)
    created = 0
    for round_number in range(3):
        namespace = f"round-{round_number}"
        api.namespace(namespace)
        for kind in KINDS:
            path = path_of(kind, namespace)
            name = f"x{round_number}"
            for verb in ("create", "update", "patch"):
                document = writer.document(kind)  # type: ignore[arg-type]
                metadata = document["metadata"]
                document["metadata"] = {
                    key: metadata[key] for key in ("labels", "annotations") if key in metadata
                }
                if verb == "create":
                    document["metadata"]["name"] = name
                    answer = api.post(path, document)
                    created += answer.status == 201
                elif verb == "update":
                    answer = api.put(f"{path}/{name}", document)
                else:
                    answer = api.merge(f"{path}/{name}", document)
                assert answer.status in ANSWERS, (kind.resource, verb, document, answer.raw)
            table = api.get(path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
            assert table.status == 200
        if round_number % 2:
            assert api.delete(f"/api/v1/namespaces/{namespace}").status == 200
    assert created > 5
    assert api.get("/readyz").status == 200
    log = (api.state / "log").read_text()
    assert "Traceback" not in log, log
