"""stats.antrea.io: how much traffic policies have let through, and how far apart nodes are, as agents report.

Everything is in memory and starts anew with the process: a policy's statistics say since when they count.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.endpoints import Answer, Endpoint, FunctionEndpoint, Functions
from apiserver.errors import bad_request, not_found
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo
from controller.api import resources
from controller.api.routes import RoutedEndpoint

_COUNTERS = ("packets", "bytes", "sessions")


def now_text() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class PolicyStatistics:
    """One entry per NetworkPolicy that exists; reports about others are dropped."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Object] = {}
        self._by_uid: dict[str, Object] = {}

    def exists(self, namespace: str, name: str, uid: str) -> None:
        known = self._by_key.get((namespace, name))
        if known is not None and known["metadata"]["uid"] == uid:
            return
        self.gone(namespace, name)
        metadata = {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": now_text()}
        entry: Object = {"metadata": metadata, "trafficStats": {}}
        self._by_key[(namespace, name)] = self._by_uid[uid] = entry

    def gone(self, namespace: str, name: str) -> None:
        entry = self._by_key.pop((namespace, name), None)
        if entry is not None:
            self._by_uid.pop(entry["metadata"]["uid"], None)

    def add(self, reports: Iterable[Mapping[str, Any]]) -> None:
        """Add what one node has counted since its last report."""
        for report in reports:
            entry = self._by_uid.get((report.get("networkPolicy") or {}).get("uid", ""))
            if entry is None:
                continue
            traffic = entry["trafficStats"]
            for counter in _COUNTERS:
                amount = int((report.get("trafficStats") or {}).get(counter) or 0)
                if amount:
                    traffic[counter] = traffic.get(counter, 0) + amount

    def get(self, namespace: str, name: str) -> Object | None:
        return self._by_key.get((namespace, name))

    def all(self, namespace: str) -> list[Object]:
        return [entry for (where, _), entry in sorted(self._by_key.items()) if namespace in ("", where)]


def endpoints(statistics: PolicyStatistics) -> list[Endpoint]:
    async def summary(ctx: Context, namespace: str, body: Object) -> Answer:
        if not ctx.dry_run:
            statistics.add(body.get("networkPolicies") or ())
        info = resources.NODE_STATS_SUMMARIES
        return {"kind": info.kind, "apiVersion": info.api_version, "metadata": {}}

    return [RoutedEndpoint(resources.NODE_STATS_SUMMARIES, Functions(create=summary))]


def stats_endpoints(statistics: PolicyStatistics) -> list[Endpoint]:
    info = resources.NETWORK_POLICY_STATS

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        entry = statistics.get(namespace, name)
        if entry is None:
            raise not_found(info, name)
        return _typed(info, entry)

    async def listing(ctx: Context, namespace: str) -> list[Object]:
        return [_typed(info, entry) for entry in statistics.all(namespace)]

    return [
        FunctionEndpoint(info, Functions(get=get, list=listing)),
        _empty(resources.ANTREA_NETWORK_POLICY_STATS),
        _empty(resources.ANTREA_CLUSTER_NETWORK_POLICY_STATS),
        _empty(resources.MULTICAST_GROUPS),
        _latency(),
    ]


def _typed(info: ResourceInfo, entry: Object) -> Object:
    return {"kind": info.kind, "apiVersion": info.api_version, **entry}


def _written_by(ctx: Context, info: ResourceInfo, fields: Object) -> Object:
    """The managedFields entry of a client that has written these fields."""
    return {
        "manager": ctx.field_manager,
        "operation": "Update",
        "apiVersion": info.api_version,
        "time": now_text(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _empty(info: ResourceInfo) -> Endpoint:
    """A kind of which there are none: the features behind it are not there yet."""

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        raise not_found(info, name)

    async def listing(ctx: Context, namespace: str) -> list[Object]:
        return []

    return FunctionEndpoint(info, Functions(get=get, list=listing))


def _latency() -> Endpoint:
    """What each agent last said of its round trips to the others; one object per node, newest wins."""
    info = resources.NODE_LATENCY_STATS
    known: dict[str, Object] = {}

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        if name not in known:
            raise not_found(info, name)
        return known[name]

    async def listing(ctx: Context, namespace: str) -> list[Object]:
        return [known[name] for name in sorted(known)]

    async def create(ctx: Context, namespace: str, body: Object) -> Answer:
        name = body["metadata"].get("name", "")
        if len(known) > 100_000 and name not in known:
            raise bad_request("there are reports of 100000 nodes already")
        assert info.codec is not None
        try:
            stored = _typed(info, info.codec.decode(info.kind, info.codec.encode(info.kind, body)))
        except ValueError as error:
            raise bad_request(str(error)) from error
        metadata = stored["metadata"]
        if not metadata.get("creationTimestamp"):
            metadata["creationTimestamp"] = now_text()
        metadata.pop("managedFields", None)
        fields: Object = {f"f:{key}": {} for key in stored if key not in ("kind", "apiVersion", "metadata")}
        if fields:
            metadata["managedFields"] = [_written_by(ctx, info, fields)]
        if not ctx.dry_run:
            known[name] = stored
        return stored

    async def delete(ctx: Context, namespace: str, name: str) -> Answer:
        if name not in known:
            raise not_found(info, name)
        return known[name] if ctx.dry_run else known.pop(name)

    return FunctionEndpoint(info, Functions(get=get, list=listing, create=create, delete=delete))
