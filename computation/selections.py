"""All selections and scopes of the cluster, as policies, pods and namespaces come and go.

Matching is done once for each pair of selection and label set, when either appears or when a namespace enters
or leaves a scope; from then on both sides know each other. What may take long is put off until the next
flush: see computation.links.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from apis.labels import Selector
from computation import steps
from computation.index import SelectorIndex
from computation.links import Links, Touch
from computation.namespaces import LabelSet, Namespace
from computation.scopes import Scope, Selection, leave, link, unlink
from computation.steps import chunks


def _namespace_selector(scope: Scope) -> Selector | None:
    return scope.selector


class Selections:
    """Every scope and selection, and the links between selections and label sets."""

    def __init__(self, namespaces: Mapping[str, Namespace]) -> None:
        self._namespaces = namespaces
        self._scopes: dict[str, Scope] = {}  # of namespace selectors, by their text
        self._scope_index: SelectorIndex[Scope] = SelectorIndex(_namespace_selector)
        self.links = Links(namespaces, self._scope_index)

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
            if len(scope.selections) == steps.STEP:
                self.links.crowded[scope] = None
            if namespace_selector is None and len(namespace.label_sets) <= steps.STEP:
                self.links.match(selection, namespace.candidates(pod_selector))
            else:
                self.links.unmatched[selection] = None
        return selection

    def _add_scope(self, selector: Selector) -> Scope:
        scope = self._scopes[selector.text] = Scope(None, selector)
        self._scope_index.add(scope)
        self.links.scopes[scope] = None
        return scope

    def release(self, selection: Selection) -> Generator[None, None, Namespace | None]:
        """Forget the selection if no group is made of it, in steps; the namespace that then has no other
        selection of its own."""
        if selection.addresses is not None or selection.applied_to is not None:
            return None
        selection.scope.remove(selection)
        if len(selection.label_sets) > steps.STEP:
            for part in chunks(list(selection.label_sets)):
                for label_set in part:
                    unlink(selection, label_set)
                yield
        for label_set in selection.label_sets:
            del label_set.selections[selection]
        selection.label_sets.clear()
        scope = selection.scope
        if scope.selections:
            return None
        if len(scope.namespaces) > steps.STEP:
            for names in chunks(list(scope.namespaces)):
                for namespace in names:
                    leave(scope, namespace)
                yield
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
        if self.links.label_set_index is not None:
            self.links.label_set_index.add(label_set)
        for scope in label_set.namespace.scopes:
            for selection in scope.candidates(label_set.labels):
                if selection.matches(label_set):
                    link(selection, label_set)

    def remove_label_set(self, label_set: LabelSet) -> None:
        """Forget a label set, which has no pods any more."""
        for selection in list(label_set.selections):
            unlink(selection, label_set)
        label_set.namespace.remove_label_set(label_set)
        if self.links.label_set_index is not None:
            self.links.label_set_index.remove(label_set)

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
        self.links.moved.pop(namespace, None)

    def relabel(self, namespace: Namespace, labels: Mapping[str, str] | None) -> None:
        """Give the namespace its labels (None: the object is gone). Its pods enter and leave later."""
        index = self.links.namespace_index
        if index is not None:
            index.remove(namespace)
        namespace.labels = labels
        if index is not None:
            index.add(namespace)
        if self._scopes:
            self.links.moved[namespace] = None

    def settle(self, touch: Touch) -> Iterator[None]:
        """Bring all links up to date, in steps; ``touch`` is told of each pod that enters or leaves."""
        return self.links.settle(touch)
