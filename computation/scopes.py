"""Selections and scopes: where a selector looks, and what it has found there.

A *selection* is a pod selector inside a scope; all groups with equal selectors share it. A *scope* is where a
selection looks: one namespace, or the namespaces that a namespace selector selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from apis.labels import Selector
from apis.naming import group_name, normal_form
from computation.index import SelectorIndex
from computation.namespaces import LabelSet, Namespace

if TYPE_CHECKING:
    from computation.groups import AddressGroup, AppliedToGroup

# Below this number in one scope it is cheaper to look through all selections than to keep an index.
SELECTIONS_INDEX_FROM: Final = 16


class Selection:
    """A pod selector (None: not set, which selects every pod) inside a scope, and the groups made of it."""

    __slots__ = ("addresses", "applied_to", "label_sets", "name", "pod_selector", "scope")

    def __init__(self, scope: Scope, pod_selector: Selector | None) -> None:
        self.scope = scope
        self.pod_selector = pod_selector
        namespace = scope.namespace.name if scope.namespace is not None else ""
        self.name = group_name(normal_form(namespace, pod_selector, scope.selector))
        self.label_sets: dict[LabelSet, None] = {}  # an ordered set
        self.addresses: AddressGroup | None = None
        self.applied_to: AppliedToGroup | None = None

    def larger_than(self, number: int) -> bool:
        """Whether there are more pods than so many. Every label set has at least one."""
        label_sets = self.label_sets
        return len(label_sets) > number or sum([len(each.pods) for each in label_sets]) > number

    def matches(self, label_set: LabelSet) -> bool:
        return self.pod_selector is None or self.pod_selector.matches(label_set.labels)


def _pod_selector(selection: Selection) -> Selector | None:
    return selection.pod_selector


class Scope:
    """Where selections look: ``namespace``, or all namespaces that ``selector`` selects."""

    __slots__ = ("_index", "namespace", "namespaces", "selections", "selector")

    def __init__(self, namespace: Namespace | None, selector: Selector | None) -> None:
        self.namespace = namespace
        self.selector = selector
        self.namespaces: dict[Namespace, None] = {}
        self.selections: dict[str | None, Selection] = {}  # by the text of the pod selector
        self._index: SelectorIndex[Selection] | None = None

    def includes(self, namespace: Namespace) -> bool:
        """Whether the namespace, with the labels it has now, belongs here."""
        if self.selector is None:
            return namespace is self.namespace
        if self.selector.is_everything:
            return True
        return namespace.labels is not None and self.selector.matches(namespace.labels)

    def add(self, selection: Selection) -> None:
        selector = selection.pod_selector
        self.selections[None if selector is None else selector.text] = selection
        if self._index is not None:
            self._index.add(selection)

    def remove(self, selection: Selection) -> None:
        selector = selection.pod_selector
        del self.selections[None if selector is None else selector.text]
        if self._index is not None:
            self._index.remove(selection)

    def build_index(self) -> Iterator[None]:
        """Make the index that `candidates` would make at once, in steps."""
        if self._index is None:
            self._index = yield from SelectorIndex.build(_pod_selector, self.selections.values())

    def candidates(self, labels: Mapping[str, str]) -> Iterable[Selection]:
        """Selections among which are all that select these labels."""
        if len(self.selections) < SELECTIONS_INDEX_FROM:
            return self.selections.values()
        if self._index is None:
            self._index = SelectorIndex(_pod_selector, self.selections.values())
        return self._index.candidates(labels)


def link(selection: Selection, label_set: LabelSet) -> None:
    selection.label_sets[label_set] = None
    label_set.selections[selection] = None


def unlink(selection: Selection, label_set: LabelSet) -> None:
    del selection.label_sets[label_set]
    del label_set.selections[selection]


def enter(scope: Scope, namespace: Namespace) -> None:
    scope.namespaces[namespace] = None
    namespace.scopes[scope] = None


def leave(scope: Scope, namespace: Namespace) -> None:
    del scope.namespaces[namespace]
    del namespace.scopes[scope]
