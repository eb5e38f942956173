"""The list that validation adds to: what is wrong with which field, in the order in which it was found.

A validation function takes a `FieldErrors` and adds to it; nothing raises. The list becomes the message and
the causes of a Status with reason Invalid (apiserver.errors, which has the words).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver import errors
from apiserver.errors import FieldError, shown


class FieldErrors(list[FieldError]):
    """The errors found so far, in the order in which the cluster finds them."""

    def required(self, path: str, detail: str = "") -> None:
        self.append(errors.required(path, detail))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self.append(errors.invalid_value(path, value, detail))

    def invalids(self, path: str, value: Any, details: Iterable[str]) -> None:
        for detail in details:
            self.invalid(path, value, detail)

    def type_invalid(self, path: str, value: Any, detail: str) -> None:
        message = f"Invalid value: {shown(value)}: {detail}"
        self.append(FieldError("FieldValueTypeInvalid", path, message))

    def not_supported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        self.append(errors.not_supported(path, value, [str(item) for item in supported]))

    def forbidden(self, path: str, detail: str) -> None:
        self.append(errors.forbidden_value(path, detail))

    def duplicate(self, path: str, value: Any) -> None:
        self.append(errors.duplicate(path, value))

    def not_found(self, path: str, value: Any) -> None:
        self.append(FieldError("FieldValueNotFound", path, f"Not found: {shown(value)}"))

    def too_long(self, path: str, limit: int) -> None:
        self.append(errors.too_long(path, limit))

    def too_many(self, path: str, actual: int, limit: int) -> None:
        noun = "item" if limit == 1 else "items"
        message = f"Too many: {shown(actual)}: must have at most {limit} {noun}"
        self.append(FieldError("FieldValueTooMany", path, message))

    def immutable(self, path: str, new: Any, old: Any, detail: str = "field is immutable") -> None:
        if new != old:
            self.invalid(path, new, detail)
