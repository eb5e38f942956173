"""Policies on the kernel datapath: what the oracle says is what packets find."""

from __future__ import annotations

import pytest

from tests.e2e.policysets import Generator
from tests.e2e.runner import Arena

# The cases of the userspace datapath hold here too; the first is about the mark of the node's own packets.
from tests.e2e.test_cases import (  # noqa: F401
    test_128_a_node_reaches_its_own_pods_under_deny_all_and_no_other_node_does,
    test_129_a_named_port_means_each_pods_own_number,
    test_130_a_protocol_alone_allows_all_its_ports,
    test_131_a_range_allows_its_ports_and_no_others,
)

pytestmark = pytest.mark.kernel


async def test_without_policies_every_pod_reaches_every_pod(arena: Arena) -> None:
    assert await arena.disagreements([("TCP", 80), ("UDP", 80), ("SCTP", 80)]) == []


@pytest.mark.parametrize("seed", range(2000, 2002))
async def test_a_generated_set_agrees_with_the_oracle(arena: Arena, seed: int) -> None:
    assert await arena.run(Generator(seed, arena.world, dual=True).generate()) == []
