"""Recorded writes to the lab's API, which calls webhooks as kube-apiserver does; in the order of the file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.controller.admission import end_to_end
from tests.controller.admission.end_to_end import named
from tests.controller.admission.phases import *  # noqa: F403  # fixtures
from tests.controller.admission.replay import Case
from tests.controller.control_plane import ControlPlane
from tests.openapi.recorded import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with end_to_end.installed(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@named("end-to-end")
async def test_with_the_gates_on(recorded_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(recorded_gates, api, case)


@named("end-to-end-default-gates")
async def test_with_the_default_gates(default_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(default_gates, api, case)


@named("end-to-end-controller-down")
async def test_without_a_controller(no_controller: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(no_controller, api, case)
