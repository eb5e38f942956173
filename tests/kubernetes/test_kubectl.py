"""kubectl against a real kube-apiserver with Antrea's groups behind it: what people type, and what they see.

One controller serves all tests of this file. The commands are a table of their own (commands.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.controller.control_plane import ControlPlane, eventually
from tests.kubernetes import binaries, inputs
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.commands import FRONT, POLICIES, REFUSED, SEEN, VERSIONED

pytestmark = [pytest.mark.kubernetes, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with inputs.filled(shared_cluster, tmp_path_factory.mktemp("controller")) as started:
        yield started


def kubectl(plane: ControlPlane, words: str, **options: Any) -> Any:
    assert plane.cluster is not None
    return plane.cluster.kubectl(*words.split(" "), **options)


@pytest.mark.parametrize(("words", "expected"), SEEN, ids=lambda value: str(value)[:70])
async def test_seen(plane: ControlPlane, words: str, expected: str) -> None:
    done = kubectl(plane, words)
    assert re.search(expected, done.stdout + ("" if done.stdout else done.stderr)), done.stdout
    complaints = re.sub(
        r"Warning: resource .* is not namespace scoped.*\n+|No resources found.*\n", "", done.stderr
    )
    assert complaints == ""


@pytest.mark.parametrize(("words", "expected"), REFUSED, ids=lambda value: str(value)[:70])
async def test_refused(plane: ControlPlane, words: str, expected: str) -> None:
    done = kubectl(plane, words, check=False)
    assert done.returncode != 0
    assert re.search(expected, done.stderr), done.stderr


async def test_diff_of_what_cannot_be_written_says_so(plane: ControlPlane) -> None:
    shown = kubectl(plane, f"get addressgroup {FRONT} -o yaml").stdout
    done = kubectl(plane, "diff -f -", input=shown, check=False)
    assert done.returncode > 1
    assert "the server does not allow this method on the requested resource" in done.stderr


@pytest.mark.parametrize(
    ("words", "requests"),
    [
        (f"get {VERSIONED}", ["/apis/controlplane.antrea.io/v1beta2/networkpolicies?limit=500"]),
        (f"get addressgroup {FRONT}", [f"/apis/controlplane.antrea.io/v1beta2/addressgroups/{FRONT}"]),
        (
            f"get {VERSIONED} --chunk-size=4",
            ["/apis/controlplane.antrea.io/v1beta2/networkpolicies?limit=4",
             "/apis/controlplane.antrea.io/v1beta2/networkpolicies?continue="],
        ),
        ("get networkpolicystats -A", ["/apis/stats.antrea.io/v1alpha1/networkpolicystats?limit=500"]),
        ("get controllerinfos", ["/apis/system.antrea.io/v1beta1/controllerinfos?limit=500"]),
    ],
)  # fmt: skip
async def test_verbose_shows_one_request_each_and_nothing_to_retry(
    plane: ControlPlane, words: str, requests: list[str]
) -> None:
    # (A name of three parts, such as networkpolicies.controlplane.antrea.io, makes kubectl discover anew.)
    kubectl(plane, words)  # discovery is in kubectl's cache from here on
    told = kubectl(plane, f"{words} --v=8").stderr
    asked = re.findall(r'"Request" verb="GET" url="https://[^/]+([^"]+)"', told)
    assert len(asked) == len(requests)
    assert all(ours.startswith(theirs) for ours, theirs in zip(asked, requests, strict=True))
    assert re.findall(r'"Response" status="([^"]*)"', told) == ["200 OK"] * len(requests)
    assert "Warning" not in told
    assert "Retry" not in told.replace("Retry-After", "")


async def test_reports_can_be_created_and_read(plane: ControlPlane) -> None:
    latency = {
        "apiVersion": "stats.antrea.io/v1alpha1",
        "kind": "NodeLatencyStats",
        "metadata": {"name": "node-1"},
        "peerNodeLatencyStats": [
            {
                "nodeName": "node-2",
                "targetIPLatencyStats": [
                    {"targetIP": "10.10.2.1", "lastMeasuredRTTNanoseconds": 1_500_000, "lastSendTime": None}
                ],
            }
        ],
    }
    done = kubectl(plane, "create -f -", input=json.dumps(latency))
    assert done.stdout == "nodelatencystats.stats.antrea.io/node-1 created\n"
    table = kubectl(plane, "get nodelatencystats").stdout.splitlines()
    assert [re.split(" {2,}", line.strip()) for line in table] == [
        ["NODE NAME", "NUM LATENCY ENTRIES", "AVG LATENCY", "MAX LATENCY"],
        ["node-1", "1", "1.5ms", "1.5ms"],
    ]
    unknown = {**latency, "colour": "red"}
    assert (
        'unknown field "colour"'
        in kubectl(plane, "create -f -", input=json.dumps(unknown), check=False).stderr
    )
    assert "deleted" in kubectl(plane, "delete nodelatencystats node-1").stdout
    assert "No resources found" in kubectl(plane, "get nodelatencystats").stderr

    (uid,) = [
        item["metadata"]["uid"]
        for item in json.loads(kubectl(plane, "get networkpolicies -n shop -o json").stdout)["items"]
        if item["metadata"]["name"] == "api-out"
    ]
    summary = {
        "apiVersion": "controlplane.antrea.io/v1beta2",
        "kind": "NodeStatsSummary",
        "metadata": {"name": "node-1"},
        "networkPolicies": [
            {"networkPolicy": {"uid": uid}, "trafficStats": {"packets": 3, "bytes": 300, "sessions": 1}}
        ],
    }
    kubectl(plane, "create -f -", input=json.dumps(summary))
    table = kubectl(plane, "get networkpolicystats -n shop api-out --no-headers").stdout
    assert table.split()[:4] == ["api-out", "1", "3", "300"]


async def test_where_a_policy_is_in_force_can_be_read(plane: ControlPlane) -> None:
    items = json.loads(kubectl(plane, f"get {POLICIES} -o json").stdout)["items"]
    (name,) = [item["metadata"]["name"] for item in items if item["sourceRef"]["name"] == "front-in"]
    words = f"get {VERSIONED} {name} --subresource=status -o json"
    before = json.loads(kubectl(plane, words).stdout)
    assert before["kind"] == "NetworkPolicyStatus"
    assert [node["nodeName"] for node in before["nodes"]] == ["node-1", "node-2", "node-3"]
    assert all("generation" not in node for node in before["nodes"])

    report = {
        "apiVersion": "controlplane.antrea.io/v1beta2",
        "kind": "NetworkPolicyStatus",
        "metadata": {"name": name},
        "nodes": [{"nodeName": "node-2", "generation": 1, "realizationFailure": False}],
    }
    path = f"/apis/controlplane.antrea.io/v1beta2/networkpolicies/{name}/status"
    kubectl(plane, f"create --raw {path} -f -", input=json.dumps(report))
    after = json.loads(kubectl(plane, words).stdout)
    assert {node["nodeName"]: node.get("generation") for node in after["nodes"]} == {
        "node-1": None, "node-2": 1, "node-3": None,
    }  # fmt: skip


class Watch:
    """A kubectl that watches, and what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> str:
        assert self._process.stdout is not None
        while True:
            line = (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode()
            assert line, f"the watch ended: {self.lines}"
            self.lines.append(line)
            if re.search(pattern, line):
                return line

    async def end(self) -> str:
        self._process.terminate()
        _, complaints = await self._process.communicate()
        return complaints.decode()


async def watch(plane: ControlPlane, words: str) -> Watch:
    assert plane.cluster is not None
    process = await asyncio.create_subprocess_exec(
        str(binaries.require("kubectl")), *words.split(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"KUBECONFIG": str(plane.cluster.kubeconfig), "HOME": str(plane.cluster.directory)},
    )  # fmt: skip
    return Watch(process)


def policy(name: str, app: str) -> str:
    spec = {"podSelector": {"matchLabels": {"app": app}}}
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }
    return json.dumps(document)


