"""What comes over HTTP, good and bad, and how long it may take."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from apiserver import admission as machinery
from apiserver.admission import Admission, AdmissionRequest, Verdict
from tests.controller.admission.replay import UID, recording, review, verdict, webhooks

JSON = {"Content-Type": "application/json"}
POLICY = next(c for c in recording("validate-policies")["cases"] if c["name"] == "acnp-ok-minimal")["request"]
TIER = next(c for c in recording("validate-tier")["cases"] if c["name"] == "tier-ok")["request"]


def policy(**spec: Any) -> dict[str, Any]:
    written = POLICY["object"]
    return {**POLICY, "object": {**written, "spec": {**written["spec"], **spec}}}


async def test_a_review_without_a_request_is_refused_in_a_sentence() -> None:
    """Upstream's handlers end the connection on it, all but one."""
    async with webhooks({}) as served:
        assert len(served.admission_paths) > 8
        for path in served.admission_paths:
            status, text = await served.post(path, b'{"kind": "AdmissionReview"}', JSON)
            assert status == 200
            assert verdict(json.loads(text)) == {
                "allowed": False,
                "message": "invalid AdmissionReview: nil request",
            }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "json: cannot unmarshal array into Go value of type v1.AdmissionReview"),
        (
            b'{"request": 5}',
            "json: cannot unmarshal number into Go struct field AdmissionReview.request "
            "of type v1.AdmissionRequest",
        ),
        (b'{"request": {"uid": "a"}', "unexpected end of JSON input"),
        (b'{"request": {}} x', "invalid character 'x' after top-level value"),
        (b"\xff", "invalid character '\u00ef' looking for beginning of value"),
        (b"[" * 20_000, "exceeded max depth"),
    ],
)
async def test_what_is_no_review_is_refused_in_the_words_of_go(body: bytes, message: str) -> None:
    async with webhooks({}) as served:
        status, text = await served.post("/validate/acnp", body, JSON)
        assert (status, verdict(json.loads(text))) == (200, {"allowed": False, "message": message})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"priority": "x"},
            "string into Go struct field ClusterNetworkPolicySpec.spec.priority of type float64",
        ),
        (
            {"ingress": [{"action": 5}]},
            "number into Go struct field Rule.spec.ingress.action of type v1beta1.RuleAction",
        ),
        (
            {"ingress": [{"ports": [{"endPort": 1.5}]}]},
            "number 1.5 into Go struct field NetworkPolicyPort.spec.ingress.ports.endPort of type int32",
        ),
        (
            {"ingress": [{"ports": [{"port": {}}]}]},
            "object into Go struct field NetworkPolicyPort.spec.ingress.ports.port of type int32",
        ),
        (
            {"egress": [{"to": [{"podSelector": {"matchLabels": {"a": True}}}]}]},
            "bool into Go struct field LabelSelector.spec.egress.to.podSelector.matchLabels of type string",
        ),
        (
            {"appliedTo": [{"podSelector": {"matchLabels": []}}]},
            "array into Go struct field LabelSelector.spec.appliedTo.podSelector.matchLabels "
            "of type map[string]string",
        ),
    ],
)
async def test_an_object_of_the_wrong_shape_is_refused_in_the_words_of_go(
    spec: dict[str, Any], message: str
) -> None:
    async with webhooks({}) as served:
        for path in ("/validate/acnp", "/mutate/acnp"):
            assert await served.review(path, policy(**spec)) == {
                "allowed": False,
                "message": f"json: cannot unmarshal {message}",
            }


async def test_what_is_not_known_yet_is_said_and_not_guessed() -> None:
    """While the Tiers have not been read, nobody can say that one does not exist."""
    async with webhooks({}, existing=None) as served:
        answer = await served.review("/validate/acnp", policy(tier="mine"))
        assert (answer["allowed"], answer["code"]) == (False, 503)
        assert "has not read the cluster's tiers yet" in answer["message"]
        assert (await served.review("/validate/tier", TIER))["code"] == 503
        assert await served.review("/validate/acnp", POLICY | {"operation": "DELETE"}) == {"allowed": True}


