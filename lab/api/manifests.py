"""Objects as files: applied at the first start, written at the end.

A directory is read in the order of its file names, YAML and JSON, any number of documents in a file; kinds
that others need go first (definitions, namespaces, accounts, nodes). Saving writes one file for each
resource, with nothing in it that a cluster makes by itself, so that what was saved can be loaded.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from apiserver.documents.schema import DecodeError
from apiserver.errors import StatusError
from apiserver.resources import Object

if TYPE_CHECKING:
    from lab.api.cluster import Cluster

_ORDER = ("CustomResourceDefinition", "Namespace", "Node", "ServiceAccount", "ConfigMap", "Secret", "Service")
_GENERATED = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)
_OWN = (
    ("configmaps", "kube-root-ca.crt"),
    ("serviceaccounts", "default"),
    ("configmaps", "extension-apiserver-authentication"),
    ("services", "kubernetes"),
)
_NOT_SAVED = ("events", "leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io")
_OWN_STATUS = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")  # the controllers' business
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class ManifestError(Exception):
    """A file that cannot be loaded: which, which object, why."""


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
    return [path]


def _parse(file: pathlib.Path) -> list[Any]:
    """JSON is decoded fifty times faster than YAML: large clusters are loaded from it."""
    try:
        if file.suffix == ".json":
            return [msgspec.json.decode(file.read_bytes())]
        return list(yaml.load_all(file.read_text(), Loader=_Loader))
    except (msgspec.MsgspecError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: neither YAML nor JSON: {error}") from error


def read(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, Object]]:
    """Every object in a file or directory; Lists are taken apart."""
    for file in _files(path):
        for document in _parse(file):
            if document is None:
                continue
            if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
                raise ManifestError(f"{file}: an object needs apiVersion and kind")
            if document["kind"].endswith("List") and isinstance(document.get("items"), list):
                yield from ((file, item) for item in _items(document))
            else:
                yield file, document


def _items(listed: Object) -> Iterator[Object]:
    """The objects of a List, or of a PodList and its like, whose items leave kind and apiVersion out."""
    defaults = {}
    if listed["kind"] != "List":
        defaults = {"kind": listed["kind"].removesuffix("List"), "apiVersion": listed["apiVersion"]}
    for item in listed["items"]:
        yield {**defaults, **item}


def load(cluster: Cluster, path: pathlib.Path) -> int:
    """Creates or replaces every object; returns how many. Raises ManifestError."""
    found = sorted(read(path), key=lambda item: _rank(item[1]))
    for file, document in found:
        try:
            put(cluster, document)
        except (StatusError, DecodeError) as error:
            name = (document.get("metadata") or {}).get("name", "")
            raise ManifestError(f"{file}: {document['kind']} {name}: {error}") from error
        cluster.reactor.drain()
    return len(found)


def _rank(document: Object) -> int:
    kind = document.get("kind", "")
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def put(cluster: Cluster, document: Object) -> None:
    """Creates the object, or replaces it but for its status, which is kept or (if given) written."""
    registry = cluster.registry
    kind = registry.kind_of(document["apiVersion"], document["kind"])
    if kind is None:
        raise ManifestError(f"{document['apiVersion']} {document['kind']} is not served here")
    obj, _ = kind.decode(document)
    metadata = obj.setdefault("metadata", {})
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    for key in _GENERATED:
        metadata.pop(key, None)
    own = kind.has_status and kind.resource not in _OWN_STATUS
    status = obj.get("status") if own else None
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    if registry.get(kind.resource, namespace, name) is None:
        registry.create(kind, obj, status=status or None)
        return
    registry.update(kind, namespace, name, lambda _old, _version: obj, unconditional=True)
    if status:

        def with_status(current: Object, _version: int) -> Object:
            current["status"] = status
            return current

        registry.update(kind, namespace, name, with_status, subresource="status", unconditional=True)


def save(cluster: Cluster, folder: pathlib.Path) -> int:
    """Writes the objects into the folder, a file for each resource; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for resource, kind in sorted(cluster.registry.kinds.items()):
        if resource in _NOT_SAVED:
            continue
        documents = []
        for obj in cluster.registry.items(resource):
            metadata = obj["metadata"]
            if (resource, metadata["name"]) in _OWN or metadata.get("deletionTimestamp"):
                continue
            if metadata.get("labels", {}).get("kubernetes.io/bootstrapping"):
                continue
            kept = {key: value for key, value in metadata.items() if key not in _GENERATED}
            documents.append({"apiVersion": kind.api_version, "kind": kind.kind, **obj, "metadata": kept})
        if documents:
            documents.sort(key=lambda d: (d["metadata"].get("namespace", ""), d["metadata"]["name"]))
            (folder / f"{resource}.yaml").write_text(
                yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False)
            )
            count += len(documents)
    return count
