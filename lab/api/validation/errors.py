"""Field errors as Kubernetes words them: a type, a path, the bad value and a detail.

A validation function takes a `FieldErrors` and adds to it; nothing raises. The list becomes the message and
the causes of a Status with reason Invalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

_WORDS = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = frozenset(
    ("FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError")
)


def shown(value: Any) -> str:
    """A value as it stands in a message: strings quoted, numbers and booleans bare, the rest as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class FieldError(NamedTuple):
    type: str  # the cause's reason, such as FieldValueInvalid
    field: str
    value: Any
    detail: str

    @property
    def body(self) -> str:
        text = _WORDS[self.type]
        if self.type not in _WITHOUT_VALUE:
            text += f": {shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


class FieldErrors(list[FieldError]):
    """The errors found so far, in the order in which the cluster finds them."""

    def required(self, path: str, detail: str = "") -> None:
        self.append(FieldError("FieldValueRequired", path, "", detail))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueInvalid", path, value, detail))

    def invalids(self, path: str, value: Any, details: Iterable[str]) -> None:
        for detail in details:
            self.invalid(path, value, detail)

    def type_invalid(self, path: str, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueTypeInvalid", path, value, detail))

    def not_supported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        names = ", ".join(shown(str(item)) for item in supported)
        self.append(FieldError("FieldValueNotSupported", path, value, f"supported values: {names}"))

    def forbidden(self, path: str, detail: str) -> None:
        self.append(FieldError("FieldValueForbidden", path, "", detail))

    def duplicate(self, path: str, value: Any) -> None:
        self.append(FieldError("FieldValueDuplicate", path, value, ""))

    def not_found(self, path: str, value: Any) -> None:
        self.append(FieldError("FieldValueNotFound", path, value, ""))

    def too_long(self, path: str, limit: int) -> None:
        self.append(FieldError("FieldValueTooLong", path, "", f"may not be more than {limit} bytes"))

    def too_many(self, path: str, actual: int, limit: int) -> None:
        noun = "item" if limit == 1 else "items"
        self.append(FieldError("FieldValueTooMany", path, actual, f"must have at most {limit} {noun}"))

    def immutable(self, path: str, new: Any, old: Any, detail: str = "field is immutable") -> None:
        if new != old:
            self.invalid(path, new, detail)

    def text(self) -> str:
        """One error as it is, several in brackets; equal ones once."""
        unique = list(dict.fromkeys(str(error) for error in self))
        return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"

    def causes(self) -> list[dict[str, str]]:
        return [{"reason": error.type, "message": error.body, "field": error.field} for error in self]
