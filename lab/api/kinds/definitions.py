"""apiextensions.k8s.io/v1 CustomResourceDefinition."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.custom import columns as printer
from lab.api.custom import patterns, rules
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import NAME

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


class Definitions(BuiltIn):
    group, version, kind = "apiextensions.k8s.io", "v1", "CustomResourceDefinition"
    plural, singular, namespaced = "customresourcedefinitions", "customresourcedefinition", False
    short_names, categories = ("crd", "crds"), ("api-extensions",)
    type_name = "apiextensions.CustomResourceDefinition"
    has_status = True
    tracks_generation = True
    checks_slowly = True  # rules are compiled by another process
    table = (NAME, Heading("Created At", type="date"))

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        kind = names.get("kind", "")
        if kind:
            names.setdefault("singular", kind.lower())
            names.setdefault("listKind", kind + "List")
        conversion = spec.setdefault("conversion", {"strategy": "None"})
        service = conversion.get("webhook", {}).get("clientConfig", {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        for version in spec.get("versions", ()):
            version.setdefault("served", False)
            version.setdefault("storage", False)

    def prepare_create(self, obj: Object) -> None:
        stored = [v["name"] for v in obj["spec"].get("versions", ()) if v.get("storage") and v.get("name")]
        obj["status"] = {
            "conditions": [],
            "acceptedNames": {"kind": "", "plural": ""},
            "storedVersions": stored,
        }

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        stored = list(new.get("status", {}).get("storedVersions", ()))
        for version in new["spec"].get("versions", ()):
            label = version.get("name")
            if version.get("storage") and label and label not in stored:
                stored.append(label)
        new["status"] = {**new.get("status", {}), "storedVersions": stored}

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        self._validate(obj, (), errors)

    def _validate(self, obj: Object, known: Sequence[Object], errors: FieldErrors) -> None:
        """``known`` are schemas whose rules have been read before."""
        spec = obj["spec"]
        group, names, versions = spec.get("group", ""), spec.get("names", {}), spec.get("versions", ())
        plural = names.get("plural", "")
        name = obj["metadata"].get("name", "")
        if name and group and plural and name != f"{plural}.{group}":
            errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
        if not group:
            errors.required("spec.group")
        else:
            errors.invalids("spec.group", group, formats.dns_subdomain(group))
            if "." not in group:
                errors.invalid("spec.group", group, "should be a domain with at least one dot")
        if spec.get("scope") not in ("Cluster", "Namespaced"):
            errors.not_supported("spec.scope", spec.get("scope", ""), ("Cluster", "Namespaced"))
        for field in ("plural", "kind"):
            if not names.get(field):
                errors.required(f"spec.names.{field}")
        for field in ("plural", "singular"):
            if names.get(field):
                errors.invalids(f"spec.names.{field}", names[field], formats.dns1035_label(names[field]))
        for field in ("kind", "listKind"):
            if names.get(field):
                problems = formats.dns1035_label(names[field].lower())
                if problems:
                    errors.invalid(
                        f"spec.names.{field}",
                        names[field],
                        "may have mixed case, but should otherwise match: " + problems[0],
                    )
        if names.get("kind") and names.get("kind") == names.get("listKind"):
            errors.invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
        _validate_conversion(spec.get("conversion", {}), errors)
        if not versions or sum(bool(version.get("storage")) for version in versions) != 1:
            errors.invalid(
                "spec.versions", list(versions), "must have exactly one version marked as storage version"
            )
        seen: set[str] = set()
        for i, version in enumerate(versions):
            path = f"spec.versions[{i}]"
            label = version.get("name", "")
            errors.invalids(f"{path}.name", label, formats.dns1035_label(label))
            if label in seen:
                errors.invalid("spec.versions", list(versions), "must contain unique version names")
            seen.add(label)
            schema = version.get("schema", {}).get("openAPIV3Schema")
            if schema is None:
                errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
            else:
                where = f"{path}.schema.openAPIV3Schema"
                _validate_schema(schema, where, True, errors)
                if schema not in known:
                    rules.check_rules(schema, where, errors)
            for j, column in enumerate(version.get("additionalPrinterColumns", ())):
                _validate_column(column, f"{path}.additionalPrinterColumns[{j}]", errors)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        known = [v.get("schema", {}).get("openAPIV3Schema", {}) for v in old["spec"].get("versions", ())]
        self._validate(new, known, errors)
        established = any(
            c.get("type") == "Established" and c.get("status") == "True"
            for c in old.get("status", {}).get("conditions", ())
        )
        if established:
            errors.immutable("spec.scope", new["spec"].get("scope"), old["spec"].get("scope"))
            errors.immutable(
                "spec.names.kind",
                new["spec"].get("names", {}).get("kind"),
                old["spec"].get("names", {}).get("kind"),
            )
        errors.immutable("spec.group", new["spec"].get("group"), old["spec"].get("group"))
        errors.immutable(
            "spec.names.plural",
            new["spec"].get("names", {}).get("plural"),
            old["spec"].get("names", {}).get("plural"),
        )

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


def _validate_conversion(conversion: Object, errors: FieldErrors) -> None:
    path = "spec.conversion"
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    if strategy not in ("None", "Webhook"):
        errors.not_supported(f"{path}.strategy", strategy, ("None", "Webhook"))
    elif strategy == "None":
        if webhook is not None:
            errors.forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
    elif webhook is None or not webhook.get("clientConfig"):
        errors.required(f"{path}.webhook.clientConfig", "required when strategy is set to Webhook")
    else:
        config = webhook["clientConfig"]
        if ("url" in config) == ("service" in config):
            words = "exactly one of url or service is required"
            errors.required(f"{path}.webhook.clientConfig", words)
        reviews = webhook.get("conversionReviewVersions") or ()
        if not {"v1", "v1beta1"} & set(reviews):
            words = "must include at least one of v1, v1beta1"
            errors.invalid(f"{path}.webhook.conversionReviewVersions", list(reviews), words)


def _validate_column(column: Object, path: str, errors: FieldErrors) -> None:
    if not column.get("name"):
        errors.required(f"{path}.name")
    if column.get("type") not in _COLUMN_TYPES:
        errors.invalid(f"{path}.type", column.get("type", ""), f"must be one of {','.join(_COLUMN_TYPES)}")
    text = column.get("jsonPath", "")
    if not text:
        errors.required(f"{path}.jsonPath")
        return
    try:
        printer.parse(text)
    except printer.PathError as problem:
        errors.invalid(f"{path}.jsonPath", text, str(problem))


def _validate_schema(schema: Any, path: str, root: bool, errors: FieldErrors) -> None:
    """Structural rules: a type everywhere, known types, patterns that compile."""
    if not isinstance(schema, dict):
        errors.invalid(path, schema, "must be an object")
        return
    kind = schema.get("type", "")
    if root and kind != "object":
        errors.invalid(f"{path}.type", kind, "must be object at the root")
    open_ended = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if not kind and not open_ended:
        errors.required(f"{path}.type", "must not be empty for specified object fields")
    elif kind and kind not in _TYPES:
        errors.not_supported(f"{path}.type", kind, _TYPES)
    _validate_patterns(schema, path, errors)
    if schema.get("properties") and schema.get("additionalProperties"):
        errors.forbidden(
            f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    for name, part in (schema.get("properties") or {}).items():
        _validate_schema(part, f"{path}.properties[{name}]", False, errors)
    if kind == "array" and "items" not in schema:
        errors.required(f"{path}.items", "must be specified")
    elif isinstance(schema.get("items"), dict):
        _validate_schema(schema["items"], f"{path}.items", False, errors)
    if isinstance(schema.get("additionalProperties"), dict):
        _validate_schema(schema["additionalProperties"], f"{path}.additionalProperties", False, errors)


def _validate_patterns(schema: Object, path: str, errors: FieldErrors) -> None:
    """The pattern here, and those of the alternatives, which have no structure of their own."""
    pattern = schema.get("pattern")
    if pattern:
        try:
            patterns.compiled(pattern)
        except patterns.PatternError as problem:
            words = f"must be a valid regular expression, but isn't: {problem}"
            errors.invalid(f"{path}.pattern", pattern, words)
    for key in ("allOf", "anyOf", "oneOf"):
        for i, part in enumerate(schema.get(key) or ()):
            _validate_alternative(part, f"{path}.{key}[{i}]", errors)
    if isinstance(schema.get("not"), dict):
        _validate_alternative(schema["not"], f"{path}.not", errors)


def _validate_alternative(schema: Any, path: str, errors: FieldErrors) -> None:
    if not isinstance(schema, dict):
        return
    _validate_patterns(schema, path, errors)
    for name, part in (schema.get("properties") or {}).items():
        _validate_alternative(part, f"{path}.properties[{name}]", errors)
    for key in ("items", "additionalProperties"):
        _validate_alternative(schema.get(key), f"{path}.{key}", errors)
