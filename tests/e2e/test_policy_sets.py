"""Generated policy sets agree, cell by cell, between the oracle and real packets.

50 sets run in `make test` and 150 more in CI. The seeds follow from ANTREA_SEED (default 0), which each
failure names, so that `ANTREA_SEED=N pytest tests/e2e -k …` repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from lab.handle import Lab
from lab.probing import Prober
from tests.e2e.policysets import Generator
from tests.e2e.runner import Arena

BASE = int(os.environ.get("ANTREA_SEED", "0"))


async def run_sets(name: str, family: str, families: Sequence[int], seeds: Sequence[int]) -> None:
    lab = Lab(name)
    if lab.directory.exists:  # of a run that was killed
        lab.down()
    lab.up(nodes=2, family=family)
    try:
        async with lab.client() as client:
            with Prober(lab.directory.probe_ports) as prober:
                arena = Arena(lab, client, prober, families)
                await arena.prepare(lab.directory.nodes())
                assert await arena.disagreements([("TCP", 80), ("UDP", 80), ("SCTP", 80)]) == []
                wrong: list[str] = []
                for seed in seeds:
                    policies = Generator(seed, arena.world, dual=len(families) > 1).generate()
                    wrong += await arena.run(policies)
                    if len(wrong) > 40:
                        break
                assert not wrong, f"ANTREA_SEED={BASE}\n" + "\n".join(wrong)
    finally:
        lab.down()


def seeds(first: int, count: int) -> list[int]:
    return list(range(BASE + first, BASE + first + count))


@pytest.mark.lab
@pytest.mark.timeout(900)
async def test_35_sets_over_ipv4() -> None:
    await run_sets("e2e-v4", "ipv4", [4], seeds(0, 35))


@pytest.mark.lab
@pytest.mark.timeout(900)
async def test_15_sets_over_both_families() -> None:
    await run_sets("e2e-dual", "dual", [4, 6], seeds(1000, 15))


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_100_more_sets_over_ipv4() -> None:
    await run_sets("e2e-v4", "ipv4", [4], seeds(35, 100))


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_50_more_sets_over_both_families() -> None:
    await run_sets("e2e-dual", "dual", [4, 6], seeds(1015, 50))
