"""Label selectors of Kubernetes: how they are written, validated, matched and printed.

A label selector comes in two spellings, as a struct in objects (``matchLabels`` and ``matchExpressions``)
and as text in query strings (``app=web,tier in (a,b),!old``). Both become a `Selector`, whose `str` is the
canonical text that Antrea's group names are made of: requirements sorted by key, values sorted bytewise.

The rules are those of Kubernetes' apimachinery (pkg/labels). Everything that cannot be read raises
`SelectorError`, whose text is fit for a 400 Status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

# A key is [prefix/]name: the prefix a DNS subdomain, the name at most 63 characters; values likewise.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN: Final = re.compile(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)

IN: Final = "in"
NOT_IN: Final = "notin"
EXISTS: Final = "exists"
DOES_NOT_EXIST: Final = "!"
EQUALS: Final = "="
DOUBLE_EQUALS: Final = "=="
NOT_EQUALS: Final = "!="
GREATER: Final = ">"
LESS: Final = "<"

_STRUCT_OPERATORS: Final = {
    "In": IN,
    "NotIn": NOT_IN,
    "Exists": EXISTS,
    "DoesNotExist": DOES_NOT_EXIST,
}


class SelectorError(ValueError):
    """A selector that cannot be read; ``field`` is the path inside the struct ("" for selectors in text)."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class LabelSelectorRequirement(msgspec.Struct, frozen=True, gc=False):
    """One entry of ``matchExpressions``."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class LabelSelector(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """meta/v1 LabelSelector as objects carry it. Without labels and expressions it selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] | None = None


class Requirement:
    """One condition on one key. ``values`` are sorted and keep duplicates, as the canonical text does."""

    __slots__ = ("_positive", "key", "operator", "values")

    def __init__(self, key: str, operator: str, values: Iterable[str] = ()) -> None:
        self.key = key
        self.operator = operator
        self.values: tuple[str, ...] = tuple(sorted(values))
        self._positive = operator in (IN, EQUALS, DOUBLE_EQUALS)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Negative operators are true where the key is absent; > and < are false without an integer."""
        value = labels.get(self.key)
        if self._positive:
            return value in self.values
        operator = self.operator
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if value is None or not _INTEGER.fullmatch(value):
            return False
        bound = int(self.values[0])
        return int(value) > bound if operator == GREATER else int(value) < bound

    @property
    def positive_values(self) -> tuple[str, ...] | None:
        """The values of which the label must have one, or None where the operator names no such values."""
        return self.values if self._positive else None

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return "!" + self.key
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        return self.key + self.operator + self.values[0]

    def __repr__(self) -> str:
        return f"Requirement({self})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Requirement):
            return NotImplemented
        return (self.key, self.operator, self.values) == (other.key, other.operator, other.values)

    def __hash__(self) -> int:
        return hash((self.key, self.operator, self.values))


def _key_of(requirement: Requirement) -> str:
    return requirement.key


class Selector:
    """A conjunction of requirements; without any it matches everything. Immutable, equal by its text."""

    __slots__ = ("requirements", "text")

    def __init__(self, requirements: Iterable[Requirement] = ()) -> None:
        # The sort is by key alone and stable: requirements of one key keep the order they were written in.
        self.requirements: tuple[Requirement, ...] = tuple(sorted(requirements, key=_key_of))
        self.text = ",".join(map(str, self.requirements))

    @property
    def is_everything(self) -> bool:
        return not self.requirements

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels (None: without labels) is selected."""
        if labels is None:
            labels = {}
        for requirement in self.requirements:  # noqa: SIM110 - a loop takes half the time of all()
            if not requirement.matches(labels):
                return False
        return True

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


EVERYTHING: Final = Selector()


