"""antrea-controller behind a real kube-apiserver: its groups are the cluster's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster

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
