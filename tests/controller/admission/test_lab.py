"""The same writes to the lab's API, which calls webhooks as kube-apiserver does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.controller.admission import end_to_end
from tests.controller.admission.end_to_end import cases
from tests.controller.admission.replay import Case, recording
from tests.controller.control_plane import ControlPlane
from tests.kubernetes import binaries
from tests.openapi.recorded import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


def named(name: str) -> pytest.MarkDecorator:
    without_kubectl = binaries.why_not()
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case,
                id=case["name"],
                marks=pytest.mark.skipif(
                    "argv" in case and bool(without_kubectl), reason=str(without_kubectl)
                ),
            )
            for case in cases(name)
        ],
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded_gates(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(Path(tmp_path_factory.mktemp("plane")))
    try:
        await plane.start_api()
        await end_to_end.install(plane)
        await end_to_end.start(plane, **recording("end-to-end")["featureGates"])
        yield plane
    finally:
        await plane.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def default_gates(recorded_gates: ControlPlane) -> ControlPlane:
    await end_to_end.stop(recorded_gates)
    await end_to_end.start(recorded_gates)
    return recorded_gates


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(recorded_gates: ControlPlane) -> AsyncIterator[Api]:
    opened = end_to_end.connect(recorded_gates)
    yield opened
    opened.close()


@named("end-to-end")
async def test_with_the_gates_on(recorded_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(recorded_gates, api, case)


@named("end-to-end-default-gates")
async def test_with_the_default_gates(default_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(default_gates, api, case)


@named("end-to-end-controller-down")
async def test_without_a_controller(default_gates: ControlPlane, api: Api, case: Case) -> None:
    if "controller" in default_gates.processes:
        await end_to_end.stop(default_gates)
    end_to_end.put(default_gates, api, case)
