"""ExternalIPPool: a CIDR of one or two addresses has usable ones in v1alpha2, and none in v1beta1.

Manifests of Antrea 1.x name a single address as ``10.0.0.1/32``. Since then the first and the last address
of a CIDR are left out, and such a pool would be empty. So v1beta1 gets ``start`` and ``end`` in its place.

For both ways to be the other's inverse, an object carries in an annotation how its ranges are written in the
other version, where converting alone would not give that back. The annotation counts only while it says the
same as the ranges do: whoever edits the ranges need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from apis.addresses import AddressError
from apis.ippools import cidr_range
from apiserver.resources import Object
from controller.conversions.versions import between

WRITTEN_AS_V1ALPHA2: Final = "crd.antrea.io/v1alpha2-ip-ranges"
WRITTEN_AS_V1BETA1: Final = "crd.antrea.io/v1beta1-ip-ranges"
# Kubernetes lets all annotations of an object have 256 KiB. Longer lists of ranges keep their meaning, but
# not how they were written.
LONGEST: Final = 64 * 1024

Ranges = list[Any]
Rule = Callable[[Ranges], Ranges]


def _upgrade(pool: Object) -> None:
    _convert(pool, _usable, _unchanged, written=WRITTEN_AS_V1BETA1, keep=WRITTEN_AS_V1ALPHA2)


def _downgrade(pool: Object) -> None:
    _convert(pool, _unchanged, _usable, written=WRITTEN_AS_V1ALPHA2, keep=WRITTEN_AS_V1BETA1)


def _convert(pool: Object, there: Rule, back: Rule, *, written: str, keep: str) -> None:
    """``there`` converts ranges, ``back`` is the other direction's rule; the others name annotations."""
    spec = pool.get("spec")
    ranges = spec.get("ipRanges") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(ranges, list):
        return
    original, simply = _read(pool, written), there(ranges)
    if original is not None and original != simply and back(original) == ranges:
        spec["ipRanges"] = original
        _annotate(pool, written, None)
        return
    spec["ipRanges"] = simply
    if back(simply) != ranges:
        text = msgspec.json.encode(ranges).decode()
        _annotate(pool, keep, text if len(text) <= LONGEST else None)


def _unchanged(ranges: Ranges) -> Ranges:
    return ranges


def _usable(ranges: Ranges) -> Ranges:
    return [_without_short_cidr(item) for item in ranges]


def _without_short_cidr(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("cidr"), str) or {"start", "end"} & item.keys():
        return item
    try:
        addresses = cidr_range(item["cidr"])
    except AddressError:
        return item  # the rules for writes say so, better than a failed conversion could
    if addresses.size > 2:
        return item
    rest = {key: value for key, value in item.items() if key != "cidr"}
    return {**rest, "start": str(addresses.first), "end": str(addresses.last)}


def _read(pool: Object, annotation: str) -> Ranges | None:
    annotations = (pool.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(annotation)
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    try:
        return msgspec.json.decode(text, type=list)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _annotate(pool: Object, annotation: str, text: str | None) -> None:
    metadata = pool.setdefault("metadata", {})
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(annotation, None)
    if text is not None:
        annotations[annotation] = text
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)


external_ip_pool: Final = between(_upgrade, _downgrade)
