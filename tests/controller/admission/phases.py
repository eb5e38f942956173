"""The states of a cluster that recorded writes were put to, one after the other, as fixtures of a file.

The file defines ``installed`` (a ControlPlane with the webhooks installed and no controller) and names these
by importing them; each state is reached once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.controller.admission import end_to_end
from tests.controller.admission.replay import recording
from tests.controller.control_plane import ControlPlane
from tests.openapi.recorded import Api

__all__ = ["api", "default_gates", "no_controller", "recorded_gates"]

_state = pytest_asyncio.fixture(scope="module", loop_scope="module")


@_state
async def recorded_gates(installed: ControlPlane) -> ControlPlane:
    await end_to_end.start(installed, **recording("end-to-end")["featureGates"])
    return installed


@_state
async def default_gates(recorded_gates: ControlPlane) -> ControlPlane:
    await end_to_end.stop(recorded_gates)
    await end_to_end.start(recorded_gates)
    return recorded_gates


@_state
async def no_controller(default_gates: ControlPlane) -> ControlPlane:
    await end_to_end.stop(default_gates)
    return default_gates


@_state
async def api(installed: ControlPlane) -> AsyncIterator[Api]:
    opened = end_to_end.connect(installed)
    yield opened
    opened.close()
