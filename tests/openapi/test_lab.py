"""The same requests put to the lab's API: it answers as kube-apiserver does, except where it is said here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import kubeconfig
from client.rest import RestClient
from lab import apply
from tests.lab.api.process import LabApi
from tests.openapi import recorded, unrecorded
from tests.openapi.recorded import KINDS, Api, Case, Object

CRDS = Path(__file__).parents[2] / "openapi" / "crds"

# Case to what the lab's API answers otherwise. Each is tested to be still so: what is mended leaves the list.
OTHERWISE = {
    **dict.fromkeys(
        ("discovery /apis/crd.antrea.io/v1alpha1", "discovery /apis/crd.antrea.io/v1beta1"),
        "verbs are in the order of the alphabet, and storageVersionHash is absent",
    ),
    **dict.fromkeys(
        ("removed-version-acnp-v1alpha1", "namespace-on-cluster-scoped"),
        "the 404 for a path without resource is a Status, not a line of text",
    ),
    "group-without-namespace": "405 instead of 404, because a list of all namespaces is at that path",
    "tier-status-no-subresource": "the 404 names no object",
    "tf-status-patch-bad": "the path inside the message begins with status",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    lab = LabApi(tmp_path_factory.mktemp("lab-api"), ["--no-scheduler"])
    lab.start()
    try:
        asyncio.run(_install(lab.state / "kubeconfig"))
        opened = Api("127.0.0.1", lab.port, lab.context(), lab.token)
        yield opened
        opened.close()
    finally:
        lab.stop()


async def _install(path: Path) -> None:
    async with RestClient(await kubeconfig.load(str(path))) as client:
        await apply.apply_all(client, apply.read([CRDS]))


CASES = [(subject, case) for subject, case in recorded.plain() if case["name"] not in OTHERWISE]
REST = [case for _, case in recorded.plain() if case["name"] in OTHERWISE]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{subject}-{case['name']}") for subject, case in CASES]
)
def test_the_lab_answers_as_recorded(api: Api, case: Case) -> None:
    recorded.replay(api, case)


@pytest.mark.parametrize("case", REST, ids=lambda case: f"{case['name']}: {OTHERWISE[case['name']]}")
def test_what_the_lab_answers_otherwise(api: Api, case: Case) -> None:
    answer = recorded.put(api, case)
    assert answer.status == (405 if case["name"] == "group-without-namespace" else case["status"])
    with pytest.raises((AssertionError, KeyError)):
        recorded.check(case, answer)


def test_server_side_apply_merges_lists_by_their_keys(api: Api) -> None:
    for case in recorded.server_side_apply():
        recorded.replay(api, case)
    api.delete("/apis/crd.antrea.io/v1alpha1/antreanodeconfigs/ssa")


@pytest.mark.parametrize("rule", unrecorded.REFUSED, ids=lambda rule: f"{rule[0]}-{rule[1]}")
def test_rules_without_a_recording(api: Api, rule: tuple[str, str, Any, str]) -> None:
    unrecorded.check_refused(api, *rule)


@pytest.mark.parametrize("default", unrecorded.DEFAULTED, ids=lambda default: f"{default[0]}-{default[3]}")
def test_defaults_without_a_recording(api: Api, default: tuple[str, str, Any, str, Any]) -> None:
    unrecorded.check_defaulted(api, *default)


@pytest.mark.parametrize("kind", recorded.TABLES, ids=lambda kind: kind["kind"])
def test_the_lab_gives_the_recorded_tables(api: Api, kind: Object) -> None:
    made = [api.create(document) for document in kind["objects"]]
    try:
        recorded.check_table(api, kind)
    finally:
        for path in made:
            api.delete(path)


def test_all_cases_are_replayed_here_or_set_apart() -> None:
    assert {case["name"] for case in REST} == set(OTHERWISE)
    assert len(CASES) > 200
    assert len(KINDS) == len(recorded.TABLES) + 1
