"""Which nodes have put which generation of a policy into force: what agents report, kept in memory.

Kinds with a status subresource get it written there; Kubernetes' NetworkPolicy has none, so its realization
is read at ``networkpolicies/NAME/status`` of controlplane.antrea.io.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apis.record import Change


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node's word on one policy."""

    generation: int
    failed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A policy's realization: how many of the nodes in its span have the given generation in force."""

    desired: int
    current: int
    failed: int

    @property
    def phase(self) -> str:
        """Upstream's word for it (Antrea v2.7, policy status)."""
        if self.current == self.desired:
            return "Realized"
        return "Failed" if self.current + self.failed == self.desired else "Realizing"


class Realization:
    """Reports by policy and node. ``published`` follows the store, so that what is gone is forgotten."""

    def __init__(self) -> None:
        self._reports: dict[str, dict[str, NodeReport]] = {}

    def report(self, policy: str, nodes: Iterable[Mapping[str, Any]]) -> None:
        known = self._reports.setdefault(policy, {})
        for node in nodes:
            name = node.get("nodeName", "")
            if name:
                known[name] = NodeReport(
                    int(node.get("generation", 0)),
                    bool(node.get("realizationFailure", False)),
                    str(node.get("message", "")),
                )

    def published(self, changes: Iterable[Change]) -> None:
        """Forget policies that are gone, and nodes that have left a policy's span."""
        for change in changes:
            if change.resource != "networkpolicies" or change.old is None:
                continue
            reports = self._reports.get(change.old.name)
            if reports is None:
                continue
            if change.new is None:
                del self._reports[change.old.name]
            elif change.old.span != change.new.span:
                span = change.new.span or frozenset()
                for node in [node for node in reports if node not in span]:
                    del reports[node]

    def of(self, policy: str) -> Mapping[str, NodeReport]:
        return self._reports.get(policy, {})

    def summary(self, policy: str, span: frozenset[str], generation: int) -> Summary:
        reports = self._reports.get(policy, {})
        current = failed = 0
        for node in span:
            report = reports.get(node)
            if report is not None and report.generation == generation:
                failed += report.failed
                current += not report.failed
        return Summary(len(span), current, failed)
