from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.register_assert_rewrite(
    "tests.controller.admission.replay", "tests.controller.admission.end_to_end", "tests.openapi.recorded"
)

from tests.controller.control_plane import ControlPlane  # noqa: E402


@pytest_asyncio.fixture
async def bare(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """The lab's API with nothing of Antrea in it."""
    plane = ControlPlane(tmp_path)
    try:
        await plane.start_api()
        yield plane
    finally:
        await plane.end()
