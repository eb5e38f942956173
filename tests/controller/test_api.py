"""The controller's own resources over HTTP: what the recordings (test_recordings.py) do not say."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from apis.envelope import unwrap, wrap
from controller.api import resources
from controller.api.resources import StatsCodec, go_duration
from runtime import log
from tests.controller import recorded
from tests.controller.control_plane import eventually
from tests.controller.recorded import Recorded


@pytest_asyncio.fixture
async def controller() -> AsyncIterator[Recorded]:
    async with recorded.controller(with_objects=False) as running:
        yield running


async def ask(controller: Recorded, request: dict[str, Any]) -> tuple[int, Any, str]:
    async with aiohttp.ClientSession() as session:
        answer = await session.request(
            request["method"],
            controller.url + request["path"],
            headers={"Content-Type": "application/json", **(request.get("headers") or {})},
            data=request.get("body"),
        )
        text = await answer.text(errors="replace")
        try:
            return answer.status, json.loads(text), text
        except ValueError:
            return answer.status, None, text


async def test_empty_lists_are_lists(controller: Recorded) -> None:
    for path in (
        "controlplane.antrea.io/v1beta2/egressgroups",
        "controlplane.antrea.io/v1beta2/supportbundlecollections",
        "stats.antrea.io/v1alpha1/networkpolicystats",
        "stats.antrea.io/v1alpha1/antreaclusternetworkpolicystats",
        "stats.antrea.io/v1alpha1/multicastgroups",
        "stats.antrea.io/v1alpha1/nodelatencystats",
    ):
        code, document, text = await ask(controller, {"method": "GET", "path": f"/apis/{path}"})
        assert (code, document["items"]) == (200, []), text


async def test_reports_add_up_in_the_statistics(controller: Recorded) -> None:
    controller.statistics.exists("shop", "np", "u1")
    report = {
        "kind": "NodeStatsSummary",
        "apiVersion": "controlplane.antrea.io/v1beta2",
        "metadata": {"name": "n1"},
        "networkPolicies": [
            {"networkPolicy": {"uid": "u1"}, "trafficStats": {"packets": 2, "bytes": 9, "sessions": 1}}
        ],
    }
    request = {
        "method": "POST",
        "path": "/apis/controlplane.antrea.io/v1beta2/nodestatssummaries",
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(report),
    }
    for _ in range(2):
        code, document, _ = await ask(controller, request)
        assert (code, document["kind"]) == (201, "NodeStatsSummary")
    path = "/apis/stats.antrea.io/v1alpha1/namespaces/shop/networkpolicystats/np"
    _, found, _ = await ask(controller, {"method": "GET", "path": path})
    assert found["trafficStats"] == {"packets": 4, "bytes": 18, "sessions": 2}
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, shown, _ = await ask(controller, {"method": "GET", "path": path, "headers": table})
    assert [column["name"] for column in shown["columnDefinitions"]] == [
        "Name", "Sessions", "Packets", "Bytes", "Created At",
    ]  # fmt: skip
    assert shown["rows"][0]["cells"][:4] == ["np", 2, 4, 18]
    async with aiohttp.ClientSession() as session:
        accept = {"Accept": "application/vnd.kubernetes.protobuf"}
        body = await (await session.get(controller.url + path, headers=accept)).read()
    enveloped = unwrap(body)
    assert enveloped.kind == "NetworkPolicyStats"
    assert StatsCodec().decode(enveloped.kind, enveloped.raw)["trafficStats"] == found["trafficStats"]


async def test_a_long_report_holds_up_nobody(controller: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents report in protobuf; a megabyte of it takes more than a tenth of a second to read."""
    count = 4000
    for number in range(count):
        controller.statistics.exists("shop", f"np{number}", f"u{number}")
    reports = [
        {"networkPolicy": {"uid": f"u{number}"}, "trafficStats": {"packets": 1, "bytes": 2, "sessions": 3}}
        for number in range(count)
    ]
    info = resources.NODE_STATS_SUMMARIES
    assert info.codec is not None
    message = info.codec.encode(info.kind, {"metadata": {"name": "n1"}, "networkPolicies": reports})
    path = "/apis/controlplane.antrea.io/v1beta2/nodestatssummaries"
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    threads: set[int] = set()
    decode = info.codec.decode

    def noted(kind: str, raw: bytes) -> dict[str, Any]:
        threads.add(threading.get_ident())
        return decode(kind, raw)

    monkeypatch.setattr(type(info.codec), "decode", staticmethod(noted))
    async with aiohttp.ClientSession() as session:
        body = wrap(info.api_version, info.kind, message)
        answer = await session.post(controller.url + path, headers=headers, data=body)
        assert answer.status == 201
    assert threads
    assert threading.get_ident() not in threads
    found = controller.statistics.get("shop", f"np{count - 1}")
    assert found is not None
    assert found["trafficStats"] == {"packets": 1, "bytes": 2, "sessions": 3}


