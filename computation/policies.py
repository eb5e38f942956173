"""Policies in the graph: which groups they use, their encoded body, and what is published of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apis.controlplane.records import PolicyRecord

if TYPE_CHECKING:
    from computation.groups import AddressGroup, AppliedToGroup
    from computation.namespaces import Namespace


class Policy:
    """One policy of a user. Replaced under its name by one with another uid, it is another policy.

    ``targets`` are the applied-to groups (one, for Kubernetes policies); ``addresses`` the distinct address
    groups of its rules. ``body`` is the encoded policy without metadata.
    """

    __slots__ = (
        "addresses",
        "body",
        "generation",
        "namespace",
        "record",
        "removed",
        "source_at",
        "targets",
        "uid",
    )

    def __init__(self, namespace: Namespace, uid: str) -> None:
        self.namespace = namespace
        self.uid = uid
        self.generation = 0
        self.targets: tuple[AppliedToGroup, ...] = ()
        self.addresses: tuple[AddressGroup, ...] = ()
        self.body = b""
        self.source_at = 0
        self.record: PolicyRecord | None = None
        self.removed = False

    def span(self) -> frozenset[str]:
        """The nodes of all pods that the policy applies to."""
        if len(self.targets) == 1:
            return self.targets[0].span
        return frozenset().union(*[target.span for target in self.targets])

    def new_record(self, span: frozenset[str]) -> PolicyRecord:
        return PolicyRecord(self.uid, self.generation, span, self.body, self.source_at)
