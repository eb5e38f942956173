"""Which label sets a selection holds, kept up to date from both sides.

A *selection* is a pod selector inside a scope; all groups with equal selectors share it. A *scope* is where a
selection looks: one namespace, or the namespaces that a namespace selector selects. Matching is done once for
each pair of selection and label set, when either appears or when a namespace enters or leaves a scope; from
then on both sides know each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from apis.labels import Selector
from apis.naming import group_name, normal_form
from computation.index import LabelIndex, SelectorIndex
from computation.namespaces import LabelSet, Namespace

if TYPE_CHECKING:
    from computation.groups import AddressGroup, AppliedToGroup

# Below these numbers it is cheaper to look through everything than to keep an index.
SELECTIONS_INDEX_FROM: Final = 16  # in one scope
NAMESPACES_INDEX_FROM: Final = 16  # in the cluster
CLUSTER_INDEX_FROM: Final = 32  # namespaces in one scope, for the index over all label sets


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

    def candidates(self, labels: Mapping[str, str]) -> Iterable[Selection]:
        """Selections among which are all that select these labels."""
        if len(self.selections) < SELECTIONS_INDEX_FROM:
            return self.selections.values()
        if self._index is None:
            self._index = SelectorIndex(_pod_selector, self.selections.values())
        return self._index.candidates(labels)


def _namespace_selector(scope: Scope) -> Selector | None:
    return scope.selector


def link(selection: Selection, label_set: LabelSet) -> None:
    selection.label_sets[label_set] = None
    label_set.selections[selection] = None


def unlink(selection: Selection, label_set: LabelSet) -> None:
    del selection.label_sets[label_set]
    del label_set.selections[selection]


class Selections:
    """All scopes and selections of the cluster, and the matching between selections and label sets."""

    def __init__(self, namespaces: Mapping[str, Namespace]) -> None:
        self._namespaces = namespaces
        self._scopes: dict[str, Scope] = {}  # of namespace selectors, by their text
        self._scope_index: SelectorIndex[Scope] = SelectorIndex(_namespace_selector)
        # Made when the first selection or scope needs them: clusters without such selectors pay nothing.
        self._label_set_index: LabelIndex[LabelSet] | None = None
        self._namespace_index: LabelIndex[Namespace] | None = None

    # --- selections come and go ---

    def get(
        self, namespace: Namespace, pod_selector: Selector | None, namespace_selector: Selector | None
    ) -> Selection:
        """The selection of these selectors, made if need be. A namespace selector hides the namespace."""
        if namespace_selector is None:
            scope = namespace.own
            if scope is None:
                scope = namespace.own = Scope(namespace, None)
                scope.namespaces[namespace] = None
                namespace.scopes[scope] = None
        else:
            scope = self._scopes.get(namespace_selector.text) or self._add_scope(namespace_selector)
        text = None if pod_selector is None else pod_selector.text
        selection = scope.selections.get(text)
        if selection is None:
            selection = Selection(scope, pod_selector)
            scope.add(selection)
            found = self._label_sets_for(scope, pod_selector)
            if pod_selector is not None and not pod_selector.is_everything:
                found = [label_set for label_set in found if selection.matches(label_set)]
            # Of all pods of a large cluster there are many, and nothing may take long: no function calls.
            selection.label_sets = dict.fromkeys(found)
            for label_set in selection.label_sets:
                label_set.selections[selection] = None
        return selection

    def _add_scope(self, selector: Selector) -> Scope:
        scope = self._scopes[selector.text] = Scope(None, selector)
        self._scope_index.add(scope)
        namespaces: Iterable[Namespace] | None = None
        if len(self._namespaces) >= NAMESPACES_INDEX_FROM:
            if self._namespace_index is None:
                self._namespace_index = LabelIndex(self._namespaces.values())
            namespaces = self._namespace_index.candidates(selector)
        if namespaces is None:
            namespaces = self._namespaces.values()
        if not selector.is_everything:
            namespaces = filter(scope.includes, namespaces)
        scope.namespaces = dict.fromkeys(namespaces)
        for namespace in scope.namespaces:
            namespace.scopes[scope] = None
        return scope

    def _label_sets_for(self, scope: Scope, selector: Selector | None) -> Iterable[LabelSet]:
        if scope.namespace is not None:
            return scope.namespace.candidates(selector)
        if selector is not None and len(scope.namespaces) >= CLUSTER_INDEX_FROM:
            if self._label_set_index is None:
                self._label_set_index = LabelIndex(
                    label_set for each in self._namespaces.values() for label_set in each.label_sets.values()
                )
            found = self._label_set_index.candidates(selector)
            if found is not None:
                return [label_set for label_set in found if label_set.namespace in scope.namespaces]
        if selector is None:
            return [label_set for each in scope.namespaces for label_set in each.label_sets.values()]
        return [label_set for each in scope.namespaces for label_set in each.candidates(selector)]

    def discard_unused(self, selection: Selection) -> Namespace | None:
        """Forget the selection if no group is made of it; the namespace that has no other selection now."""
        if selection.addresses is not None or selection.applied_to is not None:
            return None
        for label_set in selection.label_sets:
            del label_set.selections[selection]
        selection.label_sets.clear()
        scope = selection.scope
        scope.remove(selection)
        if scope.selections:
            return None
        for namespace in scope.namespaces:
            del namespace.scopes[scope]
        if scope.namespace is None:
            assert scope.selector is not None
            del self._scopes[scope.selector.text]
            self._scope_index.remove(scope)
            return None
        scope.namespace.own = None
        return scope.namespace

    # --- label sets come and go ---

    def add_label_set(self, label_set: LabelSet) -> None:
        """Link a new label set, which has no pods yet, to the selections that match it."""
        label_set.namespace.add_label_set(label_set)
        if self._label_set_index is not None:
            self._label_set_index.add(label_set)
        for scope in label_set.namespace.scopes:
            for selection in scope.candidates(label_set.labels):
                if selection.matches(label_set):
                    link(selection, label_set)

    def remove_label_set(self, label_set: LabelSet) -> None:
        """Forget a label set, which has no pods any more."""
        for selection in list(label_set.selections):
            unlink(selection, label_set)
        label_set.namespace.remove_label_set(label_set)
        if self._label_set_index is not None:
            self._label_set_index.remove(label_set)

    # --- namespaces come, go and change labels ---

    def add_namespace(self, namespace: Namespace) -> None:
        """Put a new namespace, without labels or pods yet, into the scopes that include every namespace."""
        for scope in self._scope_index.candidates({}):
            if scope.includes(namespace):
                scope.namespaces[namespace] = None
                namespace.scopes[scope] = None

    def remove_namespace(self, namespace: Namespace) -> None:
        """Forget a namespace without labels, pods and selections of its own."""
        for scope in namespace.scopes:
            del scope.namespaces[namespace]

    def relabel(
        self, namespace: Namespace, labels: Mapping[str, str] | None
    ) -> tuple[list[tuple[Selection, LabelSet]], list[tuple[Selection, LabelSet]]]:
        """Give the namespace its labels (None: the object is gone); the pairs linked and unlinked by it."""
        if self._namespace_index is not None:
            self._namespace_index.remove(namespace)
        namespace.labels = labels
        if self._namespace_index is not None:
            self._namespace_index.add(namespace)
        unlinked: list[tuple[Selection, LabelSet]] = []
        linked: list[tuple[Selection, LabelSet]] = []
        left = [scope for scope in namespace.scopes if not scope.includes(namespace)]
        for scope in left:
            unlinked.extend(self._leave(scope, namespace))
        for scope in self._scope_index.candidates(labels or {}):
            if scope not in namespace.scopes and scope.includes(namespace):
                linked.extend(self._enter(scope, namespace))
        return linked, unlinked

    def _enter(self, scope: Scope, namespace: Namespace) -> list[tuple[Selection, LabelSet]]:
        scope.namespaces[namespace] = None
        namespace.scopes[scope] = None
        pairs = [
            (selection, label_set)
            for label_set in namespace.label_sets.values()
            for selection in scope.candidates(label_set.labels)
            if selection.matches(label_set)
        ]
        for selection, label_set in pairs:
            link(selection, label_set)
        return pairs

    def _leave(self, scope: Scope, namespace: Namespace) -> list[tuple[Selection, LabelSet]]:
        del scope.namespaces[namespace]
        del namespace.scopes[scope]
        pairs = [
            (selection, label_set)
            for label_set in namespace.label_sets.values()
            for selection in label_set.selections
            if selection.scope is scope
        ]
        for selection, label_set in pairs:
            unlink(selection, label_set)
        return pairs
