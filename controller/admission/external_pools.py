"""ExternalIPPool: ranges that overlap with no other pool's, and that stay."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from msgspec import MsgspecError

from apis.gojson import unmarshal
from apis.ippools import DisjointRanges
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from client.errors import ApiError, ConnectionFailed
from controller.admission.known_pools import ExternalIPPools, PoolsNow, Ranges
from controller.admission.objects import LabelSelector, ObjectMeta, V1Beta1
from controller.admission.pools import (
    IPRange,
    Refused,
    SubnetInfo,
    checked_ranges,
    removal_refusal,
)


class ExternalIPPoolSpec(V1Beta1):
    ip_ranges: list[IPRange] | None = None
    subnet_info: SubnetInfo | None = None
    node_selector: LabelSelector | None = None


class ExternalIPPool(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: ExternalIPPoolSpec | None = None

    @property
    def name(self) -> str:
        return (self.metadata.name or "") if self.metadata else ""

    @property
    def ranges(self) -> list[IPRange]:
        return (self.spec.ip_ranges if self.spec else None) or []


class ExternalIPPoolRules:
    def __init__(self, known: ExternalIPPools, now: PoolsNow) -> None:
        self._known = known
        self._now = now

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        new = unmarshal(request.object, ExternalIPPool) if request.object else ExternalIPPool()
        old = unmarshal(request.old, ExternalIPPool) if request.old else ExternalIPPool()
        try:
            ranges = checked_ranges(new.ranges, new.spec.subnet_info if new.spec else None)
        except Refused as error:
            return refused(str(error))
        removal = removal_refusal(old.ranges, new.ranges) if request.operation == "UPDATE" else None
        return self._among_others(new.name, ranges, removal)

    async def _among_others(self, name: str, ranges: DisjointRanges, otherwise: str | None) -> Verdict:
        """``otherwise`` is the refusal of a pool that overlaps with no other, None if there is none."""
        try:
            pools = await self._now.all()
        except (ApiError, ConnectionFailed, MsgspecError):
            pools = self._known.all()
        refusal = overlap_refusal(name, ranges, pools) or otherwise
        return refused(refusal) if refusal else ALLOWED


def overlap_refusal(name: str, ranges: DisjointRanges, pools: Mapping[str, Ranges]) -> str | None:
    """Whether a range is in another pool already."""
    for pool in sorted(pools.keys() - {name}):
        for other in pools[pool]:
            mine = ranges.overlapping(other)
            if mine is not None:
                return f"range [{mine.text}] overlaps with range [{other.text}] of ExternalIPPool {pool}"
    return None
