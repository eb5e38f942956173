"""When CNI ADD may go on: every combination of controller, marker and realization."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from agent.policies.readiness import MAX_MARKERS, PolicyReadiness, Readiness

SHORT = 0.05


@dataclass
class Controller:
    connected: bool = True
    markers: bool = True


def readiness(controller: Controller) -> PolicyReadiness:
    return PolicyReadiness(lambda: controller.connected, lambda: controller.markers)


@pytest.mark.parametrize(
    ("connected", "markers", "synced", "marker", "realized", "uid", "expected"),
    [
        (True, True, True, True, True, "u", Readiness.REALIZED),
        (True, True, True, False, True, "u", Readiness.TIMED_OUT),
        (True, True, True, True, False, "u", Readiness.TIMED_OUT),
        (True, True, False, True, True, "u", Readiness.TIMED_OUT),
        (True, True, True, False, True, "", Readiness.REALIZED),  # the runtime tells no uid
        (True, False, True, False, True, "u", Readiness.REALIZED),  # upstream's controller: no markers
        (True, False, True, False, False, "u", Readiness.TIMED_OUT),
        (False, False, False, False, True, "u", Readiness.FROM_DISK),
        (False, True, True, True, True, "u", Readiness.FROM_DISK),
        (False, True, True, True, False, "u", Readiness.TIMED_OUT),  # not even what is known is in the switch
    ],
)
async def test_who_may_go_on(
    connected: bool, markers: bool, synced: bool, marker: bool, realized: bool, uid: str, expected: Readiness
) -> None:
    waiting = readiness(Controller(connected, markers))
    waiting.note_received()
    if synced:
        waiting.note_synced()
    if marker:
        waiting.note_marker("u")
    if realized:
        waiting.note_realized(waiting.received)
    assert await waiting.wait(uid, SHORT) is expected


async def test_what_came_after_the_interface_is_waited_for_but_not_what_comes_later() -> None:
    waiting = readiness(Controller())
    waiting.note_synced()
    waiting.note_marker("u")
    waiting.note_received()  # the interface
    task = asyncio.create_task(waiting.wait("u", 5))
    await asyncio.sleep(0)
    floor = waiting.received
    waiting.note_received()  # somebody else's policy
    waiting.note_realized(floor - 1)
    await asyncio.sleep(SHORT)
    assert not task.done()
    waiting.note_realized(floor)
    assert await task is Readiness.REALIZED


async def test_a_controller_that_comes_back_in_time_is_asked() -> None:
    controller = Controller(connected=False)
    waiting = readiness(controller)
    waiting.note_connection(False)
    waiting.note_realized(0)
    task = asyncio.create_task(waiting.wait("u", 5))
    await asyncio.sleep(SHORT)
    assert not task.done()  # just gone: it may be a restart
    controller.connected = True
    waiting.note_connection(True)
    waiting.note_synced()
    waiting.note_marker("u")
    assert await task is Readiness.REALIZED
    assert waiting.unconfirmed == 0


async def test_the_memory_for_markers_is_bounded() -> None:
    waiting = readiness(Controller())
    waiting.note_synced()
    waiting.note_realized(0)
    for number in range(MAX_MARKERS + 10):
        waiting.note_marker(f"u{number}")
    assert await waiting.wait("u0", 0) is Readiness.TIMED_OUT
    assert await waiting.wait(f"u{MAX_MARKERS + 9}", 0) is Readiness.REALIZED
