"""Clocks: what lasts or is due goes by the monotonic one, so that a jump of the wall clock changes nothing.

The wall clock is asked only where a moment is told to somebody: each place stands in the list below with its
reason, and any other fails this test.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from agent.policies.readiness import PolicyReadiness, Readiness
from apiserver.auth import User
from apiserver.authentication import BearerTokens
from client.controller import Rotation
from client.endpoint import TokenFile
from runtime.backoff import Backoff

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "antctl", "apis", "apiserver", "client", "computation", "controller", "runtime")

WALL = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("time", "ctime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}

TOLD = {
    "agent/container/start_ovs.py": "the name of a damaged database that is put aside",
    "agent/info.py": "the heartbeat in AntreaAgentInfo",
    "apiserver/certificates.py": "when certificates begin and end, and the number in their names",
    "apiserver/documents/clock.py": "timestamps of objects",
    "apiserver/versions.py": "tells the versions of one process from those of another",
    "antctl/commands/supportbundle.py": "the time in a file name",
    "controller/api/bundles.py": "ages of log files and the times in an archive",
    "controller/api/stats.py": "creationTimestamp of statistics",
    "controller/certificates.py": "moments that replicas and later processes read in the Secret",
    "controller/rotation.py": "moments that replicas and later processes read in the Secret",
    "runtime/log.py": "the time of a line",
}


def wall_clock_calls() -> Iterator[tuple[str, int]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Attribute):
                    continue
                owner = node.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                if (name, node.attr) in WALL:
                    yield path.relative_to(ROOT).as_posix(), node.lineno


def test_the_wall_clock_is_asked_only_to_tell_a_moment() -> None:
    strange = [f"{path}:{line}" for path, line in wall_clock_calls() if path not in TOLD]
    assert strange == [], "durations and deadlines need time.monotonic(); else name the place and the reason"


def test_nothing_imports_a_clock_under_another_name() -> None:
    """``from time import time`` would hide from the test above."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    found += [f"{path}: {alias.name}" for alias in node.names if alias.name != "monotonic"]
    assert found == []


@pytest.fixture(params=[-5 * 3600.0, 5 * 3600.0], ids=["back", "ahead"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the wall clock is five hours off; the monotonic one is as it was."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + request.param)
    assert abs(time.time() - real()) > 3600


async def test_what_is_remembered_for_a_while_outlives_a_jump(tmp_path: Path) -> None:
    asked = 0

    async def review(token: str) -> User | None:
        nonlocal asked
        asked += 1
        return User(token)

    tokens = BearerTokens(review, cache_seconds=600)
    http = make_mocked_request("GET", "/", headers={"Authorization": "Bearer t"})
    await tokens.authenticate(http)
    file = TokenFile(tmp_path / "token")
    (tmp_path / "token").write_text("one")
    await file()
    for seconds in (-18000.0, 18000.0):
        with pytest.MonkeyPatch.context() as patch:
            real = time.time
            patch.setattr(time, "time", lambda real=real, seconds=seconds: real() + seconds)
            await tokens.authenticate(http)
            (tmp_path / "token").write_text("two")
            assert await file() == {"Authorization": "Bearer one"}
    assert asked == 1


@pytest.mark.usefixtures("jump")
async def test_waiting_is_not_cut_short_or_drawn_out_by_a_jump() -> None:
    backoff = Backoff(initial=1.0, maximum=30.0, jitter=0.0, reset_after=10.0)
    assert [backoff.next() for _ in range(3)] == [1.0, 2.0, 4.0]
    rotation = Rotation()
    rotation.replace(["a:1", "b:1"])
    first = rotation.choose()
    rotation.failed(first)
    assert rotation.choose() != first
    readiness = PolicyReadiness(lambda: False, lambda: True)
    began = time.monotonic()
    readiness.note_realized(0)
    assert await readiness.wait("uid", 0.3) is Readiness.FROM_DISK
    assert 0.2 < time.monotonic() - began < 20
