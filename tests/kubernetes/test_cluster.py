"""The tier itself: what the tests that build on it may count on."""

from __future__ import annotations

import pytest

from tests.kubernetes import binaries
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes


async def test_a_control_plane_serves_kubectl_with_rbac_and_a_token(cluster: Cluster) -> None:
    assert f"v{binaries.VERSION}" in cluster.kubectl("version").stdout

    nobody = cluster.user("nobody")
    refused = cluster.kubectl("get", "secrets", kubeconfig=nobody, check=False)
    assert refused.returncode == 1
    assert 'User "nobody" cannot list resource "secrets"' in refused.stderr
    assert cluster.forbidden("nobody") == ["list /api/v1/namespaces/default/secrets?limit=500"]

    account = await cluster.account("default", "default")
    who = cluster.kubectl("auth", "whoami", kubeconfig=account)
    assert "system:serviceaccount:default:default" in who.stdout


async def test_namespaces_end_with_what_is_in_them(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "brief")
    cluster.kubectl("create", "configmap", "inside", "-n", "brief")
    cluster.kubectl("delete", "namespace", "brief", "--wait", "--timeout=30s")
    assert "NotFound" in cluster.kubectl("get", "namespace", "brief", check=False).stderr
