"""The container that runs Open vSwitch: daemons that come back, a database that survives, an orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.lab


class Container:
    def __init__(self, directory: Path) -> None:
        self.run, self.logs = directory / "run", directory / "log"
        self.environment = {**os.environ, "OVS_RUNDIR": str(self.run)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "agent.container.start_ovs", "--run-dir", str(self.run),
                "--log-dir", str(self.logs),
            ],
            cwd=ROOT,
        )  # fmt: skip
        eventually(self.alive, "both daemons answer")

    def alive(self) -> bool:
        return self.probe().returncode == 0

    def probe(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent.container.liveness", "ovs"]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)

    def pid(self, daemon: str) -> int:
        return int((self.run / f"{daemon}.pid").read_text())

    def get(self, column: str) -> str:
        command = [
            "ovs-vsctl",
            f"--db=unix:{self.run}/db.sock",
            "--no-wait",
            "get",
            "Open_vSwitch",
            ".",
            column,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()

    def set(self, assignment: str) -> None:
        command = ["ovs-vsctl", f"--db=unix:{self.run}/db.sock", "--no-wait", "set", "Open_vSwitch", "."]
        subprocess.run([*command, assignment], check=True, timeout=20)

    def stop(self) -> float:
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process = None
        return time.monotonic() - began


def eventually(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, f"it is still not so that {what}"
        time.sleep(0.05)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    if made.process is not None:
        made.stop()


def test_daemons_that_are_killed_come_back_and_wait_for_the_flows(container: Container) -> None:
    container.start()
    assert container.get("other_config:flow-restore-wait") == '"true"'
    container.set("other_config:flow-restore-wait=false")  # the agent, once the flows are there
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        killed = container.pid(daemon)
        os.kill(killed, signal.SIGKILL)
        eventually(
            lambda d=daemon, k=killed: container.pid(d) != k and container.alive(), f"{daemon} is back"
        )
    assert container.get("other_config:flow-restore-wait") == '"true"'


def test_the_switch_keeps_its_identity_and_ends_in_order(container: Container) -> None:
    container.start()
    first = container.get("external_ids:system-id")
    assert len(first.strip('"')) == 36
    daemons = [container.pid(name) for name in ("ovs-vswitchd", "ovsdb-server")]
    assert container.stop() < 5.5
    assert all(not Path(f"/proc/{pid}").exists() for pid in daemons)
    assert "does not answer" in container.probe().stderr

    container.start()
    assert container.get("external_ids:system-id") == first


def test_a_damaged_database_is_kept_aside(container: Container) -> None:
    container.run.mkdir()
    (container.run / "conf.db").write_bytes(b"\0 no database")
    container.start()
    (aside,) = container.run.glob("conf.db.damaged-*")
    assert aside.read_bytes() == b"\0 no database"
