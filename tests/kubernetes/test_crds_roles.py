"""The cluster's own roles admin, edit and view cover what users of Antrea write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.definitions import install
from tests.openapi.recorded import Api

pytestmark = pytest.mark.kubernetes

WRITES = ("create", "update", "patch", "delete")
READS = ("get", "list", "watch")
VERBS = (*READS, *WRITES, "deletecollection")
AGGREGATED = ("clusternetworkpolicies", "networkpolicies", "traceflows", "clustergroups")
NOT_AGGREGATED = ("tiers", "groups", "egresses", "externalippools", "packetcaptures")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(shared_cluster: Cluster) -> AsyncIterator[Api]:
    opened = install(shared_cluster)
    for role in ("admin", "edit", "view"):
        binding = ("clusterrolebinding", role, f"--clusterrole={role}", f"--user={role}")
        shared_cluster.kubectl("create", *binding)
    yield opened
    opened.close()


def may(api: Api, user: str, verb: str, resource: str) -> bool:
    attributes = {"group": "crd.antrea.io", "resource": resource, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer.json()["status"]["allowed"])


@pytest.mark.parametrize(
    ("user", "verbs"), [("admin", {*READS, *WRITES}), ("edit", {*READS, *WRITES}), ("view", {*READS})]
)
def test_who_may_what(api: Api, user: str, verbs: set[str]) -> None:
    asked = [(verb, resource) for verb in VERBS for resource in (*AGGREGATED, *NOT_AGGREGATED)]
    expected = {(verb, resource) for verb in verbs for resource in AGGREGATED}
    deadline = time.monotonic() + 60
    while (allowed := {each for each in asked if may(api, user, *each)}) != expected:
        assert time.monotonic() < deadline, f"{user} may {sorted(allowed ^ expected)}, or may not"
        time.sleep(0.2)  # the controller manager aggregates in the background
