"""The six Tiers that the controller makes at start, against the lab's API."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from client.resources import TIERS
from client.rest import RestClient
from controller.built_in_tiers import BuiltInTiers
from lab import apply
from runtime.backoff import Backoff
from tests.controller.control_plane import PROJECT, ControlPlane, eventually


async def with_definition(bare: ControlPlane) -> None:
    await apply.apply_all(bare.kube, apply.read([PROJECT / "openapi" / "crds" / "tiers.yaml"]))


async def present(client: RestClient) -> dict[str, dict[str, Any]]:
    items = msgspec.json.decode(await client.get(TIERS.path()))["items"]
    return {item["metadata"]["name"]: item["spec"] for item in items}


def tiers(client: RestClient) -> BuiltInTiers:
    return BuiltInTiers(client, Backoff(initial=0.05, maximum=0.1))


async def test_all_six_are_made(bare: ControlPlane) -> None:
    await with_definition(bare)

    work = tiers(bare.kube)
    assert work.problem() is not None
    await work.run()

    assert work.problem() is None
    assert await present(bare.kube) == {
        "emergency": {"priority": 50, "description": "[READ-ONLY]: System generated Emergency Tier"},
        "securityops": {"priority": 100, "description": "[READ-ONLY]: System generated SecurityOps Tier"},
        "networkops": {"priority": 150, "description": "[READ-ONLY]: System generated NetworkOps Tier"},
        "platform": {"priority": 200, "description": "[READ-ONLY]: System generated Platform Tier"},
        "application": {
            "priority": 250,
            "description": "[READ-ONLY]: System generated default Application Tier",
        },
        "baseline": {"priority": 253, "description": "[READ-ONLY]: System generated Baseline Tier"},
    }


async def test_a_wrong_priority_is_put_right_and_a_description_left(bare: ControlPlane) -> None:
    await with_definition(bare)
    document = {
        "apiVersion": TIERS.api_version,
        "kind": "Tier",
        "metadata": {"name": "platform"},
        "spec": {"priority": 7, "description": "ours"},
    }
    await bare.create(document)

    await tiers(bare.kube).run()

    assert (await present(bare.kube))["platform"] == {"priority": 200, "description": "ours"}


async def test_without_the_definition_it_waits_and_is_no_problem(bare: ControlPlane) -> None:
    work = tiers(bare.kube)
    running = asyncio.create_task(work.run())
    await asyncio.sleep(0.3)
    assert not running.done()
    assert work.problem() is None

    await with_definition(bare)
    await asyncio.wait_for(running, 30)
    await eventually(lambda: present(bare.kube), "the Tiers are there")
    assert len(await present(bare.kube)) == 6
