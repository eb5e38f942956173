"""Manifests as files hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import apply, bootstrap
from lab.directory import LabFacts
from lab.errors import LabError


def test_documents_and_lists_are_unfolded_in_order() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Pod, metadata: {name: b}}
  - {apiVersion: v1, kind: PodList, items: [{apiVersion: v1, kind: Pod, metadata: {name: c}}]}
"""
    assert [d["metadata"]["name"] for d in apply.parse(text, "text")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [", "not valid YAML"), ("just text", "no Kubernetes object"), ("kind: Pod", "apiVersion")],
)  # fmt: skip
def test_what_is_no_manifest_is_named(text: str, sentence: str) -> None:
    with pytest.raises(LabError, match=f"(?s)file.yaml.*{sentence}"):
        apply.parse(text, "file.yaml")


def test_directories_are_read_by_name_and_missing_files_told(tmp_path: Path) -> None:
    for name in ("2.yaml", "1.yml", "ignored.txt", "kustomization.yaml"):
        (tmp_path / name).write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: '{name}'}}\n")
    assert [d["metadata"]["name"] for d in apply.read([tmp_path])] == ["1.yml", "2.yaml"]
    with pytest.raises(LabError, match="does not exist"):
        apply.read([tmp_path / "none.yaml"])


@pytest.mark.parametrize("with_nodes", [True, False])
def test_the_bootstrap_objects_hang_together(with_nodes: bool) -> None:
    documents = apply.read(bootstrap.MANIFESTS)
    services = bootstrap.controller_service(LabFacts("lab", "t", with_nodes=with_nodes))
    names = {(d["kind"], d["metadata"]["name"]) for d in [*documents, *services]}
    for document in documents:
        if document["kind"] == "ClusterRoleBinding":
            assert ("ClusterRole", document["roleRef"]["name"]) in names
            assert all(("ServiceAccount", s["name"]) in names for s in document["subjects"])
        if document["kind"] == "APIService":
            assert ("Service", document["spec"]["service"]["name"]) in names
    assert all(("ServiceAccount", component) in names for component in bootstrap.COMPONENTS)
