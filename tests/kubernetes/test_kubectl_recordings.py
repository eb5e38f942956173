"""What kubectl printed about upstream's aggregated groups, it prints about ours: same inputs, same commands.

Lists hold what follows from the Kubernetes objects among the inputs; what is missing in them, because it
follows from Antrea-native objects, is named below. Order, column widths and times are not compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.kubernetes import inputs
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes

Case = dict[str, Any]
CASES: list[Case] = json.loads((inputs.DATA / "aggregated.json").read_text())
POLICIES, GROUPS, TARGETS = (
    f"{plural}.controlplane.antrea.io" for plural in ("networkpolicies", "addressgroups", "appliedtogroups")
)

# How many objects of a list follow from Kubernetes policies, and the names of the others.
FOLLOWS: dict[str, tuple[int, set[str]]] = {
    GROUPS: (
        3,
        {
            "2dedecfa-e033-5f7e-9718-fd4907ab5b01", "3f76e7ab-8bad-552f-a5e7-f2a4806df0b1",
            "8f3ce09f-1bc4-563b-98f0-c862bba4f0e4", "994eb831-f621-5e26-a739-d112f927508d",
            "aa0fffd8-03be-59af-87bd-13fa0c4de213", "cg-parent", "data/grp-db",
        },
    ),
    TARGETS: (
        5,
        {
            "2dedecfa-e033-5f7e-9718-fd4907ab5b01", "3f76e7ab-8bad-552f-a5e7-f2a4806df0b1",
            "45f034b6-01b1-5df0-a603-3dc723aa3183", "553ae418-8b91-51c9-abf5-c076bc2964d3",
            "946d5846-ff34-5a8c-ab0b-2c6c271b0778", "cg-web",
        },
    ),
}  # fmt: skip

_NOT_FOUND = 'Error from server (NotFound): {} "{}" not found\n'
MENDED = {
    "kubectl get --raw /apis/controlplane.antrea.io/v1beta2/clustergroupmembers/nope": _NOT_FOUND.format(
        "clustergroupmembers.controlplane.antrea.io", "nope"
    ),
    "kubectl get --raw /apis/controlplane.antrea.io/v1beta2/namespaces/shop/groupmembers/grp-db": (
        _NOT_FOUND.format("groupmembers.controlplane.antrea.io", "grp-db")
    ),
}
_BASE = "kubectl get --raw /apis/controlplane.antrea.io/v1beta2/"
LATER = {
    "kubectl get clustergroupmembers cg-web",
    "kubectl get clustergroupmembers cg-parent",
    "kubectl get groupmembers -n data grp-db",
    *(f"{_BASE}clustergroupmembers/{name}" for name in ("cg-web", "cg-nets", "cg-parent")),
    *(f"{_BASE}clustergroupmembers/cg-web?page={page}&limit=2" for page in (1, 2, 9)),
    f"{_BASE}namespaces/shop/groupassociations/front-1",
    f"{_BASE}ipgroupassociations/10.10.1.5",
    "kubectl get antreanetworkpolicystats -A",
    "kubectl get --raw /apis/stats.antrea.io/v1alpha1/antreaclusternetworkpolicystats",
    "kubectl get acnp",
    "kubectl get cg cg-parent -o json",
    "kubectl get --raw /apis/crd.antrea.io/v1beta1/clusternetworkpolicies/acnp-group-rule",
}

_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    async with inputs.filled(shared_cluster, tmp_path_factory.mktemp("controller")):
        yield shared_cluster


def rows(text: str) -> list[tuple[str, ...]]:
    """A table's rows, in no order; times as TIME."""
    return sorted(tuple(re.split(r" {2,}", _TIME.sub("TIME", line.strip()))) for line in text.splitlines())


def lists(case: Case) -> str:
    """The resource whose objects the case lists, if only a part of them is there."""
    for resource in (POLICIES, GROUPS, TARGETS):
        plain = resource.partition(".")[0]
        if case["argv"][2] == resource and "nope" not in case["argv"]:
            return resource
        if case["argv"][-1].endswith(f"/v1beta2/{plain}"):
            return resource
    return ""


def member_set(item: Case) -> Any:
    return sorted(json.dumps(member, sort_keys=True) for member in item.get("groupMembers", ()))


def check_list(resource: str, case: Case, printed: str) -> None:
    """Ours are the recorded ones without those that are named; policies have other UIDs in every cluster."""
    if "stdoutJSON" in case:
        theirs = {item["metadata"]["name"]: item for item in case["stdoutJSON"]["items"]}
        ours = {item["metadata"]["name"]: item for item in json.loads(printed)["items"]}
        assert {name: member_set(ours[name]) for name in ours} == {
            name: member_set(theirs[name]) for name in ours
        }
        found, recorded = set(ours), set(theirs)
    else:
        found_rows, recorded_rows = rows(printed), rows(case["stdout"])
        if case["argv"][-1] != "name":
            header = next(row for row in recorded_rows if row[0] == "NAME")
            assert header in found_rows
            assert {row[1:] for row in found_rows} == {row[1:] for row in recorded_rows if row}
        found = {row[0].rpartition("antrea.io/")[2] for row in found_rows} - {"NAME", ""}
        recorded = {row[0].rpartition("antrea.io/")[2] for row in recorded_rows} - {"NAME", ""}
    if resource == POLICIES:
        assert (len(found), len(recorded)) == (inputs.POLICIES, 11)
        return
    number, others = FOLLOWS[resource]
    assert len(found) == number
    assert recorded - found == others
    assert found <= recorded


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
async def test_command(cluster: Cluster, case: Case) -> None:
    name = case["name"]
    done = cluster.kubectl(*case["argv"][1:], check=False)
    printed, complained = done.stdout, done.stderr
    if name in MENDED:
        assert (done.returncode, complained) == (1, MENDED[name])
        return
    if name in LATER:
        # Nothing is made up: what is not there is not found, or the list is empty.
        missing = "NotFound" in complained or "No resources found" in complained
        assert missing or '"items":[]' in printed or '"associatedGroups":[]' in printed
        return
    if resource := lists(case):
        assert (done.returncode, complained) == (0, "")
        check_list(resource, case, printed)
        return
    assert (done.returncode, complained) == (case["exitCode"], case["stderr"])
    if "stdoutJSON" in case:
        assert same_shape(json.loads(printed), case["stdoutJSON"])
    else:
        assert rows(printed) == [row for row in rows(case["stdout"]) if row != ("",)]


def same_shape(ours: Any, theirs: Any) -> bool:
    """Equal but for values that a cluster gives: versions, times, ports and counts."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        ours = {key: value for key, value in ours.items() if key != "resourceVersion"}
        return ours.keys() == theirs.keys() and all(same_shape(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_shape, ours, theirs))
    return type(ours) is type(theirs)


def test_the_counts_that_the_documentation_gives() -> None:
    names = {case["name"] for case in CASES}
    assert names >= LATER | MENDED.keys()
    part = sum(bool(lists(case)) for case in CASES)
    assert (len(CASES), len(MENDED), len(LATER), part) == (47, 2, 16, 9)
