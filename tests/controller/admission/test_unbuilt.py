"""Nobody believes a policy to be enforced that is only stored: writing one gives a warning."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.controller.admission.replay import review, webhooks

SELECTOR = {"podSelector": {"matchLabels": {"app": "web"}}}
POLICY = {"priority": 5, "appliedTo": [SELECTOR], "ingress": [{"action": "Drop"}]}
EGRESS = {"appliedTo": SELECTOR, "egressIP": "10.0.0.1"}
STORED = [
    ("/validate/acnp", "ClusterNetworkPolicy", POLICY),
    ("/validate/annp", "NetworkPolicy", POLICY),
    ("/validate/egress", "Egress", EGRESS),
]


async def asked(path: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The answer to a creation."""
    group = {"group": "crd.antrea.io", "version": "v1beta1"}
    request = {
        "kind": {**group, "kind": kind},
        "resource": {**group, "resource": "any"},
        "operation": "CREATE",
        "name": "a",
        "object": {
            "apiVersion": "crd.antrea.io/v1beta1",
            "kind": kind,
            "metadata": {"name": "a"},
            "spec": spec,
        },
    }
    async with webhooks({}, []) as served:
        headers = {"Content-Type": "application/json"}
        _, text = await served.post(path, msgspec.json.encode(review(request)), headers)
    return json.loads(text)["response"]


@pytest.mark.parametrize(("path", "kind", "spec"), STORED)
async def test_what_is_only_stored_says_so(path: str, kind: str, spec: dict[str, Any]) -> None:
    answer = await asked(path, kind, spec)
    assert answer["allowed"]
    assert answer["warnings"] == [
        f"this version of antrea-py stores the {kind} and does nothing more with it"
    ]


@pytest.mark.parametrize(("path", "kind", "spec"), [("/validate/tier", "Tier", {"priority": 10})])
async def test_what_is_complete_does_not(path: str, kind: str, spec: dict[str, Any]) -> None:
    answer = await asked(path, kind, spec)
    assert answer["allowed"]
    assert "warnings" not in answer


async def test_a_refusal_is_only_a_refusal() -> None:
    passing = {**POLICY, "tier": "baseline", "ingress": [{"action": "Pass"}]}
    answer = await asked("/validate/acnp", "ClusterNetworkPolicy", passing)
    assert not answer["allowed"]
    assert "warnings" not in answer