async def test_latencies_are_kept_per_node(controller: Recorded) -> None:
    path = "/apis/stats.antrea.io/v1alpha1/nodelatencystats"
    targets = [{"targetIP": "10.0.0.1", "lastMeasuredRTTNanoseconds": n} for n in (1_000_000, 2_000_000)]
    body = {
        "kind": "NodeLatencyStats",
        "apiVersion": "stats.antrea.io/v1alpha1",
        "metadata": {"name": "n1"},
        "peerNodeLatencyStats": [{"nodeName": "n2", "targetIPLatencyStats": targets}],
    }
    post = {"method": "POST", "path": path, "body": json.dumps(body)}
    code, document, text = await ask(controller, post)
    assert code == 201, text
    assert document["metadata"]["creationTimestamp"]
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, shown, _ = await ask(controller, {"method": "GET", "path": path, "headers": table})
    assert [row["cells"] for row in shown["rows"]] == [["n1", 1, "1.5ms", "2ms"]]
    code, _, _ = await ask(controller, {"method": "DELETE", "path": f"{path}/n1"})
    assert code == 200
    code, _, _ = await ask(controller, {"method": "DELETE", "path": f"{path}/n1"})
    assert code == 404


async def test_what_is_not_built_yet_says_so(controller: Recorded) -> None:
    evaluation = {"kind": "NetworkPolicyEvaluation", "apiVersion": "controlplane.antrea.io/v1beta2"}
    path = "/apis/controlplane.antrea.io/v1beta2/networkpolicyevaluation"
    code, document, _ = await ask(
        controller, {"method": "POST", "path": path, "body": json.dumps(evaluation)}
    )
    assert (code, "does not evaluate" in document["message"]) == (501, True)


async def test_the_log_level_is_shown_and_set(controller: Recorded) -> None:
    before = log.verbosity()
    try:
        assert await ask(controller, {"method": "GET", "path": "/loglevel?level=3"}) == (200, None, "")
        assert (await ask(controller, {"method": "GET", "path": "/loglevel"}))[1] == 3
        for wrong in ("x", "-1", "1.5", ""):
            code, _, text = await ask(controller, {"method": "GET", "path": f"/loglevel?level={wrong}"})
            assert (code, text) == (400, "log level must be a positive integer\n")
    finally:
        log.set_verbosity(before)


async def test_metrics_are_prometheus_text(controller: Recorded) -> None:
    code, _, text = await ask(controller, {"method": "GET", "path": "/metrics"})
    assert code == 200
    assert "antrea_event_loop_lag_seconds_bucket" in text
    assert "process_resident_memory_bytes" in text