def problem_with_key(key: str) -> str | None:
    """Why a label key is not valid, as a sentence's end, or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"the prefix of the key {key!r} is not a DNS subdomain of at most 253 characters"
    if not name or len(name) > 63 or not _NAME.fullmatch(name):
        return (
            f"the name part of the key {key!r} must have 1 to 63 characters: letters, digits, '-', '_', '.', "
            "and begin and end with a letter or digit"
        )
    return None


def problem_with_value(value: str) -> str | None:
    """Why a label value is not valid, or None. The empty value is valid."""
    if value and (len(value) > 63 or not _NAME.fullmatch(value)):
        return (
            f"the value {value!r} must have at most 63 characters, letters, digits, '-', '_' or '.', "
            "and begin and end with a letter or digit"
        )
    return None


def requirement(key: str, operator: str, values: Iterable[str] = (), field: str = "") -> Requirement:
    """A validated requirement. ``field`` is where it was written, for the error."""
    made = Requirement(key, operator, values)
    problem = problem_with_key(key)
    if problem is None:
        if operator in (IN, NOT_IN):
            problem = None if made.values else f"operator {operator} on key {key!r} needs at least one value"
        elif operator in (EXISTS, DOES_NOT_EXIST):
            problem = f"the existence of key {key!r} is asked for with values" if made.values else None
        elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS):
            if len(made.values) != 1:
                problem = f"operator {operator} on key {key!r} needs exactly one value"
            elif operator in (GREATER, LESS) and not _INTEGER.fullmatch(made.values[0]):
                problem = f"operator {operator} on key {key!r} needs an integer, not {made.values[0]!r}"
        else:
            problem = f"{operator!r} is not a valid label selector operator"
    if problem is None:
        problem = next(filter(None, map(problem_with_value, made.values)), None)
    if problem is not None:
        raise SelectorError(problem, field)
    return made


def from_label_selector(selector: LabelSelector | None, field: str = "") -> Selector | None:
    """The selector an object carries; None stays None (what nil means is the reader's affair).

    ``field`` is the path of the selector in its object, for example ``spec.podSelector``.
    """
    if selector is None:
        return None
    requirements = []
    for key, value in (selector.match_labels or {}).items():
        requirements.append(requirement(key, EQUALS, (value,), f"{field}.matchLabels"))
    for index, expression in enumerate(selector.match_expressions or ()):
        path = f"{field}.matchExpressions[{index}]"
        operator = _STRUCT_OPERATORS.get(expression.operator)
        if operator is None:
            raise SelectorError(
                f"{expression.operator!r} is not a valid label selector operator", f"{path}.operator"
            )
        requirements.append(requirement(expression.key, operator, expression.values or (), path))
    return Selector(requirements) if requirements else EVERYTHING


# --- text -----------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")


def _tokens(text: str) -> list[str]:
    tokens = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        assert match is not None  # every character is a space, a sign or part of a word
        tokens.append(match[1])
        position = match.end()
    return tokens


def parse(text: str) -> Selector:
    """A label selector as query strings and ``kubectl -l`` write it. Empty text selects everything."""
    tokens = _tokens(text)
    position = 0

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def take() -> str:
        nonlocal position
        token = peek()
        position += 1
        return token

    def word(expected: str) -> str:
        token = take()
        if not token or token[0] in "=!<>(),":
            raise SelectorError(f"unable to parse requirement: found '{token}', expected: {expected}")
        return token

    def value() -> str:
        """A value may be missing, which is the empty string: ``a=`` and ``a=,b``."""
        return "" if peek() in ("", ",") else word("identifier")

    def values() -> list[str]:
        """``(a,b)``; an empty place between commas is the empty string."""
        if take() != "(":
            raise SelectorError("unable to parse requirement: expected: '('")
        found: list[str] = []
        while True:
            found.append("" if peek() in (",", ")") else word("identifier"))
            token = take()
            if token == ")":
                return found
            if token != ",":
                raise SelectorError(f"unable to parse requirement: found '{token}', expected: ',' or ')'")

    def made(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
        try:
            return requirement(key, operator, values)
        except SelectorError as error:
            raise SelectorError(f"unable to parse requirement: {error}") from None

    requirements = []
    while position < len(tokens):
        if peek() == "!":
            take()
            requirements.append(made(word("identifier"), DOES_NOT_EXIST))
        else:
            key = word("!, identifier, or 'end of string'")
            operator = peek()
            if operator in ("", ","):
                requirements.append(made(key, EXISTS))
            elif operator in (IN, NOT_IN):
                take()
                requirements.append(made(key, operator, values()))
            elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS):
                take()
                requirements.append(made(key, operator, (value(),)))
            else:
                raise SelectorError(
                    f"unable to parse requirement: found '{operator}', "
                    "expected: in, notin, =, ==, !=, gt, lt, ',' or 'end of string'"
                )
        separator = take()
        if separator == ",":
            if peek() == "" or peek() in ",=)(":
                raise SelectorError(
                    f"unable to parse requirement: found '{peek()}', expected: identifier after ','"
                )
        elif separator:
            raise SelectorError(
                f"unable to parse requirement: found '{separator}', expected: ',' or 'end of string'"
            )
    return Selector(requirements) if requirements else EVERYTHING
