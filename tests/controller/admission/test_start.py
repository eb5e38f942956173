"""A controller in a cluster without Antrea's custom resources: it starts, is ready, and finds them later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from client.resources import TIERS
from lab import apply
from lab.bootstrap import MANIFESTS
from tests.controller.control_plane import ControlPlane, eventually


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    started = ControlPlane(tmp_path)
    try:
        await started.start_api()
        yield started
    finally:
        await started.end()


async def test_custom_resources_may_come_after_the_controller(plane: ControlPlane) -> None:
    documents = apply.read(MANIFESTS)
    crds = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    others = [
        document
        for document in documents
        if document["kind"] not in ("CustomResourceDefinition", "APIService")
    ]
    await apply.apply_all(plane.kube, others)

    await plane.start_controller()  # waits until /readyz says so
    assert "Cannot follow /apis/crd.antrea.io/v1beta1/tiers" in plane.log("controller")

    await apply.apply_all(plane.kube, crds)

    async def tiers() -> bool:
        return len((await plane.json(TIERS.path()))["items"]) == 6

    await eventually(tiers, "the built-in Tiers are made")
