"""Egress: fields that are not supported, bandwidth, and an address that the pool does not have."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec
from msgspec import MsgspecError

from apis.addresses import AddressError, from_bytes, to_bytes
from apis.gojson import unmarshal
from apis.quantity import problem_with_quantity
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from client.errors import ApiError, ConnectionFailed
from controller.admission.known_pools import ExternalIPPools, PoolsNow, Ranges
from controller.admission.objects import LabelSelector, ObjectMeta, V1Beta1


class Bandwidth(V1Beta1):
    rate: str | None = None
    burst: str | None = None


class AppliedTo(V1Beta1):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    groups: list[str] | None = None


class EgressSpec(V1Beta1):
    applied_to: AppliedTo | None = None
    egress_ip: str | None = msgspec.field(name="egressIP", default=None)
    egress_ips: list[str] | None = msgspec.field(name="egressIPs", default=None)
    external_ip_pool: str | None = msgspec.field(name="externalIPPool", default=None)
    external_ip_pools: list[str] | None = msgspec.field(name="externalIPPools", default=None)
    bandwidth: Bandwidth | None = None

    @property
    def address(self) -> tuple[str, str]:
        """The address asked for and its pool."""
        return self.egress_ip or "", self.external_ip_pool or ""


class Egress(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: EgressSpec | None = None


class EgressRules:
    def __init__(self, known: ExternalIPPools, now: PoolsNow) -> None:
        self._known = known
        self._now = now

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        new = unmarshal(request.object, Egress) if request.object else Egress()
        old = unmarshal(request.old, Egress) if request.old else Egress()
        name = (new.metadata.name or "") if new.metadata else ""
        wanted = new.spec or EgressSpec()
        refusal = spec_refusal(name, wanted)
        if refusal:
            return refused(refusal)
        address, pool = wanted.address
        # What is there already may have become wrong by somebody else's doing, and has to stay editable.
        if wanted.address == (old.spec or EgressSpec()).address or not address or not pool:
            return ALLOWED
        refusal = pool_refusal(address, pool, self._known.of(pool))
        return self._again(address, pool, refusal) if refusal else ALLOWED

    async def _again(self, address: str, pool: str, refusal: str) -> Verdict:
        try:
            found = pool_refusal(address, pool, await self._now.of(pool))
        except (ApiError, ConnectionFailed, MsgspecError):
            found = refusal
        return refused(found) if found else ALLOWED


def spec_refusal(name: str, spec: EgressSpec) -> str | None:
    """What is wrong with the Egress alone."""
    if spec.egress_ips:
        return "spec.egressIPs is not supported yet"
    if spec.external_ip_pools:
        return "spec.externalIPPools is not supported yet"
    return _bandwidth_refusal(name, spec.bandwidth)


def pool_refusal(address: str, pool: str, ranges: Ranges | None) -> str | None:
    """Whether the pool has the address; ``ranges`` is None for a pool that does not exist."""
    try:
        wanted = from_bytes(to_bytes(address))
    except AddressError:
        return f"IP {address} is not valid"
    if ranges is None:
        return f"ExternalIPPool {pool} does not exist"
    if not any(found.admits(wanted) for found in ranges):
        return f"IP {address} is not within the IP range"
    return None


def _bandwidth_refusal(name: str, bandwidth: Bandwidth | None) -> str | None:
    if bandwidth is None:
        return None
    for noun, text in (("Rate", bandwidth.rate or ""), ("Burst", bandwidth.burst or "")):
        problem = problem_with_quantity(text)
        if problem is not None:
            return f"{noun} {text} in Egress {name} is invalid: {problem}"
    return None
