"""The links between selections and label sets that may take long to make, made in steps.

A new selection may match every label set of the cluster, and a namespace with other labels may move 100,000
pods from one group to another. Inputs only note such work; a flush does it before it tells anything, in
steps. Between two steps each group can be read as it was last told: pods are first noted as changed, then
linked or unlinked, and a reader undoes what is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from computation.index import LabelIndex, SelectorIndex
from computation.namespaces import LabelSet, Namespace
from computation.scopes import Scope, Selection, enter, leave, link, unlink
from computation.steps import Work, chunks

if TYPE_CHECKING:
    from computation.pods import Endpoint

# Below these numbers it is cheaper to look through everything than to keep an index.
NAMESPACES_INDEX_FROM: Final = 16  # in the cluster
CLUSTER_INDEX_FROM: Final = 32  # namespaces in one scope, for the index over all label sets

Touch = Callable[[Sequence[Selection], Namespace, str, "Endpoint | None", "Endpoint | None"], None]
"""(selections, namespace, name of the pod, its version in them before, its version in them now)"""


class Links:
    """What is still to be linked. Each of the sets is empty after `settle`."""

    def __init__(self, namespaces: Mapping[str, Namespace], scope_index: SelectorIndex[Scope]) -> None:
        self._namespaces = namespaces
        self._scope_index = scope_index
        # Made when the first selection or scope needs them: clusters without such selectors pay nothing.
        self.label_set_index: LabelIndex[LabelSet] | None = None
        self.namespace_index: LabelIndex[Namespace] | None = None
        self.scopes: dict[Scope, None] = {}  # new ones, which do not have their namespaces yet
        self.crowded: dict[Scope, None] = {}  # those with so many selections that they need an index
        self.moved: dict[Namespace, None] = {}  # those whose labels are not what their scopes are for
        self.unmatched: dict[Selection, None] = {}  # new ones, which do not have all label sets yet

    def __bool__(self) -> bool:
        return bool(self.scopes or self.crowded or self.moved or self.unmatched)

    def settle(self, touch: Touch) -> Iterator[None]:
        """Does all of it, in this order: matching a selection needs its scope's namespaces."""
        work = Work()
        for scope in self.scopes:
            yield from self._fill(scope, work)
        self.scopes.clear()
        for scope in self.crowded:
            yield from scope.build_index()
        self.crowded.clear()
        for namespace in self.moved:
            yield from self._move(namespace, touch, work)
        self.moved.clear()
        for selection in self.unmatched:
            yield from self._match(selection, work)
        self.unmatched.clear()

    def _fill(self, scope: Scope, work: Work) -> Iterator[None]:
        selector = scope.selector
        assert selector is not None
        namespaces: Iterable[Namespace] | None = None
        if not selector.is_everything and len(self._namespaces) >= NAMESPACES_INDEX_FROM:
            if self.namespace_index is None:
                self.namespace_index = yield from LabelIndex.build(self._namespaces.values())
            namespaces = self.namespace_index.candidates(selector)
        for part in chunks(self._namespaces.values() if namespaces is None else namespaces):
            for namespace in part:
                if scope.includes(namespace):
                    enter(scope, namespace)
            if work.done(len(part)):
                yield

    @staticmethod
    def match(selection: Selection, candidates: Iterable[LabelSet]) -> None:
        """Link a new selection at once to those of some label sets that it matches."""
        selector = selection.pod_selector
        if selector is None or selector.is_everything:
            selection.label_sets = dict.fromkeys(candidates)
        else:
            matches = selector.matches
            selection.label_sets = dict.fromkeys([each for each in candidates if matches(each.labels)])
        for label_set in selection.label_sets:
            label_set.selections[selection] = None

    def _match(self, selection: Selection, work: Work) -> Iterator[None]:
        scope, selector = selection.scope, selection.pod_selector
        candidates: Iterable[LabelSet] | None = None
        if scope.namespace is not None:
            yield from scope.namespace.build_index()
            candidates = scope.namespace.candidates(selector)
        elif selector is not None and len(scope.namespaces) >= CLUSTER_INDEX_FROM:
            if self.label_set_index is None:
                everywhere = (
                    label_set for each in self._namespaces.values() for label_set in each.label_sets.values()
                )
                self.label_set_index = yield from LabelIndex.build(everywhere)
            found = self.label_set_index.candidates(selector)
            if found is not None:
                inside = scope.namespaces
                candidates = (label_set for label_set in found if label_set.namespace in inside)
        if candidates is None:
            candidates = (label_set for each in scope.namespaces for label_set in each.candidates(selector))
        everything = selector is None or selector.is_everything
        for part in chunks(candidates):
            for label_set in part:
                if everything or selection.matches(label_set):
                    link(selection, label_set)
            if work.done(len(part)):
                yield

    def _move(self, namespace: Namespace, touch: Touch, work: Work) -> Iterator[None]:
        """Let the namespace leave and enter scopes as its labels are now."""
        left: set[Scope] = set()
        for scope in namespace.scopes:
            if not scope.includes(namespace):
                left.add(scope)
            if work.done():
                yield
        entered: list[Scope] = []
        for part in chunks(self._scope_index.candidates(namespace.labels or {})):
            entered.extend(
                scope for scope in part if scope not in namespace.scopes and scope.includes(namespace)
            )
            if work.done(len(part)):
                yield
        for label_set in namespace.label_sets.values():
            if left:
                for selection in [each for each in label_set.selections if each.scope in left]:
                    yield from self._change(selection, label_set, touch, work, linked=True)
            for scope in entered:
                for selection in scope.candidates(label_set.labels):
                    if selection.matches(label_set):
                        yield from self._change(selection, label_set, touch, work, linked=False)
                if work.done():
                    yield
        for scope in left:
            leave(scope, namespace)
        for scope in entered:
            enter(scope, namespace)

    @staticmethod
    def _change(
        selection: Selection, label_set: LabelSet, touch: Touch, work: Work, linked: bool
    ) -> Iterator[None]:
        """Unlink a selection and a label set that are linked, or link them; their pods are noted first."""
        one = [selection]
        for part in chunks(label_set.pods.items()):
            if work.done(len(part)):
                yield
            for name, endpoint in part:
                if linked:
                    touch(one, label_set.namespace, name, endpoint, None)
                else:
                    touch(one, label_set.namespace, name, None, endpoint)
        if linked:
            unlink(selection, label_set)
        else:
            link(selection, label_set)
