"""The label and field selectors of list and watch requests, as query parameters write them.

Grammar and error texts are those of Kubernetes' labels.Parse and fields.ParseSelector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from apiserver.names import label_value_problem, qualified_name_problem

_TOKEN = re.compile(r"\s*(==|!=|=|!|<|>|\(|\)|,|[^\s=!<>(),]+)")


class SelectorError(ValueError):
    """The selector does not parse; the text is fit for a 400 answer."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector; ``operator`` is in, notin, exists, !, gt or lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        if value is None:
            return False
        try:
            number, bound = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A conjunction of requirements; none matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise SelectorError(f"unable to parse requirement: found {text[at:]!r}, expected: identifier")
            self._tokens.append(match[1])
            at = match.end()
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token


_SYMBOLS = frozenset({"", "=", "==", "!=", "!", "<", ">", "(", ")", ","})


def parse_labels(text: str) -> LabelSelector:
    """``a=b,c in (d,e),!f`` and the like. Raises SelectorError."""
    tokens = _Tokens(text)
    requirements: list[Requirement] = []
    if not tokens.peek():
        return LabelSelector()
    while True:
        requirements.append(_requirement(tokens))
        separator = tokens.take()
        if not separator:
            return LabelSelector(tuple(requirements))
        if separator != ",":
            raise SelectorError(f"found '{separator}', expected: ',' or 'end of string'")
        if not tokens.peek():
            raise SelectorError("found '', expected: identifier after ','")


def _requirement(tokens: _Tokens) -> Requirement:
    negated = tokens.peek() == "!"
    if negated:
        tokens.take()
    key = tokens.take()
    if key in _SYMBOLS:
        raise SelectorError(f"unable to parse requirement: found '{key}', expected: identifier")
    problem = qualified_name_problem(key)
    if problem is not None:
        raise SelectorError(f'unable to parse requirement: key: Invalid value: "{key}": {problem}')
    if negated:
        return Requirement(key, "!")
    operator = tokens.peek()
    if operator in ("", ","):
        return Requirement(key, "exists")
    tokens.take()
    if operator in ("=", "==", "!="):
        value = tokens.take() if tokens.peek() not in ("", ",") else ""
        if value in _SYMBOLS and value:
            raise SelectorError(f"unable to parse requirement: found '{value}', expected: identifier")
        return Requirement(key, "notin" if operator == "!=" else "in", frozenset({_checked(key, value)}))
    if operator in ("<", ">"):
        value = tokens.take()
        if not re.fullmatch(r"-?\d+", value):
            raise SelectorError(
                f"unable to parse requirement: values[0][{key}]: Invalid value: \"{value}\": for 'Gt', 'Lt' "
                "operators, the value must be an integer"
            )
        return Requirement(key, "gt" if operator == ">" else "lt", frozenset({value}))
    if operator in ("in", "notin"):
        return Requirement(key, operator, _values(key, tokens))
    raise SelectorError(
        f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
    )


def _values(key: str, tokens: _Tokens) -> frozenset[str]:
    if (opening := tokens.take()) != "(":
        raise SelectorError(f"unable to parse requirement: found '{opening}', expected: '('")
    values: set[str] = set()
    while True:
        value = tokens.peek()
        if value in (",", ")"):
            values.add("")
        else:
            tokens.take()
            if value in _SYMBOLS:
                raise SelectorError(
                    f"unable to parse requirement: found '{value}', expected: ',', ')' or identifier"
                )
            values.add(_checked(key, value))
        closing = tokens.take()
        if closing == ")":
            return frozenset(values)
        if closing != ",":
            raise SelectorError(f"unable to parse requirement: found '{closing}', expected: ',' or ')'")


def _checked(key: str, value: str) -> str:
    problem = label_value_problem(value)
    if problem is not None:
        raise SelectorError(
            f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {problem}'
        )
    return value


@dataclass(frozen=True, slots=True)
class FieldTerm:
    label: str
    value: str
    negated: bool = False


def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """``a=b,c!=d``; backslash escapes commas and equals signs in values. Raises SelectorError."""
    terms: list[FieldTerm] = []
    for part in re.findall(r"(?:[^,\\]|\\.)+", text):
        match = re.match(r"^((?:[^=!\\]|\\.)*)(!=|==|=)(.*)$", part, re.DOTALL)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, value = match.groups()
        if re.search(r"(?<!\\)=", value):
            raise SelectorError("invalid field selector: unescaped character in value: 61")
        terms.append(FieldTerm(label, re.sub(r"\\([\\,=])", r"\1", value), operator == "!="))
    return tuple(terms)
