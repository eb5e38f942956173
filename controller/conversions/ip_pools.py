"""IPPool: v1alpha2 has the subnet in every range, v1beta1 once for the pool (as in Antrea v2.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apis.addresses import AddressError, is_ipv4, to_bytes
from apiserver.conversion import ConversionError
from apiserver.resources import Object
from controller.conversions.versions import between

DIFFERENT_SUBNETS: Final = (
    "failed to convert IPPool from version v1alpha2 to to version v1beta1 because the original ipRanges "
    "have different subnet information"
)
_SUBNET: Final = ("gateway", "prefixLength", "vlan")


def _upgrade(pool: Object) -> None:
    spec = _spec(pool)
    spec.pop("ipVersion", None)
    subnet: dict[str, Any] | None = None
    for item in _ranges(spec):
        found = {"gateway": item.get("gateway"), "prefixLength": item.get("prefixLength")}
        if "vlan" in item:
            found["vlan"] = item["vlan"]
        if subnet is None:
            subnet = found
        elif {key: subnet.get(key) for key in _SUBNET} != {key: found.get(key) for key in _SUBNET}:
            raise ConversionError(DIFFERENT_SUBNETS)
        for key in _SUBNET:
            item.pop(key, None)
    spec.setdefault("ipRanges", None)
    spec["subnetInfo"] = subnet


def _downgrade(pool: Object) -> None:
    spec = _spec(pool)
    found = spec.pop("subnetInfo", None)
    subnet = found if isinstance(found, dict) else {}
    spec["ipVersion"] = 4 if _is_ipv4(subnet.get("gateway")) else 6
    shared = {key: subnet[key] for key in _SUBNET if key in subnet}
    for item in _ranges(spec):
        item.update(shared)
    spec.setdefault("ipRanges", None)


def _is_ipv4(gateway: Any) -> bool:
    try:
        return isinstance(gateway, str) and is_ipv4(to_bytes(gateway))
    except AddressError:
        return False


def _spec(pool: Object) -> Object:
    spec = pool.get("spec")
    if not isinstance(spec, dict):
        spec = pool["spec"] = {}
    return spec


def _ranges(spec: Object) -> Iterator[Object]:
    found = spec.get("ipRanges")
    for item in found if isinstance(found, list) else ():
        if not isinstance(item, dict):
            raise ConversionError("failed to convert ipRange")
        yield item


ip_pool: Final = between(_upgrade, _downgrade)
