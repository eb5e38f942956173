"""What the webhooks of Antrea v2.7 answered about everything but policies, tiers and groups, case by case.

Some rules ask the Kubernetes API (may this user read that Secret? is that Pod there?): the lab's
answers, with all recorded objects in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client import kubeconfig
from client.rest import RestClient
from tests.controller.admission.replay import Case, cases, expect, recording, replay, webhooks
from tests.controller.control_plane import ControlPlane

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALONE = (
    "validate-egress",
    "validate-externalippool",
    "validate-ippool",
    "convert-ippool",
    "validate-antreanodeconfig",
)
ASKING = ("validate-traceflow", "validate-packetcapture", "validate-supportbundlecollection")
IN_DEFAULT_GATES = {"gateon-packetcapture", "gateon-tf", "gateon-egress", "gateon-pool"}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        *cases(*ALONE),
        *(p for p in cases("default-gates") if p.values[1]["name"] in IN_DEFAULT_GATES),
    ],
)
async def test_the_answer_is_the_recorded_one(name: str, case: Case) -> None:
    await replay(name, case)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """The API of a cluster with all objects that the recordings need."""
    running = ControlPlane(Path(tmp_path_factory.mktemp("plane")))
    try:
        await running.start_api()
        await running.bootstrap()
        for name in ASKING:
            await running.create(*recording(name)["existing"])
        yield running
    finally:
        await running.end()


@asynccontextmanager
async def controller(plane: ControlPlane) -> AsyncIterator[RestClient]:
    """A client with the rights of the controller's account."""
    async with RestClient(await kubeconfig.load(str(await plane.account("antrea-controller")))) as client:
        yield client


def under_way(document: dict[str, Any]) -> dict[str, Any]:
    """The recording's note says of one collection that the controller is processing it."""
    if document["metadata"]["name"] != "started":
        return document
    return {**document, "status": {"conditions": [{"type": "Started", "status": "True"}]}}


@pytest.mark.parametrize(("name", "case"), cases(*ASKING))
async def test_the_answer_is_the_recorded_one_with_the_cluster_asked(
    plane: ControlPlane, name: str, case: Case
) -> None:
    whole = recording(name)
    async with (
        controller(plane) as client,
        webhooks(whole["featureGates"], [under_way(item) for item in whole["existing"]], client) as served,
    ):
        await expect(served, case)
