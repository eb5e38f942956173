"""A CustomResourceDefinition: names, versions, columns. ``manifest`` gives the object that is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openapi.definitions.schema import Required, Schema

GROUP = "crd.antrea.io"
SERVED_BY = {"served-by": "antrea-controller"}  # the controller keeps caBundle of such definitions current


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``. Those with a priority above 0 show with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    format: str = ""
    priority: int = 0

    def manifest(self) -> dict[str, Any]:
        column: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.format:
            column["format"] = self.format
        if self.priority:
            column["priority"] = self.priority
        return column | {"jsonPath": self.path}


AGE = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class Version:
    """One served version. ``schema`` is the root's; apiVersion, kind and metadata need not be in it."""

    name: str
    schema: Schema
    columns: Sequence[Column] = ()
    status: bool = False
    """Whether the status is a subresource of its own."""
    storage: bool = True
    deprecation: str = ""
    """The warning that every use of the version is answered with."""

    def manifest(self) -> dict[str, Any]:
        version: dict[str, Any] = {"name": self.name, "served": True, "storage": self.storage}
        if self.deprecation:
            version |= {"deprecated": True, "deprecationWarning": self.deprecation}
        version["schema"] = {"openAPIV3Schema": self.schema}
        if self.columns:
            version["additionalPrinterColumns"] = [column.manifest() for column in self.columns]
        if self.status:
            version["subresources"] = {"status": {}}
        return version


@dataclass(frozen=True, slots=True)
class Definition:
    kind: str
    plural: str
    short: Sequence[str]
    versions: Sequence[Version]
    namespaced: bool = False
    labelled: bool = True
    """Whether the definition carries ``app: antrea``."""
    conversion: str = ""
    """Path at which the controller converts between the versions; none if they differ in name only."""

    @property
    def name(self) -> str:
        return f"{self.plural}.{GROUP}"

    def manifest(self) -> dict[str, Any]:
        names: dict[str, Any] = {
            "kind": self.kind,
            "plural": self.plural,
            "singular": self.kind.lower(),
        }
        if self.short:
            names["shortNames"] = list(self.short)
        metadata: dict[str, Any] = {"name": self.name}
        labels = ({"app": "antrea"} if self.labelled else {}) | (SERVED_BY if self.conversion else {})
        if labels:
            metadata["labels"] = labels
        spec: dict[str, Any] = {
            "group": GROUP,
            "scope": "Namespaced" if self.namespaced else "Cluster",
            "names": names,
            "versions": [version.manifest() for version in self.versions],
        }
        if self.conversion:
            spec["conversion"] = _webhook(self.conversion)
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": spec,
        }


def _webhook(path: str) -> dict[str, Any]:
    """Without caBundle: the controller writes it once it has one."""
    service = {"name": "antrea", "namespace": "kube-system", "path": path, "port": 443}
    return {
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1", "v1beta1"], "clientConfig": {"service": service}},
    }


def root(description: str, spec: Schema | None = None, status: Schema | None = None) -> Schema:
    """The schema of an object with spec and status. Mark the spec as required where it is."""
    schema: Schema = {"description": description, "type": "object"}
    if isinstance(spec, Required):
        schema["required"] = ["spec"]
    properties = {}
    if spec is not None:
        properties["spec"] = dict(spec)
    if status is not None:
        properties["status"] = dict(status)
    return schema | {"properties": properties}


def deprecated(kind: str, version: str, successor: str = "v1beta1") -> str:
    return f"{GROUP}/{version} {kind} is deprecated; use {GROUP}/{successor} {kind}"
