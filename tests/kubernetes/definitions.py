"""The project's CustomResourceDefinitions in a test's cluster."""

from __future__ import annotations

from pathlib import Path

from tests.kubernetes.cluster import Cluster
from tests.openapi.recorded import Api

CRDS = Path(__file__).parents[2] / "openapi" / "crds"


def install(cluster: Cluster) -> Api:
    """Applies them as a user would, waits until they are served, and opens a connection. Close it."""
    cluster.kubectl("apply", "-k", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    assert cluster.kube is not None
    tls = cluster.kube.endpoint.tls
    assert tls is not None
    return Api("127.0.0.1", cluster.port, tls)
