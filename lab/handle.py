"""A lab as seen from outside its processes: what the command line, the demo, the tests and the benchmarks
hold in their hands. Making one up, asking its supervisor, its API, its pods; taking it down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from client import kubeconfig
from client.rest import RestClient
from lab import inventory, teardown
from lab.addressing import MAX_NODES
from lab.directory import DATAPATHS, FAMILIES, LabDirectory, LabFacts, new_token
from lab.errors import LabError
from lab.inventory import LabPod
from lab.nodes import ovs
from lab.processes import TOKEN_VARIABLE
from lab.supervisor import control, plan

UP_TIMEOUT = 180.0
LOAD_TIMEOUT = 1800.0
Say = Callable[[str], None]


def _silent(text: str) -> None:
    """For callers that want no progress."""


class Lab:
    """``name`` is the lab's; nothing is made or checked until a method is called."""

    def __init__(self, name: str, base: Path | None = None) -> None:
        self.directory = LabDirectory(name, base)

    @property
    def name(self) -> str:
        return self.directory.name

    # -- life --------------------------------------------------------------------------------------
    def up(
        self,
        nodes: int = 2,
        family: str = "ipv4",
        say: Say = _silent,
        load: Path | None = None,
        datapath: str = "userspace",
    ) -> None:
        """Bring the lab up and wait until it is ready. Raises LabError with the reason.

        ``load``: manifests that the API reads before it serves, statuses included; as many as one likes.
        ``datapath``: userspace, or kernel where the kernel has the module openvswitch."""
        if family not in FAMILIES:
            raise LabError(f"the IP family {family!r} is unknown; known are {', '.join(FAMILIES)}")
        if datapath not in DATAPATHS:
            raise LabError(f"the datapath {datapath!r} is unknown; known are {', '.join(DATAPATHS)}")
        if not 0 <= nodes <= MAX_NODES:
            raise LabError(f"a lab has 0 to {MAX_NODES} nodes, not {nodes}")
        if nodes:
            require_node_tools()
            if datapath == "kernel":
                ovs.require_kernel_datapath()
        if self.directory.exists:
            self._clear_a_crashed_one(say)
        facts = LabFacts(
            self.name,
            new_token(),
            family,
            datapath=datapath,
            with_nodes=nodes > 0,
            load=str(load.resolve()) if load else "",
        )
        self.directory.create(facts)
        with open(self.directory.supervisor_log, "ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "lab.supervisor", str(self.directory.path), str(nodes)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, TOKEN_VARIABLE: facts.token},
                start_new_session=True,
                cwd="/",
            )
        deadline = time.monotonic() + 15
        while not self.directory.control_socket.exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise LabError(
                    f"the lab's supervisor did not start; its log is {self.directory.supervisor_log}"
                )
            time.sleep(0.02)
        control.call(self.directory.control_socket, {"op": "wait"}, say, LOAD_TIMEOUT if load else UP_TIMEOUT)

    def _clear_a_crashed_one(self, say: Say) -> None:
        if teardown.supervisor_runs(self.directory):
            raise LabError(
                f"the lab {self.name!r} is up already. `antrea-lab status --name {self.name}` shows it, "
                f"`antrea-lab down --name {self.name}` removes it, --name makes another beside it"
            )
        say(f"a lab {self.name!r} whose supervisor is gone is here; what it left is removed first")
        teardown.take_down(self.directory, say)

    def down(self, say: Say = _silent) -> teardown.Report:
        return teardown.take_down(self.directory, say)

    # -- the supervisor ----------------------------------------------------------------------------
    def call(self, op: str, say: Say = _silent, timeout: float = 120.0, **arguments: object) -> Any:
        """One operation of the supervisor. Raises LabError."""
        self.directory.facts()  # says that there is no such lab, if there is none
        return control.call(self.directory.control_socket, {"op": op, **arguments}, say, timeout)

    def status(self) -> dict[str, Any]:
        return dict(self.call("status"))

    def process(self, name: str) -> dict[str, Any]:
        """One process's row of the status, such as "node-1/antrea-agent"."""
        for process in self.status()["processes"]:
            if process["name"] == name:
                return dict(process)
        raise LabError(f"the lab has no process {name!r}")

    def kill(self, process: str, signal: str = "SIGKILL") -> int:
        """Signal a process; the supervisor starts it again. Returns the pid that was hit."""
        return int(self.call("signal", process=process, signal=signal)["pid"] or 0)

    def stop_process(self, process: str, grace: float = 5.0) -> float:
        """SIGTERM and keep it stopped; returns the seconds until it was gone."""
        return float(self.call("stop-process", process=process, grace=grace))

    def start_process(self, process: str) -> None:
        self.call("start-process", process=process)

    def add_node(self, name: str | None = None, say: Say = _silent) -> str:
        return str(self.call("add-node", say, name=name))

    def remove_node(self, name: str, say: Say = _silent) -> None:
        self.call("remove-node", say, name=name)

    # -- the API -----------------------------------------------------------------------------------
    @property
    def kubeconfig(self) -> Path:
        return self.directory.kubeconfig

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RestClient]:
        """The lab's Kubernetes API, as administrator."""
        self.directory.facts()
        client = RestClient(await kubeconfig.load(str(self.kubeconfig)), user_agent="antrea-lab")
        try:
            yield client
        finally:
            await client.close()

    async def pods(
        self, client: RestClient, namespaces: Sequence[str] = (), everything: bool = False
    ) -> list[LabPod]:
        return await inventory.pods(self.directory, client, namespaces, everything)

    async def wait_pods_ready(
        self, client: RestClient, keys: Iterable[str] | None = None, timeout: float = 60.0
    ) -> list[LabPod]:
        """Wait until these pods ("ns/pod"; None: all that there are) are Ready, and return them."""
        import asyncio

        wanted = None if keys is None else set(keys)
        namespaces = sorted({key.partition("/")[0] for key in wanted or ()})
        deadline = time.monotonic() + timeout
        while True:
            found = await self.pods(client, namespaces, everything=True)
            chosen = [pod for pod in found if wanted is None or pod.key in wanted]
            missing = [pod.key for pod in chosen if not (pod.ready and pod.ips and pod.netns)]
            if wanted is not None:
                missing += sorted(wanted - {pod.key for pod in chosen})
            if not missing:
                return chosen
            if time.monotonic() > deadline:
                raise LabError(
                    f"not ready after {timeout:g} s: {', '.join(missing)}; `kubectl describe pod` says why"
                )
            await asyncio.sleep(0.05)

    # -- inside ------------------------------------------------------------------------------------
    def node_netns(self, node: str) -> Path:
        from lab.nodes import netns

        return netns.path_of(self.directory.node_netns(node))

    def node_environment(self, node: str) -> dict[str, str]:
        """Environment in which OVS tools and antctl (agent mode) mean this node."""
        if node not in self.directory.nodes():
            raise LabError(
                f"the lab has no node {node!r}; it has {', '.join(self.directory.nodes()) or 'none'}"
            )
        return plan.node_environment(self.directory, self.directory.node(node))

    def run_on_node(
        self, node: str, argv: Sequence[str], timeout: float = 30.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's namespace and environment."""
        return subprocess.run(
            ["nsenter", f"--net={self.node_netns(node)}", "--", *argv],
            env={**os.environ, **self.node_environment(node)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )


def require_node_tools() -> None:
    """Raise LabError if this machine or user cannot have nodes."""
    if os.geteuid() != 0:
        raise LabError(
            "a lab with nodes needs root: it makes network namespaces and Open vSwitch bridges. "
            "Run it as root, or have only the control plane with --nodes 0"
        )
    for name, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("ethtool", "ethtool")):
        if shutil.which(name) is None and shutil.which(name, path="/usr/sbin:/sbin") is None:
            raise LabError(f"{name} is missing; on Debian: apt-get install {package}")
    ovs.require()
