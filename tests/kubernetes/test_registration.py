"""antrea-controller behind a real kube-apiserver: its groups are the cluster's."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.errors import ApiError
from client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CONTROLLER_INFOS,
    CUSTOM_RESOURCE_DEFINITIONS,
    VALIDATING_WEBHOOKS,
)
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.published import LABELS, webhook

pytestmark = pytest.mark.kubernetes

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
"""


@pytest_asyncio.fixture
async def plane(cluster: Cluster, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path, cluster) as started:
        yield started


async def test_the_groups_become_available_and_policies_are_listed(
    plane: ControlPlane, cluster: Cluster
) -> None:
    done = cluster.kubectl(
        "wait", "apiservice", "v1beta2.controlplane.antrea.io", "v1alpha1.stats.antrea.io",
        "v1beta1.system.antrea.io", "--for=condition=Available", "--timeout=60s",
    )  # fmt: skip
    assert done.stdout.count("condition met") == 3

    cluster.kubectl("apply", "-f", "-", input=POLICY)

    def listed() -> bool:
        answer = cluster.kubectl("get", "networkpolicies.controlplane.antrea.io", "-o", "json")
        return [item["sourceRef"]["name"] for item in json.loads(answer.stdout)["items"]] == ["web"]

    await eventually(listed, "the policy is computed")
    assert cluster.forbidden("system:serviceaccount:kube-system:antrea-controller") == []


# -- what is published ---------------------------------------------------------------------------------------

STATS = API_SERVICES.path("v1alpha1.stats.antrea.io")
CA = CONFIG_MAPS.path("antrea-ca", "kube-system")
SOON = 10.0  # seconds; without a watch it would be up to two minutes


def converted(labels: dict[str, str]) -> dict[str, Any]:
    service = {"name": "antrea", "namespace": "kube-system", "path": "/convert/nothing"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "labels": labels},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {"service": service},
                    "conversionReviewVersions": ["v1"],
                },
            },
        },
    }


async def bundle_of(plane: ControlPlane, path: str) -> list[str]:
    """The caBundles of an object, empty ones as such."""
    document = await plane.json(path)
    if "webhooks" in document:
        return [hook["clientConfig"].get("caBundle") or "" for hook in document["webhooks"]]
    spec = document["spec"]
    place = spec["conversion"]["webhook"]["clientConfig"] if "conversion" in spec else spec
    return [place.get("caBundle") or ""]


async def test_whatever_is_labelled_gets_the_ca_and_keeps_it(plane: ControlPlane) -> None:
    published = await eventually(lambda: plane.json(CA), "the ConfigMap is there")
    bundle = base64.b64encode(published["data"]["ca.crt"].encode()).decode()
    labelled, foreign = VALIDATING_WEBHOOKS.path("labelled"), VALIDATING_WEBHOOKS.path("foreign")
    things = CUSTOM_RESOURCE_DEFINITIONS.path("things.example.com")
    await plane.create(webhook("labelled", LABELS), webhook("foreign", {"app": "antrea"}), converted(LABELS))
    expected = {STATS: [bundle], labelled: [bundle, bundle], things: [bundle]}

    async def complete() -> bool:
        return {path: await bundle_of(plane, path) for path in expected} == expected

    await eventually(complete, "everything has the CA", SOON)
    assert await bundle_of(plane, foreign) == ["", ""]

    # Somebody empties them, and says something else in the same write.
    note = {"metadata": {"annotations": {"note": "mine"}}}
    hooks = webhook("labelled", LABELS)["webhooks"]
    await plane.kube.patch(STATS, {**note, "spec": {"caBundle": None, "versionPriority": 77}})
    await plane.kube.patch(labelled, {**note, "webhooks": [{**hook, "timeoutSeconds": 7} for hook in hooks]})
    empty = {"webhook": {"clientConfig": {"caBundle": None}}}
    await plane.kube.patch(things, {**note, "spec": {"conversion": empty}})
    await eventually(complete, "everything has the CA again", SOON)
    for path in expected:
        assert (await plane.json(path))["metadata"]["annotations"]["note"] == "mine"
    assert (await plane.json(STATS))["spec"]["versionPriority"] == 77
    assert [hook["timeoutSeconds"] for hook in (await plane.json(labelled))["webhooks"]] == [7, 7]

    await plane.kube.delete(CA)
    again = await eventually(lambda: plane.json(CA), "the ConfigMap is made again", SOON)
    assert again["data"] == published["data"]
    assert again["metadata"]["labels"]["app"] == "antrea"
    await plane.kube.patch(CA, {"data": {"ca.crt": "nonsense", "other": "kept"}})

    async def mended() -> bool:
        return bool((await plane.json(CA))["data"] == {**published["data"], "other": "kept"})

    await eventually(mended, "the ConfigMap is mended", SOON)


async def test_a_missing_api_service_is_reported_and_not_made(plane: ControlPlane) -> None:
    async def verbose() -> str:
        return (await plane.direct.get("/readyz?verbose", accept="*/*")).decode()

    async def condition() -> dict[str, str]:
        info = await plane.json(CONTROLLER_INFOS.path("antrea-controller"))
        (only,) = info["controllerConditions"]
        return {key: value for key, value in only.items() if key != "lastHeartbeatTime"}

    async def line() -> str:
        return next(line for line in (await verbose()).splitlines() if "apiservices" in line)

    async def says(text: str) -> bool:
        return text in await line()

    async def healthy(status: str) -> dict[str, str] | None:
        found = await condition()
        return found if found["status"] == status else None

    assert await line() == "[+]apiservices ok"
    assert await eventually(lambda: healthy("True"), "all is well") == {
        "type": "ControllerHealthy",
        "status": "True",
    }
    was = await plane.json(STATS)
    await plane.kube.delete(STATS)
    await eventually(lambda: says("[+]apiservices ok: missing"), "the API service is missed", SOON)
    assert "APIService v1alpha1.stats.antrea.io;" in await line()
    found = await eventually(lambda: healthy("False"), "the condition says so", SOON)
    assert found["reason"] == "APIServiceMissing"
    assert "v1alpha1.stats.antrea.io" in found["message"]

    async def gone() -> bool:
        with pytest.raises(ApiError) as refused:
            await plane.kube.get(STATS)
        return refused.value.status == 404

    for _ in range(30):
        assert await gone()
        await asyncio.sleep(0.1)

    keep = {key: was["metadata"][key] for key in ("name", "labels")}
    spec = {key: value for key, value in was["spec"].items() if key != "caBundle"}
    await plane.create({"apiVersion": was["apiVersion"], "kind": was["kind"], "metadata": keep, "spec": spec})
    await eventually(lambda: bundle_of(plane, STATS), "it has the CA", SOON)
    await eventually(lambda: healthy("True"), "all is well again", SOON)
    assert await line() == "[+]apiservices ok"