def _watches(plane: ControlPlane) -> int:
    assert plane.cluster is not None
    return sum(
        event["verb"] == "watch" and event["stage"] == "ResponseStarted"
        for event in plane.cluster.audit()
        if "controlplane.antrea.io" in event["requestURI"] and event["userAgent"].startswith("kubectl")
    )


async def test_watches_show_each_change(plane: ControlPlane) -> None:
    before = _watches(plane)
    first = await watch(plane, f"get {POLICIES} -w --output-watch-events")
    only = await watch(
        plane,
        f"get {POLICIES} --watch-only -o jsonpath={{.sourceRef.name}}:{{.metadata.generation}}{{'\\n'}}",
    )
    chosen = await watch(plane, "get appliedtogroups --watch-only --field-selector nodeName=node-2 -o name")
    labelled = await watch(plane, f"get {POLICIES} --watch-only -l app=web -o name")
    for _ in range(5):
        await first.until(r"^ADDED +[0-9a-f-]{36} ")
    await eventually(lambda: _watches(plane) == before + 4, "all watches have begun")

    created = kubectl(plane, "create -f -", input=policy("watched", "db")).stdout
    assert "created" in created
    uid = kubectl(plane, "get networkpolicy watched -o jsonpath={.metadata.uid}").stdout
    await first.until(rf"^ADDED +{uid} ")
    await only.until("^watched:1")
    kubectl(plane, "apply -f -", input=policy("watched", "other"))
    await first.until(rf"^MODIFIED +{uid} ")
    await only.until("^watched:2")
    kubectl(plane, "delete networkpolicy watched")
    await first.until(rf"^DELETED +{uid} ")
    for each in (first, only, chosen, labelled):
        assert await each.end() == ""
    header, *_ = first.lines
    assert header.split() == ["EVENT", "NAME", "CREATED", "AT"]
    assert labelled.lines == []  # nothing here has labels
    assert sum(uid in line for line in only.lines) == 0


