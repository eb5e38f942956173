"""The definitions in a real kube-apiserver: every recorded request gets the recorded answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.definitions import install
from tests.openapi import recorded, unrecorded
from tests.openapi.recorded import Api, Case

pytestmark = pytest.mark.kubernetes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(shared_cluster: Cluster) -> AsyncIterator[Api]:
    """The API of a cluster with the definitions, and neither webhooks nor controller."""
    opened = install(shared_cluster)
    yield opened
    opened.close()


@pytest.mark.parametrize("case", [
    pytest.param(case, id=f"{subject}-{case['name']}") for subject, case in recorded.plain()
])  # fmt: skip
def test_requests_are_answered_as_recorded(api: Api, case: Case) -> None:
    recorded.replay(api, case)


def test_server_side_apply_merges_lists_by_their_keys(api: Api) -> None:
    cases = recorded.server_side_apply()
    assert len(cases) == 6
    for case in cases:
        recorded.replay(api, case)
    api.delete("/apis/crd.antrea.io/v1alpha1/antreanodeconfigs/ssa")


@pytest.mark.parametrize("rule", unrecorded.REFUSED, ids=lambda rule: f"{rule[0]}-{rule[1]}")
def test_rules_without_a_recording(api: Api, rule: tuple[str, str, Any, str]) -> None:
    unrecorded.check_refused(api, *rule)


@pytest.mark.parametrize("default", unrecorded.DEFAULTED, ids=lambda default: f"{default[0]}-{default[3]}")
def test_defaults_without_a_recording(api: Api, default: tuple[str, str, Any, str, Any]) -> None:
    unrecorded.check_defaulted(api, *default)


# -- what is different here: Egress and ExternalIPPool are served as v1alpha2 too --------------------------


def test_discovery_of_v1alpha2_has_two_kinds_more(api: Api) -> None:
    path = "/apis/crd.antrea.io/v1alpha2"
    entries = {entry["name"]: entry for entry in api.request("GET", path).json()["resources"]}
    (case,) = [case for case in recorded.load("discovery-and-generic") if case["name"].endswith("v1alpha2")
               and case["name"].startswith("discovery")]  # fmt: skip
    for entry in case["response"]["resources"]:
        assert entries.pop(entry["name"]) == entry
    assert sorted(entries) == [
        "egresses",
        "egresses/status",
        "externalippools",
        "externalippools/status",
    ]
    newer = api.request("GET", "/apis/crd.antrea.io/v1beta1").json()["resources"]
    for entry in newer:
        if entry["name"] in entries:
            assert entries[entry["name"]] == entry


def test_the_preferred_version_stays_v1beta1(api: Api) -> None:
    group = api.request("GET", "/apis/crd.antrea.io").json()
    assert group["preferredVersion"]["version"] == "v1beta1"
    assert [entry["version"] for entry in group["versions"]] == ["v1beta1", "v1alpha2", "v1alpha1"]


def test_v1alpha2_waits_for_the_controller_to_convert(api: Api) -> None:
    """Without the controller the write is refused with a reason; v1beta1 is not held up (see the replay)."""
    egress = {
        "apiVersion": "crd.antrea.io/v1alpha2",
        "kind": "Egress",
        "metadata": {"name": "old"},
        "spec": {"appliedTo": {}, "egressIP": "1.2.3.4"},
    }
    answer = api.request("POST", "/apis/crd.antrea.io/v1alpha2/egresses", egress)
    assert answer.status == 500
    assert "conversion webhook for crd.antrea.io/v1alpha2, Kind=Egress failed" in answer.json()["message"]
    assert "crd.antrea.io/v1alpha2 Egress is deprecated" in answer.warnings


@pytest.mark.parametrize(
    ("kind", "plural", "spec", "cause"),
    [
        ("Egress", "egresses", {"appliedTo": {}}, '"spec" must validate one and only one schema (oneOf)'),
        ("Egress", "egresses", {"egressIP": "1.2.3.4"}, "spec.appliedTo: Required value"),
        ("Egress", "egresses", {"appliedTo": {}, "egressIP": ""}, "must be of type ipv4"),
        ("ExternalIPPool", "externalippools", {"ipRanges": []}, "spec.nodeSelector: Required value"),
        (
            "ExternalIPPool",
            "externalippools",
            {"ipRanges": [{"cidr": "1.0.0.0/8", "start": "1.0.0.1", "end": "1.0.0.2"}], "nodeSelector": {}},
            "Found 2 valid alternatives",
        ),
    ],
)
def test_v1alpha2_is_checked_like_v1beta1(
    api: Api, kind: str, plural: str, spec: dict[str, object], cause: str
) -> None:
    for version in ("v1alpha2", "v1beta1"):
        document = {
            "apiVersion": f"crd.antrea.io/{version}",
            "kind": kind,
            "metadata": {"name": "bad"},
            "spec": spec,
        }
        answer = api.request("POST", f"/apis/crd.antrea.io/{version}/{plural}", document)
        assert (answer.status, answer.json()["reason"]) == (422, "Invalid")
        assert cause in answer.json()["message"]
