"""The cluster's own roles admin, edit and view cover what users of Antrea write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.definitions import install

pytestmark = pytest.mark.kubernetes

WRITES = ("create", "update", "patch", "delete")
READS = ("get", "list", "watch")
AGGREGATED = ("clusternetworkpolicies", "networkpolicies", "traceflows", "clustergroups")
NOT_AGGREGATED = ("tiers", "groups", "egresses", "externalippools", "packetcaptures")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(shared_cluster: Cluster) -> AsyncIterator[Cluster]:
    install(shared_cluster).close()
    for role in ("admin", "edit", "view"):
        binding = ("clusterrolebinding", role, f"--clusterrole={role}", f"--user={role}")
        shared_cluster.kubectl("create", *binding)
    yield shared_cluster


def may(cluster: Cluster, user: str, verb: str, resource: str) -> bool:
    answer = cluster.kubectl("auth", "can-i", verb, f"{resource}.crd.antrea.io", f"--as={user}", check=False)
    return answer.stdout.strip() == "yes"


@pytest.mark.parametrize("user", ["admin", "edit", "view"])
def test_who_may_what(cluster: Cluster, user: str) -> None:
    deadline = time.monotonic() + 60
    while not may(cluster, user, "get", "clustergroups"):  # the aggregation takes a moment
        assert time.monotonic() < deadline, f"{user} is not given what is aggregated"
        time.sleep(0.2)
    for resource in AGGREGATED:
        for verb in READS:
            assert may(cluster, user, verb, resource), (verb, resource)
        for verb in WRITES:
            assert may(cluster, user, verb, resource) == (user != "view"), (verb, resource)
        assert not may(cluster, user, "deletecollection", resource)
    for resource in NOT_AGGREGATED:
        assert not may(cluster, user, "get", resource)
