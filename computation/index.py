"""The two inverted indexes of the graph: from a selector to what it may match, and from labels to selectors.

Both are filters: what they return has to be checked with the selector itself. Both start from a positive
requirement (the label must have one of some values, or exist); negative ones exclude too little to look up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from apis.labels import EXISTS, Selector
from computation.steps import chunks


class Labelled(Protocol):
    @property
    def labels(self) -> Mapping[str, str] | None: ...


L = TypeVar("L", bound=Labelled)
T = TypeVar("T")


class LabelIndex(Generic[L]):
    """Which of many labelled things a selector may match: label key → value → things."""

    __slots__ = ("_keys",)

    def __init__(self, things: Iterable[L] = ()) -> None:
        self._keys: dict[str, dict[str, dict[L, None]]] = {}
        for thing in things:
            self.add(thing)

    @classmethod
    def build(cls, things: Iterable[L]) -> Generator[None, None, LabelIndex[L]]:
        """The index of many things, in steps."""
        index = cls()
        for part in chunks(things):
            for thing in part:
                index.add(thing)
            yield
        return index

    def add(self, thing: L) -> None:
        for key, value in (thing.labels or {}).items():
            self._keys.setdefault(key, {}).setdefault(value, {})[thing] = None

    def remove(self, thing: L) -> None:
        """``thing.labels`` must be what they were when it was added."""
        for key, value in (thing.labels or {}).items():
            values = self._keys[key]
            del values[value][thing]
            if not values[value]:
                del values[value]
                if not values:
                    del self._keys[key]

    def candidates(self, selector: Selector) -> list[L] | None:
        """Things among which are all that the selector matches, by its rarest positive requirement.

        None where it has no such requirement: any thing may match.
        """
        best: list[dict[L, None]] | None = None
        fewest = 0
        for requirement in selector.requirements:
            values = self._keys.get(requirement.key, {})
            if requirement.positive_values is not None:
                found = [values[value] for value in set(requirement.positive_values) if value in values]
            elif requirement.operator == EXISTS:
                found = list(values.values())
            else:
                continue
            size = sum(map(len, found))
            if best is None or size < fewest:
                best, fewest = found, size
        return None if best is None else [thing for some in best for thing in some]


class SelectorIndex(Generic[T]):
    """Which of many things that have a selector may match given labels.

    Each is filed under one of its positive requirements, preferably one with values, and can only match
    labels that have it. A selector without such a requirement, or None, may match anything.
    """

    __slots__ = ("_places", "_selector_of")

    def __init__(self, selector_of: Callable[[T], Selector | None], things: Iterable[T] = ()) -> None:
        self._selector_of = selector_of
        # Filed under (key, value), under a key alone, or under None.
        self._places: dict[tuple[str, str] | str | None, dict[T, None]] = {}
        for thing in things:
            self.add(thing)

    @classmethod
    def build(
        cls, selector_of: Callable[[T], Selector | None], things: Iterable[T]
    ) -> Generator[None, None, SelectorIndex[T]]:
        """The index of many things, in steps."""
        index = cls(selector_of)
        for part in chunks(things):
            for thing in part:
                index.add(thing)
            yield
        return index

    def _names(self, thing: T) -> list[tuple[str, str]] | list[str | None]:
        selector = self._selector_of(thing)
        key = None
        for requirement in () if selector is None else selector.requirements:
            values = requirement.positive_values
            if values is not None:
                return [(requirement.key, value) for value in set(values)]
            if requirement.operator == EXISTS and key is None:
                key = requirement.key
        return [key]

    def add(self, thing: T) -> None:
        for name in self._names(thing):
            self._places.setdefault(name, {})[thing] = None

    def remove(self, thing: T) -> None:
        for name in self._names(thing):
            place = self._places[name]
            del place[thing]
            if not place:
                del self._places[name]

    def candidates(self, labels: Mapping[str, str]) -> list[T]:
        """Each thing comes once: it is filed under several values of one key at most, and labels have one."""
        places = self._places
        found = list(places.get(None, ()))
        for pair in labels.items():
            found.extend(places.get(pair, ()))
            found.extend(places.get(pair[0], ()))
        return found
