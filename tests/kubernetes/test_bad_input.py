"""What is wrong with a request, our groups say as kube-apiserver says it of its own resources.

Each request is made three times: about one of kube-apiserver's own kinds, about one of ours through the
aggregator, and to the controller itself. Status, reason and message have to be equal but for the names.
``OWN`` lists where ours differ, with the reason.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes import inputs
from tests.kubernetes.cluster import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.asyncio(loop_scope="module")]

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
# Read: Nodes beside AddressGroups. Written: ClusterRoles beside NodeLatencyStats.
READ = ("/api/v1/nodes", "/apis/controlplane.antrea.io/v1beta2/addressgroups")
WRITTEN = (
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/stats.antrea.io/v1alpha1/nodelatencystats",
)
NAMES = [
    {"nodes": "RESOURCE", "Node": "KIND"},
    {"addressgroups": "RESOURCE", "controlplane.antrea.io": "GROUP", "AddressGroup": "KIND"},
    {
        "clusterroles": "RESOURCE", "ClusterRole": "KIND", "rbac.authorization.k8s.io": "GROUP",
        'version "v1"': "VERSION", "GROUP/v1": "GROUP/VERSION",
    },
    {
        "nodelatencystats": "RESOURCE", "NodeLatencyStats": "KIND", "stats.antrea.io": "GROUP",
        'version "v1alpha1"': "VERSION", "GROUP/v1alpha1": "GROUP/VERSION",
    },
]  # fmt: skip


@dataclass(frozen=True)
class Wrong:
    """A request; ``body`` is of a ClusterRole and is rewritten for ours."""

    paths: tuple[str, str]
    query: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def post(body: bytes, media: str = JSON, query: str = "") -> Wrong:
    return Wrong(WRITTEN, query, "POST", {"Content-Type": media}, body)


def role(**fields: Any) -> bytes:
    document = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **fields}
    return json.dumps({"metadata": {"name": "x"}, **document}).encode()


def accept(media: str, query: str = "") -> Wrong:
    return Wrong(READ, query, headers={"Accept": media})


REQUESTS = {
    # -- selectors
    "label selector with three signs": Wrong(READ, "labelSelector=a%3D%3D%3Db"),
    "label selector without a key": Wrong(READ, "labelSelector=%21%21"),
    "label selector with an open bracket": Wrong(READ, "labelSelector=a+in+%28b"),
    "label selector with an impossible key": Wrong(READ, "labelSelector=a%2Fb%2Fc%3Dd"),
    "label selector with an impossible value": Wrong(READ, "labelSelector=a%3D-b-"),
    "field selector without a field": Wrong(READ, "fieldSelector=%3D%3D%3D"),
    "field selector without a sign": Wrong(READ, "fieldSelector=metadata.name"),
    "field selector of a field that has no label": Wrong(READ, "fieldSelector=spec.colour%3Dred"),
    "the same on a watch": Wrong(READ, "watch=1&fieldSelector=spec.colour%3Dred"),
    # -- options
    "unknown options": Wrong(READ, "colour=red&nope"),
    "limit that is empty": Wrong(READ, "limit="),
    "limit that is no number": Wrong(READ, "limit=abc"),
    "timeout that is no number": Wrong(READ, "timeoutSeconds=abc"),
    "match without a version": Wrong(READ, "resourceVersionMatch=Exact"),
    "match that there is not": Wrong(READ, "resourceVersion=5&resourceVersionMatch=Wrong"),
    "exactly the version 0": Wrong(READ, "resourceVersion=0&resourceVersionMatch=Exact"),
    "initial events of a list": Wrong(READ, "sendInitialEvents=true"),
    "initial events without a match": Wrong(READ, "watch=1&sendInitialEvents=true"),
    "match of a watch": Wrong(READ, "watch=1&resourceVersionMatch=NotOlderThan"),
    "both, with a continue token": Wrong(
        READ, "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x"
    ),
    "a version that is none": Wrong(READ, "resourceVersion=abc"),
    "a watch from a version that is none": Wrong(READ, "watch=1&resourceVersion=abc"),
    "a continue token that is none": Wrong(READ, "continue=x"),
    # -- media types of answers
    "HTML": accept("text/html"),
    "XML": accept("application/xml"),
    "a transform that there is not": accept(f"{JSON};as=Nope;v=v1;g=meta.k8s.io"),
    "a Table of another version": accept(f"{JSON};as=Table;v=v9;g=meta.k8s.io"),
    "a Table in protobuf": accept(f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io"),
    "a watch in YAML": accept("application/yaml", "watch=1"),
    "a Table with unknown objects": accept(f"{JSON};as=Table;v=v1;g=meta.k8s.io", "includeObject=Bad"),
    # -- methods and paths
    "PUT of a collection": Wrong(READ, method="PUT", headers={"Content-Type": JSON}, body=b"{}"),
    "PATCH of a collection": Wrong(READ, method="PATCH", headers={"Content-Type": JSON}, body=b"{}"),
    "OPTIONS": Wrong(READ, method="OPTIONS"),
    "a subresource that there is not": Wrong((f"{READ[0]}/x/nope", f"{READ[1]}/x/nope")),
    "a namespace where there is none": Wrong(
        (
            "/api/v1/namespaces/default/nodes",
            "/apis/controlplane.antrea.io/v1beta2/namespaces/default/addressgroups",
        )
    ),
    # -- bodies
    "text": post(b"x", "text/plain"),
    "a form": post(b"a=b", "application/x-www-form-urlencoded"),
    "nothing": post(b""),
    "half an object": post(b'{"kind":'),
    "no JSON": post(b"{bad"),
    "a list": post(b"[]"),
    "a string": post(b'"x"'),
    "YAML that is none": post(b"a: [", "application/yaml"),
    "protobuf without its prefix": post(b"abc", PROTOBUF),
    "another version": post(role(apiVersion="rbac.authorization.k8s.io/v7")),
    "metadata that is a string": post(role(metadata="x")),
    "a name that is a number": post(role(metadata={"name": 5})),
    "labels that are a list": post(role(metadata={"name": "x", "labels": ["a"]})),
    "an unknown field, strictly": post(role(colour="red"), query="fieldValidation=Strict"),
    "two unknown fields, strictly": post(role(colour="red", shape={"a": 1}), query="fieldValidation=Strict"),
    "a validation that there is not": post(role(), query="fieldValidation=Never"),
    "a dry run that there is not": post(role(), query="dryRun=Some"),
    "more than 3 MiB": post(b'{"a":"' + b"x" * (4 << 20) + b'"}'),
    "a deletion with half an object": Wrong(
        (f"{WRITTEN[0]}/x", f"{WRITTEN[1]}/x"),
        method="DELETE",
        headers={"Content-Type": JSON},
        body=b'{"kind":',
    ),
    "a deletion that runs dry wrongly": Wrong(
        (f"{WRITTEN[0]}/x", f"{WRITTEN[1]}/x"), "dryRun=Some", method="DELETE"
    ),
}  # fmt: skip

_EXPIRED = "what is no version of this server has expired: the client lists again, whatever it was"
_OWN_WORDS = "the rule that is broken is told in words of one's own"
OWN: dict[str, tuple[int, str]] = {
    "label selector with an impossible key": (400, _OWN_WORDS),
    "label selector with an impossible value": (400, _OWN_WORDS),
    "a version that is none": (410, _EXPIRED),
    "a watch from a version that is none": (410, _EXPIRED),
    "YAML that is none": (400, "the words are those of another YAML library"),
    "a deletion with half an object": (400, "kube-apiserver says that it has an internal error"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path_factory.mktemp("controller"), shared_cluster) as started:
        await eventually(lambda: started.json(READ[1]), "the group is served")
        await eventually(lambda: started.json(WRITTEN[1]), "the group is served")
        yield started


@dataclass(frozen=True)
class Refusal:
    """What of an answer has to be equal."""

    status: int
    media: str
    reason: str
    message: str
    causes: tuple[str, ...] = ()


def read(names: dict[str, str], status: int, media: str, body: bytes) -> Refusal:
    media = media.partition(";")[0]
    if status < 400:
        return Refusal(status, media, "", "")
    try:
        document = json.loads(body) if media == JSON else {}
    except ValueError:
        document = {}
    message = re.sub(r' in scheme "[^"]*"', "", document.get("message", ""))  # a line of Go source
    for name, neutral in names.items():
        message = message.replace(name, neutral)
    details = document.get("details") or {}
    causes = tuple(f"{c.get('reason')} {c.get('field')}" for c in details.get("causes", ()))
    return Refusal(status, media, document.get("reason", ""), message, causes)


async def ask(plane: ControlPlane, wrong: Wrong, ours: bool, direct: bool = False) -> Refusal:
    assert plane.cluster is not None
    body = wrong.body
    if ours and body is not None:
        body = body.replace(b"ClusterRole", b"NodeLatencyStats")
        body = body.replace(b"rbac.authorization.k8s.io/v1", b"stats.antrea.io/v1alpha1")
        body = body.replace(b"rbac.authorization.k8s.io", b"stats.antrea.io")
    pki = plane.cluster.pki
    headers = {"Accept": JSON, **wrong.headers}
    if direct:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        base = f"https://127.0.0.1:{plane.controller_port}"
        headers["Authorization"] = (
            "Bearer " + (plane.run_dir / "apiserver" / "loopback-client-token").read_text()
        )
    else:
        tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        base = plane.cluster.url
        headers["Authorization"] = "Bearer " + await plane.cluster.token("kube-system", "bad-input")
    url = URL(f"{base}{wrong.paths[ours]}?{wrong.query}", encoded=True)
    written = wrong.paths[0].startswith(WRITTEN[0])
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.request(wrong.method, url, headers=headers, data=body, ssl=tls) as response,
    ):
        if response.status == 200 and "watch=1" in wrong.query:
            answer = await response.content.readline()
        else:
            answer = await response.read()
        names = NAMES[2 * written + ours]
        return read(names, response.status, response.headers.get("Content-Type", ""), answer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(plane: ControlPlane) -> ControlPlane:
    """With somebody who may do everything."""
    await inputs.administrator(plane.kube, "bad-input")
    return plane


@pytest.mark.parametrize("name", REQUESTS)
async def test_refusals_are_those_of_kube_apiserver(asked: ControlPlane, name: str) -> None:
    wrong = REQUESTS[name]
    theirs = await ask(asked, wrong, ours=False)
    aggregated = await ask(asked, wrong, ours=True)
    direct = await ask(asked, wrong, ours=True, direct=True)
    assert direct == aggregated
    if name in OWN:
        status, reason = OWN[name]
        assert direct.status == status, reason
        assert direct != theirs, "no longer different"
    else:
        assert direct == theirs
