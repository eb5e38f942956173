"""Whatever is written, a rule either refuses in words or accepts; it never fails."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.gojson import GoJSONError
from apiserver.admission import (
    AdmissionRequest,
    GroupVersionKind,
    GroupVersionResource,
    Handler,
    Verdict,
    refused,
)
from apiserver.auth import ANONYMOUS
from client.resources import CLUSTER_GROUPS, CLUSTER_POLICIES, POLICIES
from controller.admission import namespaces
from controller.admission.groups import ClusterGroup, GroupRules, Groups
from controller.admission.policies import naming
from controller.admission.policies.rules import PolicyRules
from controller.admission.references import TierReferences
from controller.admission.tiers import TierRules, Tiers
from tests.controller.admission.replay import ACCOUNT, recording


async def nowhere(tier: str) -> bool:
    return False


def listed(table: Any) -> Any:
    table.input.listed = True
    return table


HANDLERS: dict[str, Handler] = {
    "ClusterNetworkPolicy": PolicyRules({"application"}.__contains__, nowhere, layer7=True),
    "NetworkPolicy": naming.mutate,
    "ClusterGroup": GroupRules(ClusterGroup, listed(Groups(CLUSTER_GROUPS, "ClusterGroup"))),
    "Tier": TierRules(
        listed(Tiers()),
        listed(TierReferences(CLUSTER_POLICIES, "ClusterNetworkPolicy")),
        listed(TierReferences(POLICIES, "NetworkPolicy")),
        account=ACCOUNT,
        upstream_policies=True,
    ),
    "Namespace": namespaces.mutate,
}
WRITTEN = [
    (case["request"]["kind"]["kind"], case["request"]["object"])
    for name in (
        "validate-policies",
        "mutate-policies",
        "validate-groups",
        "validate-tier",
        "mutate-namespace",
    )
    for case in recording(name)["cases"]
    if "object" in case.get("request", {}) and case["request"]["kind"]["kind"] in HANDLERS
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["0/0", "::/999999999999", "1.2.3.4/" + "9" * 5000, "ff02::1%eth0/64", "*", "a" * 70_000]
    ),
    st.lists(st.none() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(0, 9), max_size=3),
)


def judge(kind: str, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
    try:
        return HANDLERS[kind](request)
    except GoJSONError as error:
        return refused(str(error))


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into the document, but the one to all of it."""
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in entries:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def with_junk(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[path[0]] = with_junk(changed[path[0]], path[1:], junk)
    return changed


@given(st.sampled_from(WRITTEN), st.data(), st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT", ""]))
@settings(max_examples=400, deadline=None)
def test_a_document_with_junk_somewhere_gets_a_verdict(
    written: tuple[str, Any], data: st.DataObject, operation: str
) -> None:
    kind, document = written
    junk = with_junk(document, data.draw(st.sampled_from(places(document))), data.draw(JUNK))
    raw = msgspec.Raw(msgspec.json.encode(junk))
    request = AdmissionRequest(
        uid="",
        kind=GroupVersionKind("crd.antrea.io", "v1beta1", kind),
        resource=GroupVersionResource("crd.antrea.io", "v1beta1", ""),
        operation=operation,
        namespace="",
        name="n",
        user=ANONYMOUS,
        object=None if operation == "DELETE" else raw,
        old=None if operation == "CREATE" else raw,
    )
    verdict = judge(kind, request)
    if isinstance(verdict, Awaitable):
        verdict.close()  # type: ignore[attr-defined]  # it would only look the Tier up
        return
    assert isinstance(verdict, Verdict)
    assert verdict.allowed or verdict.message
    # Whatever does not decode is named with its place, never in the decoder's own words.
    assert not verdict.message.startswith("json: Expected")


def test_there_are_documents_of_every_kind() -> None:
    assert {kind for kind, _ in WRITTEN} == set(HANDLERS)