async def test_a_resource_that_the_cluster_does_not_have_has_no_objects() -> None:
    async with webhooks({}, existing=None) as served:
        for reflector in served.known.reflectors(served.client).values():
            reflector.missing = True
        answer = await served.review("/validate/acnp", policy(tier="mine"))
        assert answer == {"allowed": False, "message": "tier mine does not exist"}


async def test_a_gate_that_is_off_has_no_paths() -> None:
    async with webhooks({"AntreaPolicy": False}) as served:
        status, _ = await served.post("/validate/acnp", msgspec.json.encode(review(POLICY)), JSON)
        assert status == 404
        assert not any("tier" in name for name in served.known.tables)


async def test_too_large_a_review_is_refused_and_the_next_one_answered() -> None:
    async with webhooks({}) as served:
        status, _ = await served.post("/validate/acnp", b" " * (machinery.MAX_REVIEW + 1), JSON)
        assert status == 413
        assert await served.review("/validate/acnp", POLICY) == {"allowed": True}


async def test_a_fault_in_a_rule_becomes_a_refusal_that_says_so() -> None:
    def faulty(request: AdmissionRequest) -> Verdict:
        raise RuntimeError("upside down")

    async def faulty_later(request: AdmissionRequest) -> Verdict:
        return faulty(request)

    async with webhooks({}) as served:
        admission = Admission(served.server)
        admission.path("/validate/now", faulty)
        admission.path("/validate/later", faulty_later)
        for path in ("/validate/now", "/validate/later"):
            answer = await served.review(path, POLICY)
            assert (answer["allowed"], answer["code"]) == (False, 500)
            assert "upside down" in answer["message"]


async def test_a_handler_is_told_everything_that_the_review_says() -> None:
    seen: list[AdmissionRequest] = []

    async def note(request: AdmissionRequest) -> Verdict:
        seen.append(request)
        return Verdict(True, warnings=["w"], patch=[{"op": "remove", "path": "/a"}])

    user = {"username": "u", "uid": "7", "groups": ["g"], "extra": {"k": ["v"]}}
    async with webhooks({}) as served:
        Admission(served.server).path("/validate/all", note)
        answer = await served.review(
            "/validate/all",
            {**POLICY, "namespace": "n", "oldObject": {"a": 1}, "userInfo": user, "dryRun": True},
        )
    assert answer == {"allowed": True, "warnings": ["w"], "patch": [{"op": "remove", "path": "/a"}]}
    [request] = seen
    assert (request.uid, request.operation, request.namespace, request.name) == (
        UID, "CREATE", "n", POLICY["name"],
    )  # fmt: skip
    assert (request.kind.group, request.kind.version, request.kind.kind) == (
        "crd.antrea.io", "v1beta1", "ClusterNetworkPolicy",
    )  # fmt: skip
    assert (request.user.name, request.user.uid, request.user.groups) == ("u", "7", ("g",))
    assert request.user.extra == {"k": ["v"]}
    assert request.object is not None
    assert msgspec.json.decode(request.object) == POLICY["object"]
    assert request.old is not None
    assert msgspec.json.decode(request.old) == {"a": 1}
    assert request.dry_run


async def test_a_policy_of_three_mebibytes_does_not_hold_the_loop() -> None:
    peers = [
        {"ipBlock": {"cidr": f"{block}.0/24", "except": [f"{block}.1/32"]}}
        for block in (f"10.{number >> 8 & 255}.{number & 255}" for number in range(40_000))
    ]
    request = policy(ingress=[{"action": "Allow", "name": "r", "from": peers}])
    body = msgspec.json.encode(review({**request, "operation": "UPDATE", "oldObject": request["object"]}))
    assert len(body) > 5 * 1024 * 1024

    async with webhooks({}) as served:
        longest, done = 0.0, asyncio.Event()

        async def pulse() -> None:
            nonlocal longest
            while not done.is_set():
                before = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - before)

        pulsing = asyncio.create_task(pulse())
        started = time.perf_counter()
        status, text = await served.post("/validate/acnp", body, JSON)
        whole = time.perf_counter() - started
        done.set()
        await pulsing
    assert (status, verdict(json.loads(text))) == (200, {"allowed": True})
    # About 15 ms of 400 on a machine with nothing else to do.
    assert longest < whole / 2, f"the loop was held for {longest * 1000:.0f} of {whole * 1000:.0f} ms"
