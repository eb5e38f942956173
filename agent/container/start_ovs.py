"""start_ovs: ovsdb-server and ovs-vswitchd of a node, kept running until the container is stopped.

Both are children of this process, in the foreground: one that dies is started again, and its successor finds
what the other one needs. vswitchd is told at every start to wait (``flow-restore-wait``) until the agent has
put the flows back: what the kernel's datapath forwards meanwhile stays as it was. On SIGTERM the daemons
leave the datapath as it is, so that established connections outlive an update of the Pod.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import click

from runtime import log, process
from runtime.child import Child, ProcessSpec
from runtime.errors import ConfigurationError
from runtime.tasks import Supervisor

logger = log.get("agent.container.ovs")

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PATIENCE = 30.0  # seconds for ovsdb-server to open its socket
CHECK_SECONDS = 60.0  # between looks at the size of the log files


def _tool(*arguments: str) -> str:
    """What a program of Open vSwitch prints. Raises ConfigurationError with its complaint."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{arguments[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise ConfigurationError(f"`{shlex.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout.strip()


def prepare_database(path: Path, schema: str) -> None:
    """A database of the present schema: made, converted, or begun anew where the file is damaged.

    Nothing in it is lost for good: the agent writes bridge and ports again. Raises ConfigurationError."""
    if path.exists():
        try:
            if _tool("ovsdb-tool", "needs-conversion", str(path), schema) == "yes":
                logger.info("Converting %s to the present schema", path)
                _tool("ovsdb-tool", "convert", str(path), schema)
            return
        except ConfigurationError as error:
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            logger.error("The database %s is kept as %s and begun anew: %s", path, aside, error)
            os.replace(path, aside)
    path.with_name(f".{path.name}.~lock~").unlink(missing_ok=True)
    _tool("ovsdb-tool", "create", str(path), schema)


class Daemons:
    """The two daemons and their places. ``log_megabytes`` and ``log_files`` bound each log."""

    def __init__(self, run_dir: Path, log_dir: Path, schema: str, log_megabytes: int, log_files: int) -> None:
        self.run_dir, self.log_dir, self.schema = run_dir, log_dir, schema
        self._log_bytes, self._log_files = log_megabytes << 20, max(2, log_files)
        self.socket = run_dir / "db.sock"
        environment = {**os.environ, "OVS_RUNDIR": str(run_dir), "OVS_LOGDIR": str(log_dir)}
        wait = [*self._vsctl(), "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true"]
        switch = self._daemon("ovs-vswitchd", f"unix:{self.socket}")
        self.database = Child(
            ProcessSpec(
                "ovsdb-server",
                (
                    *self._daemon("ovsdb-server", str(run_dir / "conf.db")),
                    f"--remote=punix:{self.socket}",
                    "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
                ),
                log_dir / "ovsdb-server.out",
            ),
            environment,
        )
        self.switch = Child(
            ProcessSpec(
                "ovs-vswitchd",
                ("sh", "-c", f"{shlex.join(wait)} && exec {shlex.join(switch)}"),
                log_dir / "ovs-vswitchd.out",
            ),
            environment,
        )

    def _vsctl(self) -> list[str]:
        return ["ovs-vsctl", "--timeout=15", f"--db=unix:{self.socket}", "--no-wait"]

    def _daemon(self, name: str, *arguments: str) -> list[str]:
        # No --unixctl: ovs-appctl finds the default place, NAME.PID.ctl, by the pid file.
        return [
            name, *arguments, f"--pidfile={self.run_dir / name}.pid", f"--log-file={self.log_dir / name}.log",
            "-vconsole:off", "-vsyslog:off", "-vfile:info",
        ]  # fmt: skip

    async def start(self) -> None:
        """Raises ConfigurationError when the daemons cannot be started."""
        for directory in (self.run_dir, self.log_dir):
            directory.mkdir(parents=True, exist_ok=True)
        for name in ("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool"):
            if shutil.which(name) is None:
                raise ConfigurationError(f"{name} is not installed: the image needs openvswitch-switch")
        await asyncio.to_thread(prepare_database, self.run_dir / "conf.db", self.schema)
        self.socket.unlink(missing_ok=True)
        self.database.start()
        deadline = time.monotonic() + PATIENCE
        while not self.socket.exists():
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"ovsdb-server did not open {self.socket} within {PATIENCE:g} s; "
                    f"its log is in {self.log_dir}"
                )
            await asyncio.sleep(0.02)
        await asyncio.to_thread(self._describe)
        self.switch.start()

    def _describe(self) -> None:
        """Who this switch is: an id for ever, the host's name, the version that runs."""
        vsctl = self._vsctl()
        _tool(*vsctl, "init")
        known = _tool(*vsctl, "--if-exists", "get", "Open_vSwitch", ".", "external_ids:system-id")
        version = _tool("ovs-vswitchd", "--version").splitlines()[0].split()[-1]
        _tool(
            *vsctl, "set", "Open_vSwitch", ".", f"external_ids:hostname={os.uname().nodename}",
            f"ovs_version={version}", *(() if known else (f"external_ids:system-id={uuid.uuid4()}",)),
        )  # fmt: skip

    async def keep_logs_small(self) -> None:
        """Never returns; cancel it."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.to_thread(self.rotate)

    def rotate(self) -> None:
        """Move logs aside that have grown too large; the daemons open new ones."""
        for name in ("ovsdb-server", "ovs-vswitchd"):
            path = self.log_dir / f"{name}.log"
            try:
                if not self._log_bytes or path.stat().st_size < self._log_bytes:
                    continue
                for number in range(self._log_files - 1, 1, -1):
                    older = path.with_name(f"{path.name}.{number - 1}")
                    if older.exists():
                        os.replace(older, path.with_name(f"{path.name}.{number}"))
                os.replace(path, path.with_name(f"{path.name}.1"))
                control = self.run_dir / f"{name}.{(self.run_dir / f'{name}.pid').read_text().strip()}.ctl"
                _tool("ovs-appctl", "-t", str(control), "vlog/reopen")
            except (OSError, ConfigurationError) as error:
                logger.warning("The log %s cannot be moved aside: %s", path, error)

    async def stop(self) -> None:
        """vswitchd first, while its database answers. SIGTERM leaves the kernel's flows where they are."""
        await self.switch.stop()
        await self.database.stop()


@click.command("start_ovs", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--run-dir", default="/var/run/openvswitch", show_default=True, help="database, sockets, pids")
@click.option("--log-dir", default="/var/log/openvswitch", show_default=True)
@click.option("--schema", default=SCHEMA, show_default=True)
@click.option("--log_file_max_size", "megabytes", default=100, show_default=True, metavar="MB")
@click.option("--log_file_max_num", "number", default=4, show_default=True, metavar="N")
def command(run_dir: str, log_dir: str, schema: str, megabytes: int, number: int) -> int:
    """Run Open vSwitch on this node until SIGTERM."""
    log.setup()
    daemons = Daemons(Path(run_dir), Path(log_dir), schema, megabytes, number)

    async def serve(supervisor: Supervisor) -> None:
        supervisor.on_close("Open vSwitch", daemons.stop)
        await daemons.start()
        supervisor.start("logs", daemons.keep_logs_small)
        logger.info("Open vSwitch runs in %s", run_dir)

    return process.run("start_ovs", serve)


def main() -> None:
    sys.exit(command(standalone_mode=False) or 0)


if __name__ == "__main__":
    main()
