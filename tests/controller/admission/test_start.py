"""A controller in a cluster without Antrea's custom resources: it starts, is ready, and finds them later."""

from __future__ import annotations

from client.resources import TIERS
from lab import apply
from lab.bootstrap import MANIFESTS
from tests.controller.control_plane import ControlPlane, eventually


async def test_custom_resources_may_come_after_the_controller(bare: ControlPlane) -> None:
    documents = apply.read(MANIFESTS)
    crds = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    others = [
        document
        for document in documents
        if document["kind"] not in ("CustomResourceDefinition", "APIService")
        and not document["kind"].endswith("WebhookConfiguration")
    ]
    await apply.apply_all(bare.kube, others)

    await bare.start_controller()  # waits until /readyz says so
    assert "Cannot follow /apis/crd.antrea.io/v1beta1/tiers" in bare.log("controller")

    await apply.apply_all(bare.kube, crds)

    async def tiers() -> bool:
        return len((await bare.json(TIERS.path()))["items"]) == 6

    await eventually(tiers, "the built-in Tiers are made")