async def test_the_clusters_openapi_stays_valid(plane: ControlPlane) -> None:
    second = json.loads(kubectl(plane, "get --raw /openapi/v2").stdout)
    assert references(second) <= {
        f"#/{part}/{name}" for part in ("definitions", "parameters") for name in second[part]
    }
    third = {
        version: json.loads(kubectl(plane, f"get --raw /openapi/v3/apis/{version}").stdout)
        for version in (
            "controlplane.antrea.io/v1beta2",
            "stats.antrea.io/v1alpha1",
            "system.antrea.io/v1beta1",
        )
    }
    for version, document in third.items():
        schemas = document["components"]["schemas"]
        assert references(document) <= {f"#/components/schemas/{name}" for name in schemas}
        kinds = {
            entry["kind"]
            for schema in schemas.values()
            for entry in schema.get("x-kubernetes-group-version-kind", ())
            if f"{entry['group']}/{entry['version']}" == version
        }
        resources = json.loads(kubectl(plane, f"get --raw /apis/{version}").stdout)["resources"]
        assert kinds >= {resource["kind"] for resource in resources}
        in_v2 = [name for name in second["definitions"] if name.startswith(_prefix(version))]
        assert set(in_v2) == {name for name in schemas if name.startswith(_prefix(version))}
    index = json.loads(kubectl(plane, "get --raw /openapi/v3").stdout)["paths"]
    assert {f"apis/{version}" for version in third} <= set(index)

    assert plane.cluster is not None
    log = plane.cluster.log("apiserver")
    settled = log.rpartition("Adding GroupVersion controlplane.antrea.io")[2]
    assert re.findall(r"(?m)^[EW].*OpenAPI.*antrea.*$", settled) == []


def _prefix(version: str) -> str:
    group, number = version.split("/")
    return ".".join([*reversed(group.split(".")), number, ""])


def references(document: Any) -> set[str]:
    return set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)))
