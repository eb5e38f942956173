"""The ExternalIPPools of the cluster: as they have been heard of, and as they are at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from apis.addresses import AddressError
from apis.ippools import PoolRange, parse
from client.errors import ApiError
from client.resources import EXTERNAL_IP_POOLS
from client.rest import RestClient
from controller.admission.known import Metadata, Table

LOOK_UP_SECONDS: Final = 2.0  # of the five that kube-apiserver waits for a webhook

Ranges = tuple[PoolRange, ...]


class _Range(msgspec.Struct):
    cidr: str = ""
    start: str = ""
    end: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    ip_ranges: list[_Range] | None = None


class _Pool(msgspec.Struct):
    metadata: Metadata
    spec: _Spec | None = None


class _Pools(msgspec.Struct):
    items: list[_Pool]


class ExternalIPPools(Table[Ranges]):
    """The ranges of each ExternalIPPool that has been heard of."""

    def __init__(self) -> None:
        super().__init__(EXTERNAL_IP_POOLS, "ExternalIPPool", _Pool, _ranges)

    def of(self, pool: str) -> Ranges | None:
        """None for a pool that does not exist."""
        return self.objects.get(("", pool))

    def all(self) -> dict[str, Ranges]:
        return {name: ranges for (_, name), ranges in list(self.objects.items())}


class PoolsNow:
    """Asks the cluster, for a pool that was made a moment ago, by the same ``kubectl apply`` perhaps.

    Both raise what says that it cannot be found out: ApiError, ConnectionFailed, MsgspecError."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def of(self, pool: str) -> Ranges | None:
        """The ranges of a pool; None if it does not exist."""
        try:
            body = await self._get(EXTERNAL_IP_POOLS.path(pool))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return _ranges(msgspec.json.decode(body, type=_Pool))

    async def all(self) -> Mapping[str, Ranges]:
        """The ranges of all pools."""
        return await asyncio.to_thread(_read, await self._get(EXTERNAL_IP_POOLS.path()))

    async def _get(self, path: str) -> bytes:
        return (await self._client.request("GET", path, timeout=LOOK_UP_SECONDS)).body


def _read(body: bytes) -> dict[str, Ranges]:
    return {pool.metadata.name: _ranges(pool) for pool in msgspec.json.decode(body, type=_Pools).items}


def _ranges(pool: _Pool) -> Ranges:
    found = []
    for written in (pool.spec.ip_ranges if pool.spec else None) or ():
        try:
            found.append(parse(written.cidr, written.start, written.end))
        except AddressError:  # stored while nobody checked it: nothing is given out of it
            continue
    return tuple(found)
