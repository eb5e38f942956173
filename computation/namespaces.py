"""A namespace as the graph sees it: its labels, its pods by label set, its policies, and who looks at it.

Pods of one namespace with equal labels are one *label set*, and selectors are matched against label sets: a
cluster has far fewer of them than pods, so that a change of a selector costs in proportion to what it
touches.

Namespaces come to be when anything names them: pods and policies may be known before their Namespace object.
As long as that object is not known, no namespace selector but the empty one selects the namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from apis.controlplane.wire import namespace_field
from apis.labels import Selector
from computation.index import LabelIndex

if TYPE_CHECKING:
    from computation.pods import Endpoint
    from computation.policies import Policy
    from computation.scopes import Scope, Selection

# Below this many label sets a namespace is looked through; only above it pays to keep an index of its own.
INDEX_FROM: Final = 8


class LabelSet:
    """The pods of one namespace that carry the same labels, and the selections that select them."""

    __slots__ = ("key", "labels", "namespace", "pods", "selections")

    def __init__(self, namespace: Namespace, key: bytes, labels: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.key = key
        self.labels = labels  # with the service account as one more label
        self.pods: dict[str, Endpoint] = {}
        self.selections: dict[Selection, None] = {}  # an ordered set


class Namespace:
    """One namespace. ``labels`` is None while no Namespace object is known."""

    __slots__ = (
        "_index",
        "field",
        "label_sets",
        "labels",
        "logging",
        "name",
        "own",
        "pods",
        "policies",
        "scopes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.field = namespace_field(name)  # as it stands in each of its pods' references
        self.labels: Mapping[str, str] | None = None
        self.logging = False
        self.pods: dict[str, Endpoint] = {}
        self.label_sets: dict[bytes, LabelSet] = {}
        self.policies: dict[str, Policy] = {}
        self.own: Scope | None = None  # the selections that name this namespace
        self.scopes: dict[Scope, None] = {}  # all scopes that it is in, ``own`` among them
        self._index: LabelIndex[LabelSet] | None = None

    @property
    def unused(self) -> bool:
        """Whether nothing needs this namespace any more."""
        return self.labels is None and not self.pods and not self.policies and self.own is None

    def add_label_set(self, label_set: LabelSet) -> None:
        self.label_sets[label_set.key] = label_set
        if self._index is not None:
            self._index.add(label_set)

    def remove_label_set(self, label_set: LabelSet) -> None:
        del self.label_sets[label_set.key]
        if self._index is not None:
            self._index.remove(label_set)

    def build_index(self) -> Iterator[None]:
        """Make the index that `candidates` would make at once, in steps."""
        if self._index is None:
            self._index = yield from LabelIndex.build(self.label_sets.values())

    def candidates(self, selector: Selector | None) -> Iterable[LabelSet]:
        """Label sets of this namespace among which are all that the selector matches."""
        if selector is None or len(self.label_sets) < INDEX_FROM:
            return self.label_sets.values()
        if self._index is None:
            self._index = LabelIndex(self.label_sets.values())
        found = self._index.candidates(selector)
        return self.label_sets.values() if found is None else found
