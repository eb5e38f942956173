"""Rules that ask the cluster: refusals that no recording has, an API that does not answer, and the gates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from client.endpoint import Endpoint
from client.rest import RestClient
from controller.admission import secret_access
from tests.controller.admission.replay import Case, Webhooks, recording, webhooks
from tests.controller.control_plane import ControlPlane

GATES = recording("validate-egress")["featureGates"]
BOB = {"username": "bob", "groups": ["system:authenticated"]}


def request(recorded: str, name: str, **changes: Any) -> dict[str, Any]:
    """A recorded request, with other fields; ``spec`` and ``status`` are those of the new object."""
    case: Case = next(c for c in recording(recorded)["cases"] if c["name"] == name)
    found = dict(case["request"])
    written = dict(found["object"])
    for part in ("spec", "status"):
        if part in changes:
            written[part] = changes.pop(part)
    return {**found, "object": written, **changes}


def traceflow(**spec: Any) -> dict[str, Any]:
    return request("validate-traceflow", "tf-ok", spec=spec)


CAPTURE = request("validate-packetcapture", "pc-bob-fileserver")
BUNDLES = request("validate-supportbundlecollection", "sbc-bob-denied")


@pytest_asyncio.fixture
async def silent() -> AsyncIterator[RestClient]:
    """An API that takes connections and says nothing."""
    ends = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with RestClient(Endpoint(f"http://127.0.0.1:{port}")) as client:
        yield client
    ends.set()
    server.close()


async def ask(path: str, asked: dict[str, Any], client: RestClient | None = None) -> dict[str, Any]:
    """The verdict; without a client there is no API at all."""
    async with webhooks(GATES, [], client) as served:
        return await served.review(f"/validate/{path}", asked)


# -- an API that does not answer -----------------------------------------------------------------------------

SECRETS = [
    (
        "packetcapture",
        CAPTURE,
        "failed to authorize access to file server authentication Secret "
        "kube-system/antrea-packetcapture-fileserver-auth: ",
    ),
    (
        "supportbundlecollection",
        BUNDLES,
        "failed to authorize access to authSecret kube-system/auth: ",
    ),
]


@pytest.mark.parametrize(("path", "asked", "message"), SECRETS)
async def test_nobody_is_authorized_by_an_api_that_is_away(
    path: str, asked: dict[str, Any], message: str
) -> None:
    found = await ask(path, asked)
    assert found.pop("message").startswith(f"{message}http://127.0.0.1:1/apis/authorization.k8s.io/")
    assert found == {"allowed": False}


@pytest.mark.parametrize(("path", "asked", "message"), SECRETS)
async def test_nobody_is_authorized_by_an_api_that_is_slow(
    path: str, asked: dict[str, Any], message: str, silent: RestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_access, "TIMEOUT", 0.2)
    assert await ask(path, asked, silent) == {
        "allowed": False,
        "message": f"{message}the Kubernetes API gave no answer within 0.2 s",
    }


def test_the_answer_comes_before_kube_apiserver_gives_up() -> None:
    assert secret_access.TIMEOUT == 3.0


async def test_a_traceflow_is_not_judged_without_its_pod() -> None:
    found = await ask("traceflow", traceflow(source={"namespace": "default", "pod": "p1"}))
    assert (found["allowed"], found["code"]) == (False, 503)
    assert found["message"].startswith(
        "the source Pod default/p1 cannot be read from the Kubernetes API: http://127.0.0.1:1/"
    )


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../../apis", "p1?x=y", "P", "x" * 254, "-", "%2e%2e"])
async def test_a_name_that_is_none_is_not_asked_for(name: str) -> None:
    """It would be another path; there is no API here that could answer."""
    found = await ask("traceflow", traceflow(source={"namespace": "default", "pod": name}))
    assert found == {"allowed": False, "message": f"requested source Pod default/{name} not found"}
    found = await ask("traceflow", traceflow(source={"namespace": name, "pod": "p1"}))
    assert found == {"allowed": False, "message": f"requested source Pod {name}/p1 not found"}


async def test_what_needs_no_answer_is_decided_without_one() -> None:
    assert await ask("packetcapture", request("validate-packetcapture", "pc-update-label-bob-ok")) == {
        "allowed": True
    }
    assert await ask("traceflow", traceflow(liveTraffic=True, destination={"pod": "p"})) == {"allowed": True}
    assert await ask("traceflow", traceflow(source=None, destination=None)) == {
        "allowed": False,
        "message": "source Pod must be specified in non-live-traffic Traceflow",
    }


async def test_an_egress_with_a_pool_is_judged_by_what_is_known_where_no_more_can_be_had() -> None:
    found = await ask("egress", request("validate-egress", "egress-ok-pool-ip"))
    assert found == {"allowed": False, "message": "ExternalIPPool ex1 does not exist"}


# -- a collection of bundles ---------------------------------------------------------------------------------


def conditions(*true: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True"} for kind in true]}


UPDATE = request("validate-supportbundlecollection", "sbc-update-label-bob-ok")
CHANGED = {**UPDATE["object"]["spec"], "expirationMinutes": 7}


def update(status: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    old = {**UPDATE["oldObject"], "status": status}
    new = {**UPDATE["object"], "status": status, "spec": spec}
    return {**UPDATE, "object": new, "oldObject": old}


@pytest.mark.parametrize(
    ("status", "spec", "message"),
    [
        (conditions("Started", "Completed"), UPDATE["object"]["spec"], "completed"),
        (conditions("Completed"), CHANGED, "completed"),
        (conditions("Started"), CHANGED, "started"),
        (conditions("Started"), UPDATE["object"]["spec"], None),
        (conditions("CollectionFailure"), CHANGED, None),
        ({"conditions": None}, CHANGED, None),
    ],
)
async def test_a_collection_that_runs_or_ran(status: Any, spec: Any, message: str | None) -> None:
    assert await ask("supportbundlecollection", update(status, spec)) == (
        {
            "allowed": False,
            "message": f"SupportBundleCollection idle is {message}, cannot be updated",
        }
        if message
        else {"allowed": True}
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, None),
        ({}, None),
        ({"fileServer": None, "authentication": None}, None),
        (
            {"authentication": {"authSecret": {}}},
            "spec.authentication.authSecret must specify both name and namespace",
        ),
        (
            {"authentication": {"authSecret": {"namespace": "x"}}},
            "spec.authentication.authSecret must specify both name and namespace",
        ),
        (
            {"fileServer": {"hostPublicKey": 5}},
            "json: cannot unmarshal number into Go struct field "
            "BundleFileServer.spec.fileServer.hostPublicKey of type []uint8",
        ),
    ],
)
async def test_a_collection_with_little_in_it(spec: Any, message: str | None) -> None:
    asked = request("validate-supportbundlecollection", "sbc-ok-no-secret", spec=spec)
    assert await ask("supportbundlecollection", asked) == (
        {"allowed": False, "message": message} if message else {"allowed": True}
    )


# -- what the cluster has had for a moment only --------------------------------------------------------------


def pool(name: str, cidr: str) -> dict[str, Any]:
    return {
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": {"name": name},
        "spec": {"ipRanges": [{"cidr": cidr}], "nodeSelector": {}},
    }  # fmt: skip


async def test_what_has_not_been_heard_of_is_looked_up(bare: ControlPlane) -> None:
    await bare.bootstrap()
    await bare.kube.create("/apis/crd.antrea.io/v1beta1/externalippools", pool("ex1", "10.30.0.0/24"))

    async def egress(served: Webhooks, name: str) -> dict[str, Any]:
        return await served.review("/validate/egress", request("validate-egress", name))

    async with webhooks(GATES, [pool("ex1", "10.99.0.0/24")], bare.kube) as served:
        assert await egress(served, "egress-ok-pool-ip") == {"allowed": True}
        assert (await egress(served, "egress-pool-missing"))["message"] == (
            "ExternalIPPool nosuch does not exist"
        )
        assert (await egress(served, "egress-ip-network-address"))["message"] == (
            "IP 10.30.0.0 is not within the IP range"
        )
        overlapping = request(
            "validate-externalippool", "pool-ok-cidr", spec=pool("new", "10.30.0.0/25")["spec"]
        )
        assert await served.review("/validate/externalippool", overlapping) == {
            "allowed": False,
            "message": "range [10.30.0.0/25] overlaps with range [10.30.0.0/24] of ExternalIPPool ex1",
        }
        free = request("validate-externalippool", "pool-ok-cidr", spec=pool("new", "10.99.0.0/25")["spec"])
        assert await served.review("/validate/externalippool", free) == {"allowed": True}
        missing = traceflow(source={"namespace": "default", "pod": "p1"})
        assert await served.review("/validate/traceflow", missing) == {
            "allowed": False,
            "message": "requested source Pod default/p1 not found",
        }


# -- the gates -----------------------------------------------------------------------------------------------

ALWAYS = {"/validate/packetcapture"}
WITH = {
    "Egress": {"/validate/egress", "/validate/externalippool"},
    "ServiceExternalIP": {"/validate/externalippool"},
    "AntreaIPAM": {"/validate/ippool"},
    "SupportBundleCollection": {"/validate/supportbundlecollection"},
    "Traceflow": {"/validate/traceflow"},
    "AntreaNodeConfig": {"/validate/antreanodeconfig"},
}


@pytest.mark.parametrize("gate", [None, *WITH])
async def test_a_path_is_served_with_its_gate(gate: str | None) -> None:
    gates = {**dict.fromkeys(WITH, False), "AntreaPolicy": False, **({gate: True} if gate else {})}
    async with webhooks(gates) as served:
        found = {path for path in served.admission_paths if path.startswith("/validate/")}
        assert found == ALWAYS | WITH.get(gate or "", set())


@pytest.mark.parametrize("on", [False, True])
async def test_what_is_stored_can_be_read_in_the_old_version_with_any_gate(on: bool) -> None:
    """IPPool alone is as Antrea has it: without its gate nobody converts."""
    async with webhooks(dict.fromkeys(WITH, on)) as served:
        found = {path for path in served.server.index_paths() if path.startswith("/convert/")}
    both = {"/convert/egress", "/convert/externalippool"}
    assert found == (both | {"/convert/ippool"} if on else both)


async def test_rules_wait_for_what_exists() -> None:
    """Before the pools have been read nobody is told that one does not exist."""
    async with webhooks(GATES, None) as served:
        found = await served.review("/validate/egress", request("validate-egress", "egress-ok-pool-ip"))
        assert found == {
            "allowed": False,
            "code": 503,
            "message": "antrea-controller has not read the cluster's externalippools yet; try again",
        }
