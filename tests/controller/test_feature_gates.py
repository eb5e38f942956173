"""``antctl get featuregates`` from end to end: ConfigMaps as recorded, the list, and what is printed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from antctl.commands.featuregates import render
from client.endpoint import Endpoint
from client.rest import RestClient
from controller.api.paths import FeatureGatesPath
from runtime.features import FeatureGates

CASES = json.loads((Path(__file__).parents[1] / "data" / "antctl" / "featuregates.json").read_text())["cases"]
# The recorded controller ran with these; "fg-default-…" without any.
RECORDED_GATES = {
    "AntreaIPAM": True, "SupportBundleCollection": True, "L7NetworkPolicy": True, "ExternalNode": True,
}  # fmt: skip
OWN_CONFIG = {
    "antrea-agent.conf": "featureGates:\n  Multicast: false\n  NodeLatencyMonitor: true\n",
    "antrea-controller.conf": "featureGates:\n" + "".join(f"  {name}: true\n" for name in RECORDED_GATES),
}


class ConfigMaps:
    """The part of the Kubernetes API that is asked."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.app = web.Application()
        self.app.router.add_get("/api/v1/namespaces/kube-system/configmaps", self._list)
        self.app.router.add_get("/api/v1/namespaces/kube-system/configmaps/{name}", self._get)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"items": self.items})

    async def _get(self, request: web.Request) -> web.Response:
        for item in self.items:
            if item["metadata"]["name"] == request.match_info["name"]:
                return web.json_response(item)
        return web.json_response({"kind": "Status", "code": 404}, status=404)


@pytest_asyncio.fixture
async def config_maps() -> AsyncIterator[tuple[ConfigMaps, RestClient]]:
    maps = ConfigMaps()
    runner = web.AppRunner(maps.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with RestClient(Endpoint(f"http://127.0.0.1:{port}")) as client:
        yield maps, client
    await runner.cleanup()


def own_config_map() -> dict[str, Any]:
    return {"metadata": {"name": "antrea-config", "namespace": "kube-system"}, "data": OWN_CONFIG}


RENDERED = [case for case in CASES if case["stdout"] and case["exitCode"] == 0]


@pytest.mark.parametrize("case", RENDERED, ids=lambda case: case["name"])
async def test_gates_are_listed_as_recorded(
    case: dict[str, Any], config_maps: tuple[ConfigMaps, RestClient]
) -> None:
    maps, client = config_maps
    given = case.get("given") or {}
    maps.items = list(given.get("configMaps", [own_config_map()]))
    if case["name"] == "fg-with-windows":
        maps.items.append(own_config_map())
    gates = FeatureGates("C", given.get("controllerGates", RECORDED_GATES))

    listed = await FeatureGatesPath(client, "kube-system", gates).list()

    assert render(listed) == case["stdout"]


async def test_without_a_config_map_the_running_gates_are_listed(
    config_maps: tuple[ConfigMaps, RestClient],
) -> None:
    _, client = config_maps
    listed = await FeatureGatesPath(client, "kube-system", FeatureGates("C", {"Multicast": False})).list()
    found = {(entry["component"], entry["name"]): entry["status"] for entry in listed}
    assert found["controller", "Multicast"] == "Disabled"
    assert found["controller", "AntreaPolicy"] == "Enabled"
