"""The computation as a whole: objects of Kubernetes go in, changes of policies and groups come out.

    pods ──▶ label sets ◀──▶ selections ◀── policies
                                 │             │
                                 ▼             ▼
              applied-to groups, address groups, policies ──▶ flush

Everything is a plain function call in one thread. Inputs update the graph at once, or note what may take
long; `Graph.flush` then yields at most one change for each object that is different from what was last told
(see computation.flushing for the one exception). Whatever the order of the inputs, the state is that of the
objects now present.

No step is long, whatever the size of the cluster: an input does the work of one object, and `Graph.steps` is
a flush with a pause at least every few milliseconds, at which the caller may do something else, and at which
everything that was told before can be read as it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from apis.controlplane import wire
from apis.kubernetes.core import Namespace as KubernetesNamespace
from apis.kubernetes.core import Node, Pod
from apis.kubernetes.networking import NetworkPolicy
from apis.record import Change
from computation.errors import MalformedObject
from computation.flushing import Pending, Step
from computation.groups import AddressGroup, AppliedToGroup
from computation.namespaces import LabelSet, Namespace
from computation.pods import Endpoint, labels_key, members, pod_labels
from computation.policies import Policy
from computation.scopes import Selection
from computation.selections import Selections
from computation.translation import Translation, Translator, Warn, encode_rule

# How Go's strconv.ParseBool reads the logging annotation.
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def _no_warning(message: str) -> None:
    """For callers that do not care."""


class Graph:
    """The incremental computation. Not thread-safe; no inputs while a flush is open.

    ``warn`` is called with a sentence for what is odd and was passed over. An object that cannot be used at
    all raises `MalformedObject`, and then the graph is as it was before.
    """

    def __init__(self, warn: Warn = _no_warning) -> None:
        self._warn = warn
        self._namespaces: dict[str, Namespace] = {}
        self._selections = Selections(self._namespaces)
        self._translator = Translator(warn)
        self._pending = Pending(self._discard)

    # --- pods ---

    def upsert_pod(self, pod: Pod) -> None:
        """Raises MalformedObject."""
        name = pod.metadata.name
        if not name or not pod.metadata.namespace:
            raise MalformedObject(
                "Pod", pod.metadata.namespace, name, "metadata", "name and namespace must be set"
            )
        namespace = self._namespace(pod.metadata.namespace)
        try:
            address, target, node = members(pod, namespace.field)
        except MalformedObject:
            self._tidy(namespace)
            raise
        key = labels_key(pod)
        label_set = namespace.label_sets.get(key)
        if label_set is None:
            label_set = LabelSet(namespace, key, pod_labels(pod))
            self._selections.add_label_set(label_set)
        before = namespace.pods.get(name)
        if before is not None:
            if (
                before.label_set is label_set
                and before.address == address
                and before.target == target
                and before.node == node
            ):
                return
            del before.label_set.pods[name]
        after = Endpoint(label_set, address, target, node)
        namespace.pods[name] = after
        label_set.pods[name] = after
        if before is None:
            if label_set.selections:
                self._touch(label_set.selections, namespace, name, None, after)
            return
        if before.label_set is label_set:
            self._touch(label_set.selections, namespace, name, before, after)
            return
        left = [each for each in before.label_set.selections if each not in label_set.selections]
        both = [each for each in before.label_set.selections if each in label_set.selections]
        entered = [each for each in label_set.selections if each not in before.label_set.selections]
        self._touch(left, namespace, name, before, None)
        self._touch(both, namespace, name, before, after)
        self._touch(entered, namespace, name, None, after)
        if not before.label_set.pods:
            self._selections.remove_label_set(before.label_set)

    def delete_pod(self, namespace: str, name: str) -> None:
        """Nothing happens where no such pod is known; so with all deletions."""
        place = self._namespaces.get(namespace)
        before = place.pods.pop(name, None) if place is not None else None
        if place is None or before is None:
            return
        label_set = before.label_set
        del label_set.pods[name]
        self._touch(label_set.selections, place, name, before, None)
        if not label_set.pods:
            self._selections.remove_label_set(label_set)
            self._tidy(place)

    def _touch(
        self,
        selections: Sequence[Selection] | dict[Selection, None],
        namespace: Namespace,
        name: str,
        before: Endpoint | None,
        after: Endpoint | None,
    ) -> None:
        """Tell the groups of the selections that a pod changed for them."""
        key = (namespace.name, name)
        for selection in selections:
            addresses, applied_to = selection.addresses, selection.applied_to
            if addresses is not None and addresses.touch(key, before, after):
                self._pending.addresses[addresses] = None
            if applied_to is not None and applied_to.touch(key, before, after):
                self._pending.applied_to[applied_to] = None

    # --- namespaces ---

    def upsert_namespace(self, namespace: KubernetesNamespace) -> None:
        """Raises MalformedObject."""
        meta = namespace.metadata
        if not meta.name:
            raise MalformedObject("Namespace", "", "", "metadata.name", "it must be set")
        place = self._namespace(meta.name)
        labels = meta.labels or {}
        if place.labels != labels:
            self._selections.relabel(place, labels)
        annotation = meta.annotations.enable_logging if meta.annotations is not None else None
        if annotation is not None and annotation not in _TRUE and annotation not in _FALSE:
            self._warn(
                f"Namespace {meta.name}: the annotation for logging says {annotation!r}, neither true nor "
                "false; its policies are not logged"
            )
        self._set_logging(place, annotation in _TRUE)

    def delete_namespace(self, name: str) -> None:
        """What the namespace contains is deleted by its own events, before or after."""
        place = self._namespaces.get(name)
        if place is None:
            return
        if place.labels is not None:
            self._selections.relabel(place, None)
        self._set_logging(place, False)
        self._tidy(place)

    def _set_logging(self, namespace: Namespace, logging: bool) -> None:
        if namespace.logging != logging:
            namespace.logging = logging
            if namespace.policies:
                self._pending.logging[namespace] = None

    def _namespace(self, name: str) -> Namespace:
        namespace = self._namespaces.get(name)
        if namespace is None:
            namespace = self._namespaces[name] = Namespace(name)
            self._selections.add_namespace(namespace)
        return namespace

    def _tidy(self, namespace: Namespace) -> None:
        """Forget a namespace that nothing needs any more."""
        if namespace.unused:
            self._selections.remove_namespace(namespace)
            del self._namespaces[namespace.name]

    # --- nodes ---

    def upsert_node(self, node: Node) -> None:
        """Nodes take part through node selectors and Services, which Kubernetes policies do not have: nothing
        follows from a Node yet. Raises MalformedObject."""
        if not node.metadata.name:
            raise MalformedObject("Node", "", "", "metadata.name", "it must be set")

    def delete_node(self, name: str) -> None:
        """See `upsert_node`."""

    # --- policies ---

    def upsert_network_policy(self, policy: NetworkPolicy) -> None:
        """Raises MalformedObject."""
        meta = policy.metadata
        if not (meta.name and meta.namespace and meta.uid):
            raise MalformedObject(
                "NetworkPolicy", meta.namespace, meta.name, "metadata", "name, namespace and uid must be set"
            )
        translation = self._translator.translate(policy)
        namespace = self._namespace(meta.namespace)
        known = namespace.policies.get(meta.name)
        if known is not None and known.uid != meta.uid:
            self._remove_policy(known)
            known = None
        if known is None:
            known = namespace.policies[meta.name] = Policy(namespace, meta.uid)
            ended = self._pending.ended.pop(meta.uid, None)
            if ended is not None:  # gone and back in one batch: for the readers it never went
                known.record, ended.record = ended.record, None
        known.generation = meta.generation
        self._build(known, translation, meta.name)
        self._pending.policies[known] = None

    def delete_network_policy(self, namespace: str, name: str) -> None:
        place = self._namespaces.get(namespace)
        policy = place.policies.pop(name, None) if place is not None else None
        if policy is not None:
            self._remove_policy(policy)

    def _build(self, policy: Policy, translation: Translation, name: str) -> None:
        """Give the policy its groups and its body."""
        namespace = policy.namespace
        target = self._applied_to(self._selections.get(namespace, translation.applied_to, None))
        used: dict[AddressGroup, None] = {}
        encoded = []
        for rule in translation.rules:
            names = []
            for peer in rule.peers:
                group = self._addresses(self._selections.get(namespace, peer.pods, peer.namespaces))
                names.append(group.name)
                used[group] = None
            encoded.append(encode_rule(rule, names, namespace.logging))
        self._assign(policy, (target,), tuple(used))
        rules = b"".join(encoded)
        applied_to = wire.applied_to_field(target.name)
        source = wire.source_field(b"K8sNetworkPolicy", namespace.field, name, policy.uid)
        policy.body = rules + applied_to + source
        policy.source_at = len(rules) + len(applied_to)

    def _assign(
        self, policy: Policy, targets: tuple[AppliedToGroup, ...], addresses: tuple[AddressGroup, ...]
    ) -> None:
        """Let the policy use these groups and no others, and note all groups whose use changes."""
        if targets == policy.targets and addresses == policy.addresses:
            return
        for target in targets:
            target.policies[policy] = None
            if target.record is None:
                self._pending.applied_to[target] = None
        for group in addresses:
            self._pending.addresses[group] = None
            for target in targets:
                group.use(target)
        for group in policy.addresses:
            self._pending.addresses[group] = None
            for target in policy.targets:
                group.release(target)
        for target in policy.targets:
            if target not in targets:
                del target.policies[policy]
                if target.unused:
                    self._pending.applied_to[target] = None
        policy.targets, policy.addresses = targets, addresses

    def _remove_policy(self, policy: Policy) -> None:
        self._assign(policy, (), ())
        policy.removed = True
        self._pending.policies[policy] = None
        self._pending.ended[policy.uid] = policy
        self._tidy(policy.namespace)

    @staticmethod
    def _addresses(selection: Selection) -> AddressGroup:
        if selection.addresses is None:
            selection.addresses = AddressGroup(selection)
        return selection.addresses

    @staticmethod
    def _applied_to(selection: Selection) -> AppliedToGroup:
        if selection.applied_to is None:
            selection.applied_to = AppliedToGroup(selection)
        return selection.applied_to

    def _discard(self, group: AddressGroup | AppliedToGroup) -> Iterator[None]:
        """Forget a group that nothing uses and whose end was told."""
        selection = group.selection
        if isinstance(group, AddressGroup):
            selection.addresses = None
        else:
            selection.applied_to = None
        freed = yield from self._selections.release(selection)
        if freed is not None:
            self._tidy(freed)

    # --- out ---

    @property
    def dirty(self) -> bool:
        """Whether a flush has something to do."""
        return bool(self._pending or self._selections.links)

    def flush(self) -> Iterator[Change]:
        """The changes since the last flush, in causal order. Run it to its end before the next input."""
        return filter(None, self.steps())

    def steps(self) -> Iterator[Step]:
        """A flush with its pauses: each item is a change, or None where a step only did work."""
        return self._steps() if self._selections.links else self._pending.flush()

    def _steps(self) -> Iterator[Step]:
        yield from self._selections.settle(self._touch)
        yield from self._pending.flush()