async def test_feature_gates_are_also_found_below_the_aggregated_object(controller: Recorded) -> None:
    base = "/apis/system.antrea.io/v1beta1/controllerinfos/antrea-controller"
    code, found, _ = await ask(controller, {"method": "GET", "path": f"{base}/featuregates"})
    assert code == 200
    assert (await ask(controller, {"method": "GET", "path": "/featuregates"}))[1] == found
    code, _, _ = await ask(controller, {"method": "GET", "path": f"{base}/nothing"})
    assert code == 404


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"), (1, "1ns"), (1500, "1.5µs"), (1_500_000, "1.5ms"), (2_000_000_000, "2s"),
        (61_500_000_000, "1m1.5s"), (3_600_000_000_000, "1h0m0s"),
    ],
)  # fmt: skip
def test_durations_print_as_gos(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text


async def test_where_a_policy_is_in_force_can_be_read() -> None:
    """Each node of the span has an entry; one that has not reported yet has no generation."""
    async with recorded.controller() as controller:
        name = "2fa92e40-08f0-4019-a2c6-56567ba13e81"
        path = f"/apis/controlplane.antrea.io/v1beta2/networkpolicies/{name}/status"
        document = {
            "kind": "NetworkPolicyStatus",
            "apiVersion": "controlplane.antrea.io/v1beta2",
            "metadata": {"name": name},
        }
        _, before, _ = await ask(controller, {"method": "GET", "path": path})
        assert before == {**document, "nodes": [{"nodeName": "node-1", "realizationFailure": False}]}

        ours = {"nodeName": "node-1", "generation": 3, "realizationFailure": True, "message": "no OVS"}
        others = {"nodeName": "node-7", "generation": 3, "realizationFailure": False}
        report = {**document, "nodes": [ours, others]}
        code, _, text = await ask(controller, {"method": "POST", "path": path, "body": json.dumps(report)})
        assert code == 201, text
        _, after, _ = await ask(controller, {"method": "GET", "path": path})
        assert after == {**document, "nodes": [ours]}  # node-7 is not in the policy's span

        for wrong in ("nope/status", f"{name}/nope"):
            base = "/apis/controlplane.antrea.io/v1beta2/networkpolicies"
            code, _, _ = await ask(controller, {"method": "GET", "path": f"{base}/{wrong}"})
            assert code == 404


async def test_a_support_bundle_is_collected_downloaded_and_deleted() -> None:
    path = "/apis/system.antrea.io/v1beta1/supportbundles"
    body = {
        "kind": "SupportBundle",
        "apiVersion": "system.antrea.io/v1beta1",
        "metadata": {"name": "controller"},
    }
    async with recorded.controller() as controller:
        for _ in range(2):  # a second one replaces the first
            request = {"method": "POST", "path": path, "body": json.dumps({**body, "since": "1h30m"})}
            code, document, text = await ask(controller, request)
            assert (code, document["status"], document["since"]) == (201, "Collecting", "1h30m"), text

        async def collected() -> Any:
            _, found, _ = await ask(controller, {"method": "GET", "path": f"{path}/controller"})
            return found if found["status"] == "Collected" else None

        found = await eventually(collected, "the bundle is collected")
        assert found["metadata"]["deletionTimestamp"] > found["metadata"]["creationTimestamp"]
        async with controller.session.get(f"{controller.url}{path}/controller/download") as response:
            assert response.headers["Content-Type"] == "application/tar+gz"
            archive = await response.read()
        assert (found["size"], found["sum"]) == (len(archive), hashlib.sha256(archive).hexdigest())
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            names = set(opened.getnames())
            policies = json.load(opened.extractfile("networkpolicies.json"))  # type: ignore[arg-type]
        assert names >= {
            "controllerinfo.json",
            "addressgroups.json",
            "metrics.txt",
            "tasks.txt",
            "threads.txt",
        }
        assert {item["sourceRef"]["name"] for item in policies["items"]} == {"np", "acnp", "annp"}

        code, document, _ = await ask(controller, {"method": "DELETE", "path": f"{path}/controller"})
        assert (code, document["status"]) == (200, "Success")
        _, found, _ = await ask(controller, {"method": "GET", "path": f"{path}/controller"})
        assert found == {**body, "status": "None"}
        code, _, _ = await ask(controller, {"method": "GET", "path": f"{path}/controller/download"})
        assert code == 404
        request = {"method": "POST", "path": path, "body": json.dumps({**body, "since": "soon"})}
        code, document, _ = await ask(controller, request)
        assert (code, document["message"]) == (400, 'the duration "soon" is not of the form 1h30m')
