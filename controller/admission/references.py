"""How many policies name a Tier: all that its rules need to know of 75,000 policies."""

from __future__ import annotations

import sys
from collections import Counter

import msgspec

from client.resources import Resource
from controller.admission.known import Metadata, Table
from controller.inputs import Key


class _Spec(msgspec.Struct):
    tier: str | None = None


class _Policy(msgspec.Struct):
    metadata: Metadata
    spec: _Spec | None = None


class TierReferences(Table[str]):
    """The tier of each policy of one kind, as it is written in ``spec.tier``."""

    def __init__(self, resource: Resource, kind: str) -> None:
        self._counts: Counter[str] = Counter()
        super().__init__(resource, kind, _Policy, _tier)

    def changed(self, key: Key, old: str | None, new: str | None) -> None:
        if old is not None:
            self._counts[old] -= 1
        if new is not None:
            self._counts[new] += 1

    def count(self, tier: str) -> int:
        """How many policies name the Tier. Raises StatusError (503) while that is not known."""
        return self._counts[tier] if self.objects else 0


def _tier(policy: _Policy) -> str:
    return sys.intern((policy.spec.tier or "") if policy.spec else "")
