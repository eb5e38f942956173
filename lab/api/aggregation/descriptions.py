"""The aggregated servers' part of the OpenAPI v3 index: without it kubectl explain does not find their kinds.

The index names documents; the documents themselves are passed on like any other request.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.aggregation.availability import RESOURCE, Availability
from lab.api.aggregation.backends import BackendError, Backends

PATH = "/openapi/v3"
_TIMEOUT = aiohttp.ClientTimeout(total=1)  # the whole index waits for this


class Descriptions:
    def __init__(self, registry: Registry, backends: Backends, availability: Availability) -> None:
        self._registry = registry
        self._backends = backends
        self._availability = availability

    async def entries(self) -> dict[str, Object]:
        """The entry of each group version whose server answers, by its key in the index."""
        servers: dict[tuple[str, ...], list[Object]] = {}
        for item in self._registry.items(RESOURCE):
            if self._availability.is_available(item["metadata"]["name"]):
                service = item["spec"]["service"]
                identity = (service.get("namespace"), service.get("name"), str(service.get("port")))
                servers.setdefault(identity, []).append(item)
        asked = [self._ask(members) for members in servers.values()]
        return {key: entry for found in await asyncio.gather(*asked) for key, entry in found.items()}

    async def _ask(self, api_services: list[Object]) -> dict[str, Object]:
        """What one server has of the group versions that it was given."""
        keys = {f"apis/{item['spec']['group']}/{item['spec']['version']}" for item in api_services}
        try:
            backend = self._backends.resolve(api_services[0])
            async with self._backends.session.get(
                backend.url(PATH),
                ssl=backend.tls,
                server_hostname=backend.server_name,
                headers={"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"},
                timeout=_TIMEOUT,
            ) as response:
                index = msgspec.json.decode(await response.read(), type=dict[str, dict[str, Object]])
        except (BackendError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return {}  # its kinds go without a description
        return {key: entry for key, entry in index.get("paths", {}).items() if key in keys}
