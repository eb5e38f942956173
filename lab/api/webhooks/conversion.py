"""Versions of custom resources in each other's form: ConversionReview (apiextensions.k8s.io/v1)."""

from __future__ import annotations

import uuid
from typing import Any

from apiserver import errors
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.webhooks.caller import Caller, CallError

_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_SECONDS = 30.0
_GROUP = "apiextensions.k8s.io"
_TYPE = ("kind", "apiVersion")


class Conversions:
    """Converts as each definition says: by a new apiVersion alone, or by asking its webhook."""

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller

    async def convert(self, kind: Kind, objects: list[Object], version: str) -> list[Object]:
        """The objects, given with kind and apiVersion, in a version. Raises StatusError (500)."""
        wanted = f"{kind.group}/{version}" if kind.group else version
        definition = self._registry.get(_DEFINITIONS, "", kind.resource) if kind.custom else None
        conversion = definition["spec"].get("conversion", {}) if definition is not None else {}
        if conversion.get("strategy") != "Webhook":
            return [{**obj, "apiVersion": wanted} for obj in objects]
        asked = [obj for obj in objects if obj["apiVersion"] != wanted]
        if not asked:
            return objects
        subject = f"conversion webhook for {asked[0]['apiVersion']}, Kind={kind.kind}"
        made = await self._ask(conversion.get("webhook") or {}, subject, asked, wanted)
        converted = iter(
            _accepted(subject, i, before, after, wanted)
            for i, (before, after) in enumerate(zip(asked, made, strict=True))
        )
        return [obj if obj["apiVersion"] == wanted else next(converted) for obj in objects]

    async def _ask(self, webhook: Object, subject: str, objects: list[Object], wanted: str) -> list[Any]:
        known = webhook.get("conversionReviewVersions") or ()
        review = next((version for version in known if version in ("v1", "v1beta1")), "")
        if not review:
            raise errors.internal(f"{subject} failed: it accepts no known ConversionReview version")
        question = {
            "kind": "ConversionReview",
            "apiVersion": f"{_GROUP}/{review}",
            "request": {"uid": str(uuid.uuid4()), "desiredAPIVersion": wanted, "objects": objects},
        }
        config = webhook.get("clientConfig") or {}
        try:
            answer = await self._caller.ask(config, question, _SECONDS)
        except CallError as error:
            raise errors.internal(f"{subject} failed: {error}") from None
        response = answer.get("response") if isinstance(answer, dict) else None
        if not isinstance(response, dict):
            raise errors.internal(f"invalid response from {subject}: no response provided")
        if response.get("uid") != question["request"]["uid"]:  # type: ignore[index]
            raise errors.internal(
                f'invalid response from {subject}: expected response.uid="{question["request"]["uid"]}", '  # type: ignore[index]
                f'got "{response.get("uid", "")}"'
            )
        result = response.get("result")
        if not isinstance(result, dict) or result.get("status") != "Success":
            why = (result.get("message") if isinstance(result, dict) else "") or "response.result.status was"
            if why == "response.result.status was":
                status = result.get("status", "") if isinstance(result, dict) else ""
                why += f" '{status}', not 'Success'"
            raise errors.internal(f"{subject} failed: {why}")
        made = response.get("convertedObjects")
        if not isinstance(made, list) or len(made) != len(objects):
            count = len(made) if isinstance(made, list) else 0
            raise errors.internal(f"{subject} returned {count} objects, expected {len(objects)}")
        return made


def _accepted(subject: str, index: int, before: Object, after: Any, wanted: str) -> Object:
    """The converted object with the original's metadata, but for what conversion may change."""
    prefix = f"{subject} returned invalid converted object at index {index}: "
    if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
        raise errors.internal(prefix + "invalid type")
    if after.get("apiVersion") != wanted:
        given = after.get("apiVersion", "")
        raise errors.internal(prefix + f"invalid groupVersion (expected {wanted}, received {given})")
    if after.get("kind") != before["kind"]:
        given = after.get("kind", "")
        raise errors.internal(prefix + f"invalid kind (expected {before['kind']}, received {given})")
    old, new = before["metadata"], after["metadata"]
    for key in ("name", "namespace", "uid"):
        if new.get(key, "") != old.get(key, ""):
            raise errors.internal(
                f"invalid metadata in object at index {index}: {subject} must not change metadata.{key}"
            )
    metadata = {key: value for key, value in old.items() if key not in ("labels", "annotations")}
    metadata |= {key: new[key] for key in ("labels", "annotations") if new.get(key)}
    return {**after, "metadata": metadata}


class ConvertedForms:
    """Between one version of a definition and the one in which it stores (apiserver.documents.pending)."""

    def __init__(self, conversions: Conversions, kind: Kind, storage: str) -> None:
        self._conversions = conversions
        self._kind = kind
        self._storage = storage

    async def shown(self, document: Object) -> Object:
        return (await self.shown_all([document]))[0]

    async def shown_all(self, documents: list[Object]) -> list[Object]:
        return await self._converted(documents, self._storage, self._kind.version)

    async def kept(self, document: Object) -> Object:
        return (await self._converted([document], self._kind.version, self._storage))[0]

    async def _converted(self, documents: list[Object], start: str, end: str) -> list[Object]:
        kind = self._kind
        head = {"kind": kind.kind, "apiVersion": f"{kind.group}/{start}"}
        made = await self._conversions.convert(kind, [{**head, **document} for document in documents], end)
        return [{key: value for key, value in obj.items() if key not in _TYPE} for obj in made]
