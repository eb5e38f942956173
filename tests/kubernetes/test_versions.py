"""Custom resources of two versions behind a real kube-apiserver, and what their webhooks refuse there.

The controller runs with the webhooks and conversions of deploy/, and the gates of most recordings.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from controller.admission.unbuilt import remark
from controller.conversions.external_ip_pools import WRITTEN_AS_V1ALPHA2
from tests.controller.admission import end_to_end
from tests.controller.admission.phases import *  # noqa: F403  # fixtures
from tests.controller.control_plane import ControlPlane
from tests.kubernetes.cluster import Cluster
from tests.openapi import recorded
from tests.openapi.recorded import Api, Case

pytestmark = pytest.mark.kubernetes

SEEDS = Path(__file__).parents[1] / "data" / "seeds"
VERSIONS = ("v1alpha2", "v1beta1")
PLURALS = {"Egress": "egresses", "ExternalIPPool": "externalippools"}
DEPRECATED = "Warning: crd.antrea.io/v1alpha2 {kind} is deprecated; use crd.antrea.io/v1beta1 {kind}\n"

Document = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with end_to_end.installed(tmp_path_factory.mktemp("plane"), shared_cluster) as plane:
        yield plane


@pytest.fixture
def cluster(recorded_gates: ControlPlane) -> Cluster:
    """With the controller running."""
    assert recorded_gates.cluster is not None
    return recorded_gates.cluster


def documents(name: str) -> list[Document]:
    return list(yaml.safe_load_all((SEEDS / name).read_text()))


def path(document: Document, version: str) -> str:
    plural = PLURALS[document["kind"]]
    return f"/apis/crd.antrea.io/{version}/{plural}/{document['metadata']['name']}"


@contextmanager
def applied(cluster: Cluster, *names: str) -> Iterator[None]:
    """Manifests as people keep them, word for word."""
    done = []
    try:
        for name in names:
            given = documents(name)
            done.append(name)
            printed = cluster.kubectl("apply", "-f", str(SEEDS / name))
            assert printed.stdout.splitlines() == [
                f"{item['kind'].lower()}.crd.antrea.io/{item['metadata']['name']} created" for item in given
            ]
            old = sum(item["apiVersion"].endswith("/v1alpha2") for item in given)
            kind = given[0]["kind"]
            unbuilt = f"Warning: {remark(kind)}\n" * (kind == "Egress")
            assert printed.stderr == DEPRECATED.format(kind=kind) * bool(old) + unbuilt
        yield
    finally:
        for name in reversed(done):
            cluster.kubectl("delete", "--ignore-not-found", "-f", str(SEEDS / name))


# An Egress with the pool that it takes its address from.
FILES = [
    ("egress-static.yaml",),
    ("egress-bandwidth.yaml",),
    ("pool-typical.yaml", "egress-typical.yaml"),
    ("pool-subnet.yaml", "egress-typical.yaml"),
    ("pool-v1alpha2.yaml", "egress-typical.yaml"),
    ("pool-high-availability.yaml", "egress-high-availability.yaml"),
    ("pool-high-availability.yaml", "egress-v1alpha2.yaml"),
    ("pool-vlan.yaml", "egress-vlan.yaml"),
    ("pool-v1alpha2-one-address.yaml", "egress-v1alpha2-one-address.yaml"),
]


def test_no_manifest_is_left_out() -> None:
    written = {file.name for file in SEEDS.glob("*.yaml") if not file.name.startswith("acnp-")}
    assert {name for names in FILES for name in names} == written


@pytest.mark.parametrize("names", FILES, ids=" ".join)
def test_manifests_apply_word_for_word_and_come_back_in_both_versions(
    cluster: Cluster,
    api: Api,
    names: tuple[str, ...],
) -> None:
    with applied(cluster, *names):
        for name in names:
            for given in documents(name):
                for version in VERSIONS:
                    got = api.request("GET", path(given, version)).json()
                    assert got["apiVersion"] == f"crd.antrea.io/{version}"
                    expected = given["spec"]
                    if version == "v1beta1" and name == "pool-v1alpha2-one-address.yaml":
                        address = "10.105.18.100"
                        expected = {**expected, "ipRanges": [{"start": address, "end": address}]}
                    assert got["spec"] == expected
            assert cluster.kubectl("diff", "-f", str(SEEDS / name)).stdout == ""
            again = cluster.kubectl("apply", "-f", str(SEEDS / name)).stdout.splitlines()
            # A status in a manifest is not stored, and kubectl tries it anew each time.
            assert [line.rpartition(" ")[2] for line in again] == [
                "configured" if "status" in given else "unchanged" for given in documents(name)
            ]


def test_a_single_address_survives_updates_through_either_version(
    cluster: Cluster,
    api: Api,
) -> None:
    (pool,) = documents("pool-v1alpha2-one-address.yaml")
    manifest = str(SEEDS / "pool-v1alpha2-one-address.yaml")
    with applied(cluster, "pool-v1alpha2-one-address.yaml"):
        stored = api.request("GET", path(pool, "v1beta1")).json()
        kept = stored["metadata"]["annotations"][WRITTEN_AS_V1ALPHA2]
        assert json.loads(kept) == pool["spec"]["ipRanges"]
        shown = api.request("GET", path(pool, "v1alpha2")).json()
        assert WRITTEN_AS_V1ALPHA2 not in shown["metadata"]["annotations"]

        for version in VERSIONS:
            patch = {"metadata": {"labels": {"touched": version}}}
            answer = api.request("PATCH", path(pool, version), patch, "application/merge-patch+json")
            assert answer.status == 200, answer.raw
            status = {"status": {"usage": {"total": 1, "used": 0}}}
            answer = api.request(
                "PATCH", f"{path(pool, version)}/status", status, "application/merge-patch+json"
            )
            assert answer.status == 200, answer.raw
            assert api.request("GET", path(pool, "v1beta1")).json()["spec"] == stored["spec"]
            assert api.request("GET", path(pool, "v1alpha2")).json()["spec"] == pool["spec"]
            assert cluster.kubectl("diff", "-f", manifest).stdout == ""
        now = api.request("GET", path(pool, "v1beta1")).json()
        assert now["metadata"]["generation"] == 1, "nothing of the spec has changed"


@pytest.mark.parametrize("name", ["pool-v1alpha2-one-address.yaml", "pool-v1alpha2.yaml"])
def test_what_is_applied_on_the_server_does_not_differ_from_itself(cluster: Cluster, name: str) -> None:
    manifest = str(SEEDS / name)
    try:
        for _ in range(2):
            printed = cluster.kubectl("apply", "--server-side", "-f", manifest).stdout
            assert printed.endswith(" serverside-applied\n")
            assert cluster.kubectl("diff", "--server-side", "-f", manifest).stdout == ""
        path = f"externalippools.v1beta1.crd.antrea.io/{documents(name)[0]['metadata']['name']}"
        assert cluster.kubectl("get", path, "-o", "jsonpath={.metadata.generation}").stdout == "1"
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", manifest)


def test_a_short_cidr_of_v1beta1_gives_no_address(cluster: Cluster, api: Api) -> None:
    pool = {
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": {"name": "short"},
        "spec": {"ipRanges": [{"cidr": "10.77.0.1/32"}], "nodeSelector": {}},
    }  # fmt: skip
    egress = {
        "apiVersion": "crd.antrea.io/v1alpha2", "kind": "Egress", "metadata": {"name": "short"},
        "spec": {"appliedTo": {}, "egressIP": "10.77.0.1", "externalIPPool": "short"},
    }  # fmt: skip
    made = api.create(pool)
    try:
        for version in VERSIONS:
            patch = {"metadata": {"labels": {"touched": version}}}
            answer = api.request("PATCH", path(pool, version), patch, "application/merge-patch+json")
            assert answer.json()["spec"] == pool["spec"]
        answer = api.request("POST", "/apis/crd.antrea.io/v1alpha2/egresses", egress)
        assert (answer.status, answer.json()["message"]) == (
            400,
            'admission webhook "egressvalidator.antrea.io" denied the request: '
            "IP 10.77.0.1 is not within the IP range",
        )
        # The same words in v1alpha2 mean an address; ranges that are there already do not change meaning.
        old = {**pool, "apiVersion": "crd.antrea.io/v1alpha2"}
        done = cluster.kubectl("replace", "-f", "-", input=json.dumps(old), check=False)
        assert "existing IPRanges [10.77.0.1/32] cannot be updated or deleted" in done.stderr
    finally:
        api.delete(made)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["name"]) for case in recorded.load("ippool-v1alpha2")]
)
def test_an_ip_pool_is_answered_as_recorded(cluster: Cluster, api: Api, case: Case) -> None:
    recorded.replay(api, case)


def test_server_side_apply_passes_the_webhook(cluster: Cluster, api: Api) -> None:
    cases = recorded.server_side_apply()
    assert len(cases) == 6
    for case in cases:
        recorded.replay(api, case)
    api.delete("/apis/crd.antrea.io/v1alpha1/antreanodeconfigs/ssa")


# -- who may have others read a Secret -----------------------------------------------------------------------

ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: makes-captures}
rules:
  - {apiGroups: [crd.antrea.io], resources: [packetcaptures, supportbundlecollections], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: makes-captures}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: makes-captures}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads-secrets, namespace: kube-system}
rules:
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [auth, antrea-packetcapture-fileserver-auth]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads-secrets, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-secrets}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
"""
CAPTURE = """\
apiVersion: crd.antrea.io/v1alpha1
kind: PacketCapture
metadata: {name: seen}
spec:
  source: {pod: {name: p}}
  captureConfig: {firstN: {number: 5}}
  fileServer: {url: "sftp://10.0.0.1:22/up"}
"""
BUNDLES = """\
apiVersion: crd.antrea.io/v1alpha1
kind: SupportBundleCollection
metadata: {name: seen}
spec:
  nodes: {}
  fileServer: {url: "sftp://10.0.0.1:22/up"}
  authentication: {authType: APIKey, authSecret: {name: auth, namespace: kube-system}}
"""


