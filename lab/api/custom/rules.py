"""x-kubernetes-validations: which rules of a schema concern which values, and what kube-apiserver says of
those that do not hold (Kubernetes 1.34, validation rules of CustomResourceDefinitions).

Values are given to CEL as its types of the schema: numbers as doubles, properties under names that are
identifiers. Rules that name `oldSelf` are only asked where there is an old value: not in lists whose items
cannot be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from apiserver.documents.fielderrors import FieldErrors
from apiserver.errors import FieldError
from lab.api.custom.expressions import ENGINE, Asked, BudgetError

Schema = dict[str, Any]
KEY = "x-kubernetes-validations"
_NOTHING = object()
_OLD = re.compile(r"\boldSelf\b")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = re.compile(
    "true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|"
    "var|void|while"
)
_SIGNS = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_BLOCKING = frozenset(
    (
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to "
    "complete validation"
)
_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_REASONS = frozenset(
    ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
)


class Concern(NamedTuple):
    """A rule and a value that it is about."""

    rule: Schema
    path: str
    type: str
    value: Any
    old: Any


def found_in(schema: Any, path: str = "") -> Iterator[tuple[str, int, Schema]]:
    """Every rule of a schema, with the path of what carries it and its place there."""
    if not isinstance(schema, dict):
        return
    for i, rule in enumerate(schema.get(KEY) or ()):
        yield path, i, rule
    for name, part in (schema.get("properties") or {}).items():
        yield from found_in(part, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        yield from found_in(schema.get(key), f"{path}.{key}")


def mentions_old(rule: Schema) -> bool:
    return bool(_OLD.search(rule.get("rule", "")))


def identifier(name: str) -> str | None:
    """The name of a property in CEL, or None when it has none."""
    if _RESERVED.fullmatch(name):
        return f"__{name}__"
    for sign, word in _SIGNS:
        name = name.replace(sign, word)
    return name if _SIMPLE.match(name) else None


def typed(schema: Schema, value: Any) -> Any:
    """The value as CEL has it."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        made = {}
        for key, item in value.items():
            if key in properties:
                name = identifier(key)
                if name is not None:
                    made[name] = typed(properties[key], item)
            elif isinstance(additional, dict):
                made[key] = typed(additional, item)
        return made
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [typed(items, item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def concerns(schema: Schema, value: Any, old: Any, path: str = "") -> Iterator[Concern]:
    """The rules that are to be asked about a value. ``old`` is `_NOTHING` where there is none."""
    if value is None:
        return
    for rule in schema.get(KEY) or ():
        if not mentions_old(rule):
            yield Concern(rule, path, schema.get("type", ""), typed(schema, value), _NOTHING)
        elif old is not _NOTHING and old is not None:
            yield Concern(rule, path, schema.get("type", ""), typed(schema, value), typed(schema, old))
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, item in value.items():
            part = properties.get(key) or additional
            if isinstance(part, dict):
                here = key if not path else f"{path}.{key}" if key in properties else f"{path}[{key}]"
                yield from concerns(part, item, before.get(key, _NOTHING), here)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        counterparts = _by_keys(schema, old)
        for i, item in enumerate(value):
            before_item = counterparts.get(_keys(schema, item), _NOTHING)
            yield from concerns(schema["items"], item, before_item, f"{path}[{i}]")


def _keys(schema: Schema, item: Any) -> Any:
    names = schema.get("x-kubernetes-list-map-keys") or ()
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(item, dict):
        return None
    return tuple(str(item.get(name)) for name in names)


def _by_keys(schema: Schema, old: Any) -> dict[Any, Any]:
    if not isinstance(old, list):
        return {}
    found = {_keys(schema, item): item for item in old}
    found.pop(None, None)
    return found


def validate(schema: Schema, value: Any, old: Any, errors: FieldErrors) -> None:
    """Adds what the rules say, unless the object is too broken to ask. ``old`` None: a new object."""
    if any(error.reason in _BLOCKING for error in errors):
        errors.invalid("<nil>", None, _UNCHECKED)
        return
    listed = list(concerns(schema, value, _NOTHING if old is None else old))
    if not listed:
        return
    asked = [Asked(c.rule.get("rule", ""), c.rule.get("messageExpression", ""), _values(c)) for c in listed]
    try:
        verdicts = ENGINE.evaluate(asked)
    except BudgetError:
        errors.invalid("<nil>", None, _BUDGET)
        return
    for concern, verdict in zip(listed, verdicts, strict=True):
        if verdict.result is not True:
            errors.append(_error(concern, verdict.result, verdict.message))


def _values(concern: Concern) -> dict[str, Any]:
    values = {"self": concern.value}
    if concern.old is not _NOTHING:
        values["oldSelf"] = concern.old
    return values


def _error(concern: Concern, result: bool | str, made: str | None) -> FieldError:
    rule = concern.rule
    path = f"{concern.path}{rule.get('fieldPath', '')}".lstrip(".") or "<nil>"
    message = (rule.get("message") or "").strip() or f"failed rule: {rule.get('rule', '').strip()}"
    invalid = f'Invalid value: "{concern.type}": '
    if isinstance(result, str):
        if result == "no such overload":
            text = (
                f"'{result}': call arguments did not match a supported operator, function or macro signature "
                f"for rule: {message}"
            )
        elif result.startswith("operation cancelled"):
            text = (
                f"'{result}': no further validation rules will be run due to call cost exceeds limit for "
                f"rule: {message}"
            )
        else:
            text = f"{result} evaluating rule: {message}"
        return FieldError("FieldValueInvalid", path, invalid + text)
    message = made or message
    reason = rule.get("reason") or "FieldValueInvalid"
    heads = {
        "FieldValueForbidden": "Forbidden: ",
        "FieldValueRequired": "Required value: ",
        "FieldValueDuplicate": f'Duplicate value: "{concern.type}": ',
    }
    return FieldError(reason, path, heads.get(reason, invalid) + message)


def check_rules(schema: Schema, path: str, errors: FieldErrors) -> None:
    """Of a definition: rules that can be read, with a message where their text would not do as one."""
    listed = list(found_in(schema))
    if not listed:
        return
    try:
        complaints = ENGINE.compile([rule.get("rule", "") for _, _, rule in listed])
    except BudgetError:
        errors.forbidden(path, "the validation rules take too long to compile")
        return
    for (where, i, rule), complaint in zip(listed, complaints, strict=True):
        here = f"{path}{where}.{KEY}[{i}]"
        if not rule.get("rule", "").strip():
            errors.required(f"{here}.rule", "rule is not specified")
        elif complaint is not None:
            errors.invalid(f"{here}.rule", rule["rule"], f"compilation failed: {complaint}")
        if "\n" in rule.get("rule", "").strip() and not rule.get("message"):
            errors.required(f"{here}.message", "message must be specified if rule contains line breaks")
        if rule.get("reason") and rule["reason"] not in _REASONS:
            errors.not_supported(f"{here}.reason", rule["reason"], _REASONS)
        if rule.get("optionalOldSelf"):
            errors.forbidden(f"{here}.optionalOldSelf", "the lab's API has no optional oldSelf")
