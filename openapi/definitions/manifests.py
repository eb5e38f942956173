"""The definitions as files: one for each kind, one for the ClusterRoles, and a kustomization of them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from openapi.definitions import DEFINITIONS
from openapi.definitions.roles import roles

HEADER = "# Written by python -m openapi.generate from openapi/definitions/: edit it there.\n"
ROLES = "clusterroles.yaml"


class _Plain(yaml.SafeDumper):
    """Without anchors: a shape that occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def files() -> Iterator[tuple[str, str]]:
    """(file name, content) of everything in openapi/crds/ that is generated."""
    names = []
    for definition in DEFINITIONS:
        names.append(f"{definition.plural}.yaml")
        yield names[-1], _text(definition.manifest())
    yield ROLES, _text(*roles())
    yield (
        "kustomization.yaml",
        _text(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [*sorted(names), ROLES],
            }
        ),
    )


def write(directory: Path) -> list[Path]:
    """Writes the files; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files():
        written.append(directory / name)
        written[-1].write_text(text)
    return written


def _text(*documents: dict[str, Any]) -> str:
    body = yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return HEADER + body
