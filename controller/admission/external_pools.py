"""ExternalIPPool: ranges that overlap with no other pool's, and that stay."""

from __future__ import annotations

from apis.gojson import unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from controller.admission.objects import LabelSelector, ObjectMeta, V1Beta1
from controller.admission.pools import (
    ExternalIPPools,
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
    def __init__(self, pools: ExternalIPPools) -> None:
        self._pools = pools

    def __call__(self, request: AdmissionRequest) -> Verdict:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        new = unmarshal(request.object, ExternalIPPool) if request.object else ExternalIPPool()
        old = unmarshal(request.old, ExternalIPPool) if request.old else ExternalIPPool()
        refusal = self.refusal(new)
        if refusal is None and request.operation == "UPDATE":
            refusal = removal_refusal(old.ranges, new.ranges)
        return refused(refusal) if refusal else ALLOWED

    def refusal(self, pool: ExternalIPPool) -> str | None:
        try:
            ranges = checked_ranges(pool.ranges, pool.spec.subnet_info if pool.spec else None)
        except Refused as error:
            return str(error)
        for other in self._pools.others(pool.name):
            mine = ranges.overlapping(other.range)
            if mine is not None:
                return (
                    f"range [{mine.text}] overlaps with range [{other.range.text}] "
                    f"of ExternalIPPool {other.pool}"
                )
        return None
