"""ClusterGroup and Group: one way to select members, or a list of child groups, one level deep."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final

import msgspec

from apis.gojson import Named, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from client.resources import Resource
from controller.admission.known import Metadata, Table
from controller.admission.objects import (
    IPBlock,
    LabelSelector,
    NamespacedName,
    ObjectMeta,
    V1Beta1,
    fields_set,
)
from controller.admission.selectors import block_refusal, cidr, is_multicast, labels_refusal
from controller.inputs import Key

CHOICES: Final = {
    "ClusterGroup": (
        "At most one of podSelector, nodeSelector, externalEntitySelector, serviceReference, ipBlock, "
        "ipBlocks or childGroups can be set for a ClusterGroup"
    ),
    "Group": (
        "At most one of podSelector, externalEntitySelector, serviceReference, ipBlocks or childGroups "
        "can be set for a Group"
    ),
}
# The only two that may be set together with something.
_PAIRS: Final = (
    {"namespace_selector", "pod_selector"},
    {"namespace_selector", "external_entity_selector"},
)


class GroupSpec(V1Beta1):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_blocks: list[IPBlock] | None = None
    service_reference: NamespacedName | None = None
    external_entity_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    child_groups: list[Annotated[str, Named("v1beta1.ClusterGroupReference")]] | None = None


class ClusterGroup(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: GroupSpec | None = None


class Group(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: GroupSpec | None = None


class _ListedSpec(msgspec.Struct, rename="camel"):
    child_groups: tuple[str, ...] | None = None


class _Listed(msgspec.Struct):
    metadata: Metadata
    spec: _ListedSpec | None = None


class Groups(Table[tuple[str, ...]]):
    """The child groups of each group of one kind; and who is how often a child."""

    def __init__(self, resource: Resource, kind: str) -> None:
        self._parents: Counter[Key] = Counter()
        super().__init__(
            resource, kind, _Listed, lambda group: (group.spec.child_groups or ()) if group.spec else ()
        )

    def changed(self, key: Key, old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> None:
        for child in set(old or ()):
            self._parents[key[0], child] -= 1
            if not self._parents[key[0], child]:
                del self._parents[key[0], child]
        for child in set(new or ()):
            self._parents[key[0], child] += 1

    def children(self, key: Key) -> tuple[str, ...]:
        return self.objects.get(key, ())

    def parents(self, key: Key) -> int:
        return self._parents[key] if self.objects else 0


class GroupRules:
    """Checks writes of one of the two kinds."""

    def __init__(self, kind: type[ClusterGroup] | type[Group], groups: Groups) -> None:
        self._struct = kind
        self._kind = kind.__name__
        self._groups = groups

    def __call__(self, request: AdmissionRequest) -> Verdict:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        group = unmarshal(request.object, self._struct) if request.object else self._struct()
        metadata = group.metadata or ObjectMeta()
        namespace = (metadata.namespace or request.namespace) if self._struct is Group else ""
        refusal = self.refusal((namespace, metadata.name or ""), group.spec or GroupSpec())
        return refused(refusal) if refusal else ALLOWED

    def refusal(self, key: Key, spec: GroupSpec) -> str | None:
        chosen = set(fields_set(spec))
        if len(chosen) > 2 or (len(chosen) == 2 and chosen not in _PAIRS):
            return CHOICES[self._kind]
        return (
            labels_refusal((spec.pod_selector, spec.namespace_selector, spec.external_entity_selector))
            or _blocks_refusal(spec.ip_blocks or [])
            or self._children_refusal(key, spec.child_groups or [])
        )

    def _children_refusal(self, key: Key, children: list[str]) -> str | None:
        if not children:
            return None
        shown = self._shown(key)
        if key[1] in children:
            return f"cannot set {shown} as its own childGroup"
        if parents := self._groups.parents(key):
            return f"cannot set childGroups for {shown}, who has {parents} parents"
        for child in children:
            if grandchildren := len(self._groups.children((key[0], child))):
                return (
                    f"cannot set {self._shown((key[0], child))} as childGroup, "
                    f"who has {grandchildren} childGroups itself"
                )
        return None

    def _shown(self, key: Key) -> str:
        return f"{self._kind} {'/'.join(filter(None, key))}"


def _blocks_refusal(blocks: list[IPBlock]) -> str | None:
    multicast = unicast = False
    for block in blocks:
        if found := block_refusal(block):
            return found
        parsed = cidr(block.cidr or "")
        if parsed is not None and is_multicast(parsed):
            multicast = True
        else:
            unicast = True
    if multicast and unicast:
        return "can not set multicast groupAddress together with unicast ip address"
    return None
