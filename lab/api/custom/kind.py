"""The kind that one version of a CustomResourceDefinition brings to life."""

from __future__ import annotations

import copy
import datetime
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading, Kind
from apiserver.documents.schema import DecodeError
from apiserver.documents.shape import SchemaShape, Shape
from apiserver.resources import Object
from lab.api.custom import columns as printer
from lab.api.custom import rules
from lab.api.custom import schema as structural
from lab.api.custom.validation import validate
from lab.api.schema.decode import decode

_AGE = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


class CustomKind(Kind):
    """Everything is read from the definition; a changed definition makes a new CustomKind."""

    custom = True
    tracks_generation = True
    allows_unconditional_update = False

    def __init__(self, definition: Object, version: Object) -> None:
        spec = definition["spec"]
        names = spec["names"]
        self.group, self.version = spec["group"], version["name"]
        self.kind, self.plural = names["kind"], names["plural"]
        self.singular = names.get("singular") or self.kind.lower()
        self.list_kind = names.get("listKind") or self.kind + "List"
        self.short_names = tuple(names.get("shortNames", ()))
        self.categories = tuple(names.get("categories", ()))
        self.namespaced = spec["scope"] == "Namespaced"
        self.has_status = "status" in version.get("subresources", {})
        self.schema: Object = version.get("schema", {}).get("openAPIV3Schema", {})
        self._columns = version.get("additionalPrinterColumns") or _AGE
        self._table = printer.definitions(self._columns)
        self._fields = [item["jsonPath"] for item in version.get("selectableFields", ())]
        self._ruled = any(rules.found_in(self.schema))
        self.checks_slowly = self._ruled
        own = {name: self.schema.get("properties", {}).get(name, {}) for name in ("apiVersion", "kind")}
        texts = {"type": "object", "additionalProperties": {"type": "string"}}
        declared = {**self.schema.get("properties", {}), **own, "metadata": texts}
        self._ruled_schema = {**self.schema, "properties": declared}
        stored = next((v["name"] for v in spec["versions"] if v.get("storage")), self.version)
        asked = spec.get("conversion", {}).get("strategy") == "Webhook"
        self.converted_from = stored if asked and stored != self.version else ""  # by a webhook, from this
        if version.get("deprecated"):
            self.deprecation = version.get("deprecationWarning") or _deprecation(spec, self)
        self._preserve = bool(spec.get("preserveUnknownFields"))

    def decode(self, document: Object) -> tuple[Object, list[str]]:
        metadata = document.get("metadata", {})
        if not isinstance(metadata, dict):
            raise DecodeError("metadata must be an object")
        clean, unknown = decode("meta.ObjectMeta", metadata)
        body = {
            key: copy.deepcopy(item)
            for key, item in document.items()
            if key not in ("apiVersion", "kind", "metadata")
        }
        if self.schema and not self._preserve:
            unknown = [f"metadata.{path}" for path in unknown] + structural.prune(self.schema, body)
        return {"metadata": clean, **body}, unknown

    def default(self, obj: Object) -> None:
        structural.drop_nulls(self.schema, obj)
        structural.apply_defaults(self.schema, obj)

    def generation_part(self, obj: Object) -> Any:
        skipped = ("metadata", "status") if self.has_status else ("metadata",)
        return {key: value for key, value in obj.items() if key not in skipped}

    def shape(self) -> Shape:
        return SchemaShape(self.schema, root=True)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        self._validate(obj, None, errors)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        self._validate(new, old, errors)

    def validate_status(self, new: Object, old: Object, errors: FieldErrors) -> None:
        self._validate(new, old, errors)

    def _validate(self, obj: Object, old: Object | None, errors: FieldErrors) -> None:
        if not self.schema:
            return
        whole = self._whole(obj)
        validate(self.schema, whole, "", errors)
        if self._ruled:
            before = None if old is None else self._whole(old)
            rules.validate(self._ruled_schema, whole, before, errors)

    def _whole(self, obj: Object) -> Object:
        """The object as schema and rules see it: of the metadata only its names."""
        names = {key: obj["metadata"][key] for key in ("name", "generateName") if key in obj["metadata"]}
        return {**obj, "apiVersion": self.api_version, "kind": self.kind, "metadata": names}

    def fields(self, obj: Object) -> dict[str, str]:
        found = {}
        for path in self._fields:
            values = printer.find(path, obj)
            value = values[0] if values else ""
            found[path.lstrip(".")] = str(value).lower() if isinstance(value, bool) else str(value)
        return found

    @property
    def columns(self) -> tuple[Heading, ...]:
        return self._table

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [
            obj["metadata"]["name"],
            *(
                printer.cell(c.get("type", "string"), printer.find(c["jsonPath"], obj), now)
                for c in self._columns
            ),
        ]


def _deprecation(spec: Object, kind: Kind) -> str:
    """The warning for a deprecated version that brings none of its own."""
    warning = f"{kind.api_version} {kind.kind} is deprecated"
    newer = [v["name"] for v in spec["versions"] if v.get("served") and not v.get("deprecated")]
    return f"{warning}; use {kind.group}/{newer[0]} {kind.kind}" if newer else warning
