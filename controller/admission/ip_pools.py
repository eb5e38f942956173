"""IPPool: ranges inside its subnet, that stay, and no deletion while an address is given out."""

from __future__ import annotations

from typing import Annotated

import msgspec

from apis.gojson import Named, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from controller.admission.objects import ObjectMeta, V1Beta1
from controller.admission.pools import IPRange, Refused, SubnetInfo, checked_ranges, removal_refusal


class IPPoolSpec(V1Beta1):
    ip_ranges: list[IPRange] | None = None
    subnet_info: SubnetInfo | None = None


class IPAddressState(V1Beta1):
    ip_address: Annotated[str | None, Named("string")] = msgspec.field(name="ipAddress", default=None)


class IPPoolStatus(V1Beta1):
    ip_addresses: list[IPAddressState] | None = None


class IPPool(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: IPPoolSpec | None = None
    status: IPPoolStatus | None = None

    @property
    def ranges(self) -> list[IPRange]:
        return (self.spec.ip_ranges if self.spec else None) or []


def check(request: AdmissionRequest) -> Verdict:
    """The handler."""
    new = unmarshal(request.object, IPPool) if request.object else IPPool()
    old = unmarshal(request.old, IPPool) if request.old else IPPool()
    refusal = None
    if request.operation == "CREATE":
        refusal = _refusal(new)
    elif request.operation == "UPDATE":
        refusal = _refusal(new) or removal_refusal(old.ranges, new.ranges)
    elif request.operation == "DELETE" and old.status and old.status.ip_addresses:
        refusal = "IPPool in use cannot be deleted"
    return refused(refusal) if refusal else ALLOWED


def _refusal(pool: IPPool) -> str | None:
    subnet = (pool.spec.subnet_info if pool.spec else None) or SubnetInfo()
    try:
        checked_ranges(pool.ranges, subnet)
    except Refused as error:
        return str(error)
    return None
