"""OpenAPI schemas of Antrea's groups: complete, and as the .proto files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apis.meta import builtin_schema
from apis.schemas import definition_name, definitions
from controller.api import resources

INFOS = [value for value in vars(resources).values() if isinstance(value, resources.ResourceInfo)]


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.plural)
def test_every_kind_and_field_is_described(info: resources.ResourceInfo) -> None:
    for kind in (info.kind, *(sub.kind for sub in info.subresources)):
        waiting, seen = [definition_name(info.api_version, kind)], set()
        while waiting:
            name = waiting.pop()
            if name in seen or name.startswith("io.k8s."):
                continue
            seen.add(name)
            schema = definitions()[name]
            assert schema["description"]
            assert all(field["description"] for field in schema["properties"].values())
            waiting += re.findall(f'{builtin_schema.REF}([^"]+)', json.dumps(schema))


def test_references_to_kubernetes_own_schemas_are_known() -> None:
    text = json.dumps(definitions())
    named = set(re.findall(f'{builtin_schema.REF}(io\\.k8s\\.[^"]+)', text))
    assert named == {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    assert builtin_schema.resolve(builtin_schema.REF + named.pop())["properties"]


def test_the_generated_file_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    from openapi import generate

    written = generate.compile_into(tmp_path)
    assert generate.SCHEMAS in written
    assert (tmp_path / generate.SCHEMAS).read_text() == (generate.ROOT / generate.SCHEMAS).read_text()
