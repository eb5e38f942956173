"""A real Open vSwitch for one test: ovsdb-server and ovs-vswitchd with a run directory and a network
namespace of their own, on the userspace datapath. Everything it makes carries the prefix it is given and is
removed.

    with OpenVSwitch(tmp_path, "aocn-1") as ovs:
        ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        ovs.kill_vswitchd(); ovs.start_vswitchd()
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PATIENCE = 10.0  # seconds for a daemon to come up or a command to answer

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name for a network namespace that no other test and no other run has."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


def run(*command: str, check: bool = True, timeout: float = PATIENCE) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout


class Namespace:
    """A network namespace with lo up, entered with ``nsenter`` so that /sys and mounts stay as they are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/run/netns/{name}"

    def create(self) -> Namespace:
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def delete(self) -> None:
        run("ip", "netns", "del", self.name, check=False)

    def __enter__(self) -> Namespace:
        return self.create()

    def __exit__(self, *_: object) -> None:
        self.delete()

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--", *command]

    def run(self, *command: str, check: bool = True, timeout: float = PATIENCE) -> str:
        return run(*self.command(*command), check=check, timeout=timeout)


class OpenVSwitch:
    """See the module's text. Keep ``directory`` short: paths of the sockets in it have at most 107 bytes."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self.run_dir = directory / "ovs"
        self.namespace = Namespace(prefix)
        self._ovsdb: subprocess.Popen[bytes] | None = None
        self._vswitchd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OpenVSwitch:
        self.run_dir.mkdir(parents=True)
        self.namespace.create()
        try:
            run("ovsdb-tool", "create", str(self.run_dir / "conf.db"), SCHEMA)
            self.start_ovsdb()
            self.vsctl("--no-wait", "init")
            self.start_vswitchd()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.kill_vswitchd()
        self.kill_ovsdb()
        self.namespace.delete()

    @property
    def db_socket(self) -> Path:
        return self.run_dir / "db.sock"

    @property
    def vswitchd_control(self) -> Path:
        """The unixctl socket of vswitchd, as ``ovs-appctl -t`` takes it."""
        return self.run_dir / "ovs-vswitchd.ctl"

    def start_ovsdb(self) -> None:
        self._ovsdb = self._start(
            "ovsdb-server",
            str(self.run_dir / "conf.db"),
            f"--remote=punix:{self.db_socket}",
            f"--unixctl={self.run_dir / 'ovsdb-server.ctl'}",
        )
        self._await(
            lambda: run("ovs-vsctl", f"--db=unix:{self.db_socket}", "--no-wait", "--timeout=1", "show")
        )

    def start_vswitchd(self) -> None:
        self._vswitchd = self._start(
            "ovs-vswitchd", f"unix:{self.db_socket}", f"--unixctl={self.vswitchd_control}", "--pidfile"
        )
        self._await(lambda: self.appctl("version"))

    def kill_vswitchd(self) -> None:
        """SIGKILL, and wait until it is gone: its pid file lock lives as long as its threads."""
        self._vswitchd = self._kill(self._vswitchd)

    def clean_up_vswitchd(self) -> None:
        """End vswitchd in the way that also removes its taps, with their addresses and routes."""
        self.appctl("exit", "--cleanup")
        if self._vswitchd is not None:
            self._vswitchd.wait(PATIENCE)
        self._vswitchd = None

    def kill_ovsdb(self) -> None:
        self._ovsdb = self._kill(self._ovsdb)

    def vsctl(self, *arguments: str) -> str:
        return run("ovs-vsctl", f"--db=unix:{self.db_socket}", "--timeout=10", *arguments)

    def ofctl(self, *arguments: str) -> str:
        return run("ovs-ofctl", "-O", "OpenFlow15", *arguments)

    def bridge(self, name: str) -> str:
        """How ovs-ofctl names a bridge of this instance."""
        return f"unix:{self.run_dir / name}.mgmt"

    def appctl(self, *arguments: str) -> str:
        return run("ovs-appctl", "--timeout=5", "-t", str(self.vswitchd_control), *arguments)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OVS_RUNDIR": str(self.run_dir), "OVS_LOGDIR": str(self.run_dir)}
        with open(self.run_dir / f"{command[0]}.log", "ab") as log:
            return subprocess.Popen(
                self.namespace.command(*command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @staticmethod
    def _kill(process: subprocess.Popen[bytes] | None) -> None:
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    @staticmethod
    def _await(attempt: object) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                attempt()  # type: ignore[operator]
                return
            except (AssertionError, subprocess.TimeoutExpired):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