@pytest.mark.parametrize(
    ("manifest", "webhook", "message"),
    [
        (
            CAPTURE,
            "packetcapturevalidator.antrea.io",
            'user "bob" is not authorized to get Secret kube-system/antrea-packetcapture-fileserver-auth '
            "used to authenticate to the file server",
        ),
        (
            BUNDLES,
            "supportbundlecollectionvalidator.antrea.io",
            'user "bob" is not authorized to get Secret kube-system/auth '
            "referenced in spec.authentication.authSecret",
        ),
    ],
)
def test_a_secret_is_used_for_those_only_who_may_read_it(
    cluster: Cluster, manifest: str, webhook: str, message: str
) -> None:
    cluster.kubectl("apply", "-f", "-", input=ROLE)
    refused = cluster.kubectl("create", "--as=bob", "-f", "-", input=manifest, check=False)
    assert refused.stderr == (
        f'Error from server: error when creating "STDIN": admission webhook "{webhook}" '
        f"denied the request: {message}\n"
    )
    cluster.kubectl("create", "--as=alice", "-f", "-", input=manifest)
    cluster.kubectl("delete", "-f", "-", input=manifest)


def test_a_traceflow_needs_its_pod(cluster: Cluster) -> None:
    traceflow = """\
apiVersion: crd.antrea.io/v1beta1
kind: Traceflow
metadata: {name: t}
spec: {source: {namespace: default, pod: web}, destination: {ip: 10.0.0.1}}
"""
    refused = cluster.kubectl("create", "-f", "-", input=traceflow, check=False)
    assert refused.stderr.endswith(
        'admission webhook "traceflowvalidator.antrea.io" denied the request: '
        "requested source Pod default/web not found\n"
    )


def test_the_controller_was_forbidden_nothing(cluster: Cluster) -> None:
    assert cluster.forbidden("system:serviceaccount:kube-system:antrea-controller") == []
