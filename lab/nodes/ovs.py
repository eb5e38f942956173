"""A node's own pair of ovsdb-server and ovs-vswitchd, with its run directory, and the bridge br-phy that
the userspace datapath needs.

Both run in the foreground as children of the lab's supervisor: Open vSwitch's own monitor does not
restart after SIGKILL. br-int is the agent's business and is not touched here.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
from pathlib import Path

from lab.addressing import UNDERLAY_MTU
from lab.directory import NodeDirectory
from lab.errors import LabError
from lab.nodes import netns
from lab.shell import run

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool")
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"


def program(name: str) -> str:
    """The path of an Open vSwitch program; /usr/sbin counts also where PATH lacks it."""
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    if found is None:
        raise LabError(
            f"{name} is missing: a lab with nodes needs Open vSwitch. "
            "On Debian: apt-get install openvswitch-switch. "
            "`antrea-lab up --nodes 0` does without"
        )
    return found


def require() -> None:
    """Raise LabError if Open vSwitch is not installed."""
    for name in PROGRAMS:
        program(name)
    if not SCHEMA.exists():
        raise LabError(f"{SCHEMA} is missing; Debian's openvswitch-switch brings it")


def require_kernel_datapath() -> None:
    """Raise LabError if this kernel has no Open vSwitch; load its module if it is only not loaded yet."""
    modprobe = shutil.which("modprobe") or shutil.which("modprobe", path=_SBIN)
    if modprobe:  # fails where it is built into the kernel
        subprocess.run([modprobe, "openvswitch"], capture_output=True, timeout=20)
    asked = subprocess.run([program("ovs-dpctl"), "dump-dps"], capture_output=True, text=True, timeout=20)
    if asked.returncode:
        raise LabError(
            f"this kernel has no Open vSwitch: {asked.stderr.strip()}. The kernel datapath needs its module "
            "openvswitch; take the userspace datapath (--datapath userspace)"
        )


def environment(node: NodeDirectory) -> dict[str, str]:
    """What points every Open vSwitch program at this node's pair."""
    return {"OVS_RUNDIR": str(node.ovs), "OVS_LOGDIR": str(node.log), "OVS_DBDIR": str(node.ovs)}


def database_command(node: NodeDirectory) -> list[str]:
    run_dir = node.ovs
    return [
        program("ovsdb-server"),
        str(run_dir / "conf.db"),
        f"--remote=punix:{run_dir / 'db.sock'}",
        f"--unixctl={run_dir / 'ovsdb-server.ctl'}",
        f"--pidfile={run_dir / 'ovsdb-server.pid'}",
        "-vconsole:info",
        "-vsyslog:off",
    ]


def switch_command(node: NodeDirectory, datapath: str) -> list[str]:
    """On the kernel datapath vswitchd is told to wait for the agent at each start: until the agent has put
    the flows back it leaves alone what the kernel forwards. On the userspace datapath nothing is there to be
    left alone, and br-phy would wait as well."""
    run_dir = node.ovs
    command = [
        program("ovs-vswitchd"),
        f"unix:{run_dir / 'db.sock'}",
        f"--unixctl={run_dir / 'ovs-vswitchd.ctl'}",
        f"--pidfile={run_dir / 'ovs-vswitchd.pid'}",
        "-vconsole:info",
        "-vsyslog:off",
    ]
    if datapath == "userspace":
        return command
    wait = [
        program("ovs-vsctl"), "--timeout=15", f"--db=unix:{run_dir / 'db.sock'}", "--no-wait",
        "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true",
    ]  # fmt: skip
    return ["sh", "-c", f"{shlex.join(wait)} && exec {shlex.join(command)}"]


async def create_database(node: NodeDirectory) -> None:
    """An empty configuration database; one that is there is kept (a node that comes back keeps its ports)."""
    database = node.ovs / "conf.db"
    if not database.exists():
        await run([program("ovsdb-tool"), "create", str(database), str(SCHEMA)])


def _vsctl(node: NodeDirectory) -> list[str]:
    return [program("ovs-vsctl"), "--timeout=15", f"--db=unix:{node.ovs / 'db.sock'}"]


async def initialize(node: NodeDirectory) -> None:
    """Wait for the database and put its first row in."""
    socket = node.ovs / "db.sock"
    deadline = asyncio.get_running_loop().time() + 15.0
    while not socket.exists():
        if asyncio.get_running_loop().time() > deadline:
            raise LabError(f"ovsdb-server of {node.name} did not start; its log is in {node.log}")
        await asyncio.sleep(0.01)
    await run([*_vsctl(node), "--no-wait", "init"])


async def make_underlay_bridge(node: NodeDirectory, namespace: str) -> None:
    """Declare br-phy and wait until vswitchd has made its interface."""
    # Waits for vswitchd: when it returns, the interface br-phy is there.
    await run(
        [
            *_vsctl(node),
            "--may-exist", "add-br", "br-phy",
            "--", "set", "bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone",
            "--", "set", "interface", "br-phy", f"mtu_request={UNDERLAY_MTU}",
            "--", "--may-exist", "add-port", "br-phy", "eth0",
        ],
        env=environment(node),
    )  # fmt: skip
    for _ in range(100):
        code, _, _ = await run(["ip", "-n", namespace, "link", "show", "br-phy"], check=False)
        if code == 0:
            return
        await asyncio.sleep(0.05)
    raise LabError(f"ovs-vswitchd of {node.name} did not make br-phy; its log is in {node.log}")


def in_netns(namespace: str, argv: list[str]) -> list[str]:
    """The command, run in a namespace: nsenter replaces itself with it, so the pid stays the child's."""
    return ["nsenter", f"--net={netns.path_of(namespace)}", "--", *argv]
