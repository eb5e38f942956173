"""What the webhooks of Antrea v2.7 answered, case by case."""

from __future__ import annotations

import pytest

from tests.controller.admission.replay import Case, cases, replay

# Upstream's handler ends the connection on these two; what is answered here instead stands in test_contract
# and test_naming.
BROKEN_UPSTREAM = {"http-no-request", "mutate-rule-without-action"}
# They need more of a cluster: see test_recorded_features.
ELSEWHERE = {"gateon-packetcapture", "gateon-tf", "gateon-egress", "gateon-pool"}

CASES = [
    parameters
    for parameters in cases(
        "http-contract",
        "mutate-policies",
        "mutate-namespace",
        "validate-policies",
        "validate-tier",
        "validate-tier-limit",
        "validate-tier-limit-not-reached",
        "validate-groups",
        "validate-upstream-cnp-gate-off",
        "cnp-gate-on",
        "cnp-gate-on-tier-220",
        "default-gates",
    )
    if parameters.values[1]["name"] not in BROKEN_UPSTREAM | ELSEWHERE
]


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_the_answer_is_the_recorded_one(name: str, case: Case) -> None:
    await replay(name, case)
