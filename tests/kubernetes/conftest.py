"""The kubernetes tier: tests with the marker ``kubernetes`` run against a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.kubernetes.cluster import Cluster, running


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A control plane of the test's own: two seconds, nothing shared."""
    async with running(tmp_path / "cluster") as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A control plane for all tests of a file; they clean up after themselves or use names of their own.

    Its client belongs to the loop of the file: mark such tests ``asyncio(loop_scope="module")``."""
    async with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started
