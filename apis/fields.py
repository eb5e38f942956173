"""Field selectors of Kubernetes, ``metadata.name=x,nodeName!=y``: each term compares one field's text.

The rules are those of Kubernetes' apimachinery (pkg/fields). Which fields exist is the resource's affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from apis.labels import SelectorError


class FieldTerm(msgspec.Struct, frozen=True):
    """One comparison of a field selector: ``field`` = ``value``, or != where ``negated``."""

    field: str
    value: str
    negated: bool = False


class FieldSelector:
    """A conjunction of field comparisons; which fields exist is the resource's affair."""

    __slots__ = ("terms",)

    def __init__(self, terms: Iterable[FieldTerm] = ()) -> None:
        self.terms = tuple(terms)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """A field that the object does not have counts as the empty string."""
        return all((fields.get(term.field, "") == term.value) != term.negated for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The value that the field must have, or None where it may have several."""
        return next((term.value for term in self.terms if term.field == field and not term.negated), None)

    def __str__(self) -> str:
        return ",".join(
            f"{term.field}{'!=' if term.negated else '='}{_escape(term.value)}" for term in self.terms
        )


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescape(value: str) -> str:
    """``\\\\``, ``\\,`` and ``\\=`` stand for the second character; an unescaped = or , is an error."""
    result: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence \\{following}")
            result.append(following)
        elif character in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            result.append(character)
    return "".join(result)


def parse_fields(text: str) -> FieldSelector:
    """A field selector as query strings write it. Empty text (and empty terms) select everything."""
    terms = []
    for part in re.findall(r"(?:\\.|[^,\\])+|\\$", text, re.DOTALL):
        match = re.match(r"((?:[^=!\\]|!(?!=))*)(!=|==|=)(.*)", part, re.DOTALL)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(FieldTerm(match[1], _unescape(match[3]), match[2] == "!="))
    return FieldSelector(terms)
