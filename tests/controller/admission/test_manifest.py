"""deploy/base/webhooks.yaml names the webhooks that the controller serves, and no others."""

from __future__ import annotations

from typing import Any

import yaml

from controller.admission.registration import OPEN_PATHS
from runtime.features import GATES
from tests.controller.admission.replay import webhooks
from tests.controller.control_plane import PROJECT

# Served, but not called unless the cluster's administrator asks for it, or by manifests of old.
NOT_CALLED = {"/mutate/namespace", "/mutate/anp"}


def hooks(name: str) -> list[dict[str, Any]]:
    text = (PROJECT / "deploy" / name).read_text()
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        assert document["metadata"]["labels"] == {"app": "antrea", "served-by": "antrea-controller"}
    return [hook for document in documents for hook in document["webhooks"]]


async def test_every_path_that_is_called_is_served_and_open() -> None:
    called = {hook["clientConfig"]["service"]["path"] for hook in hooks("base/webhooks.yaml")}
    async with webhooks(
        dict.fromkeys((gate.name for gate in GATES.values() if not gate.locked), True)
    ) as served:
        assert called == set(served.admission_paths) - NOT_CALLED
        assert set(served.admission_paths) <= OPEN_PATHS
        assert served.server.always_allow >= OPEN_PATHS
    assert called <= OPEN_PATHS


def test_each_webhook_is_called_as_antrea_has_it() -> None:
    found = hooks("base/webhooks.yaml")
    assert [hook["name"] for hook in found[:2]] == ["acnpmutator.antrea.io", "annpmutator.antrea.io"]
    assert len(found) == 15
    for hook in [*found, *hooks("components/namespace-label/webhook.yaml")]:
        assert hook["admissionReviewVersions"] == ["v1", "v1beta1"]
        assert (hook["sideEffects"], hook["timeoutSeconds"]) == ("None", 5)
        assert set(hook) == {
            "name", "clientConfig", "rules", "admissionReviewVersions", "sideEffects", "timeoutSeconds",
        }  # fmt: skip
        assert len(hook["rules"]) == 1


def test_deletions_are_asked_about_for_three_kinds_only() -> None:
    kinds = {
        hook["rules"][0]["resources"][0]
        for hook in hooks("base/webhooks.yaml")
        if "DELETE" in hook["rules"][0]["operations"]
    }
    assert kinds == {"tiers", "ippools", "supportbundlecollections"}
