"""Manifests through the Kubernetes API: create what is not there, merge into what is.

What `antrea-lab up -f`, `antrea-lab apply` and the tests use where kubectl is not installed. It is a
server-side apply: fields that the manifest names are set, those that it named before and no longer does are
removed, others stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from client.errors import ApiError
from client.rest import RestClient
from lab.errors import LabError

Document = dict[str, Any]
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
_STRICT = {"fieldValidation": "Strict"}
_AS_THE_LAB = {"fieldManager": "antrea-lab", "force": "true", **_STRICT}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    namespace: str
    name: str
    what: str  # created, configured, deleted

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name} {self.what}" + (
            f" ({self.namespace})" if self.namespace else ""
        )


def parse(text: str, source: str) -> list[Document]:
    """The objects of a manifest, Lists unfolded. Raises LabError for what is none."""
    try:
        documents = list(yaml.load_all(text, _LOADER))
    except yaml.YAMLError as error:
        raise LabError(f"{source} is not valid YAML: {error}") from None
    return list(_unfold(documents, source))


def _unfold(documents: Iterable[object], source: str) -> Iterator[Document]:
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise LabError(
                f"{source} holds something that is no Kubernetes object: apiVersion or kind is missing"
            )
        if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
            yield from _unfold(document["items"], source)
        else:
            yield document


def read(paths: Iterable[Path]) -> list[Document]:
    """The objects of files and of directories of ``*.yaml``, ``*.yml`` and ``*.json``, in order.

    A directory's kustomization.yaml is passed over: it names files and is no object of the API."""
    found: list[Document] = []
    for path in paths:
        if path.is_dir():
            files = sorted(
                file
                for file in path.iterdir()
                if file.suffix in (".yaml", ".yml", ".json") and file.stem != "kustomization"
            )
        elif path.exists():
            files = [path]
        else:
            raise LabError(f"{path} does not exist")
        for file in files:
            found += parse(file.read_text(), str(file))
    return found


class Applier:
    """Finds each kind's path in the API's discovery documents, and remembers it."""

    def __init__(self, client: RestClient, namespace: str = "default") -> None:
        self._client = client
        self._namespace = namespace  # for objects that name none
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    async def path(self, document: Document) -> tuple[str, str]:
        """(path of the collection, namespace). Raises LabError if the API does not know the kind."""
        version, kind = str(document["apiVersion"]), str(document["kind"])
        if (version, kind) not in self._kinds:
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            try:
                resources = (await self._client.request("GET", base)).json().get("resources", [])
            except ApiError as error:
                if error.status != 404:
                    raise
                resources = []
            for resource in resources:
                if "/" not in resource["name"]:
                    self._kinds[(version, resource["kind"])] = (
                        f"{base}\0{resource['name']}",
                        resource["namespaced"],
                    )
        if (version, kind) not in self._kinds:
            raise LabError(
                f"the API does not know {kind} of {version}; is its CustomResourceDefinition applied?"
            )
        joined, namespaced = self._kinds[(version, kind)]
        base, _, plural = joined.partition("\0")
        if not namespaced:
            return f"{base}/{plural}", ""
        namespace = document.get("metadata", {}).get("namespace") or self._namespace
        return f"{base}/namespaces/{namespace}/{plural}", namespace

    async def apply(self, document: Document) -> Outcome:
        """Create or merge one object. Raises ApiError if the API refuses it."""
        path, namespace = await self.path(document)
        metadata = document.get("metadata") or {}
        name = metadata.get("name", "")
        if not name and not metadata.get("generateName"):
            raise LabError(f"a {document['kind']} without metadata.name cannot be applied")
        if not name:
            created = await self._client.request("POST", path, body=document, query=_STRICT)
            return Outcome(str(document["kind"]), namespace, created.json()["metadata"]["name"], "created")
        answer = await self._client.request(
            "PATCH", f"{path}/{name}", body=document, content_type=APPLY_PATCH, query=_AS_THE_LAB
        )
        what = "created" if answer.status == 201 else "configured"
        return Outcome(str(document["kind"]), namespace, name, what)

    async def delete(self, document: Document) -> Outcome | None:
        """Delete one object; None if it was not there."""
        path, namespace = await self.path(document)
        name = (document.get("metadata") or {}).get("name", "")
        try:
            await self._client.delete(f"{path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return Outcome(str(document["kind"]), namespace, name, "deleted")


async def apply_all(
    client: RestClient, documents: Iterable[Document], namespace: str = "default"
) -> list[Outcome]:
    applier = Applier(client, namespace)
    return [await applier.apply(document) for document in documents]
