"""Tiers: how many there may be, which priorities are free, which may not be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from apis.gojson import Int32, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from client.errors import ApiError, ConnectionFailed
from client.resources import TIERS
from client.rest import RestClient
from controller.admission.known import Metadata, Table
from controller.admission.objects import ObjectMeta, V1Beta1
from controller.admission.references import TierReferences

MAXIMUM: Final = 20  # built-in ones included
RESERVED: Final = frozenset({251, 252, 254, 255})
UPSTREAM_PRIORITY: Final = 220  # where policies of policy.networking.k8s.io with tier Admin are put

LOOK_UP_SECONDS: Final = 2.0  # of the five that kube-apiserver waits for a webhook

BUILT_IN: Final[Mapping[str, int]] = {
    "emergency": 50,
    "securityops": 100,
    "networkops": 150,
    "platform": 200,
    "application": 250,
    "baseline": 253,
}


class TierSpec(V1Beta1):
    priority: Int32 | None = None
    description: str | None = None


class Tier(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: TierSpec | None = None

    @property
    def name(self) -> str:
        return (self.metadata.name or "") if self.metadata else ""

    @property
    def priority(self) -> int:
        return (self.spec.priority or 0) if self.spec else 0


class _ListedSpec(msgspec.Struct):
    priority: int = 0


class _Listed(msgspec.Struct):
    metadata: Metadata
    spec: _ListedSpec | None = None


class Tiers(Table[int]):
    """The priority of each Tier."""

    def __init__(self) -> None:
        super().__init__(TIERS, "Tier", _Listed, lambda tier: tier.spec.priority if tier.spec else 0)

    def has(self, name: str) -> bool:
        return ("", name) in self.objects

    def priorities(self) -> set[int]:
        return set(self.objects.values())


async def look_up(client: RestClient, name: str) -> bool:
    """Whether the cluster has the Tier at this moment; False also where nobody can say."""
    try:
        await client.request("GET", TIERS.path(name), timeout=LOOK_UP_SECONDS)
    except (ApiError, ConnectionFailed):
        return False
    return True


class TierRules:
    """Checks writes of Tiers. ``account`` is the controller's user name: it may change priorities."""

    def __init__(
        self,
        tiers: Tiers,
        cluster_policies: TierReferences,
        policies: TierReferences,
        *,
        account: str,
        upstream_policies: bool,
    ) -> None:
        self._tiers = tiers
        self._cluster_policies = cluster_policies
        self._policies = policies
        self._account = account
        self._upstream_policies = upstream_policies

    def __call__(self, request: AdmissionRequest) -> Verdict:
        new = unmarshal(request.object, Tier) if request.object else Tier()
        old = unmarshal(request.old, Tier) if request.old else Tier()
        refusal = None
        if request.operation == "CREATE":
            refusal = self.create(new)
        elif request.operation == "UPDATE":
            refusal = self.update(new, old, request.user.name)
        elif request.operation == "DELETE":
            refusal = self.delete(old.name or request.name)
        return refused(refusal) if refusal else ALLOWED

    def create(self, new: Tier) -> str | None:
        taken = self._tiers.priorities()
        if len(taken) >= MAXIMUM:
            return f"maximum number of Tiers supported: {MAXIMUM}"
        if new.priority in RESERVED:
            return f"tier {new.name} priority {new.priority} is reserved"
        if self._upstream_policies and new.priority == UPSTREAM_PRIORITY:
            return (
                f"tier {new.name} priority {new.priority} is reserved for upstream ClusterNetworkPolicy "
                "when the ClusterNetworkPolicy feature gate is enabled; choose a different priority"
            )
        if new.priority in taken:
            return f"tier {new.name} priority {new.priority} overlaps with existing Tier"
        return None

    def update(self, new: Tier, old: Tier, user: str) -> str | None:
        if new.priority != old.priority and user != self._account:
            return "update to Tier priority is not allowed"
        return None

    def delete(self, name: str) -> str | None:
        if name in BUILT_IN:
            return f"cannot delete reserved tier {name}"
        if number := self._cluster_policies.count(name):
            return f"tier {name} is referenced by {number} Antrea ClusterNetworkPolicies"
        if number := self._policies.count(name):
            return f"tier {name} is referenced by {number} Antrea NetworkPolicies"
        return None
