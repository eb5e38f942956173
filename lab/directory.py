"""Where a lab lives on disk, and what is known of it before anything runs.

One directory per lab: ``/var/run/antrea-lab/LAB`` as root, else below ``$XDG_RUNTIME_DIR`` or
``~/.local/state/antrea-lab``. The directory is created by ``antrea-lab up`` and removed by
``antrea-lab down``; ``lab.json`` in it marks it as the lab's own, so that nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.errors import LabError

FAMILIES = ("ipv4", "ipv6", "dual")
DATAPATHS = ("userspace", "kernel")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


def base_directory() -> Path:
    """The directory that holds all labs of this user; ``ANTREA_LAB_HOME`` overrides it."""
    if override := os.environ.get("ANTREA_LAB_HOME"):
        return Path(override)
    if os.geteuid() == 0:
        return Path("/var/run/antrea-lab")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "antrea-lab"
    return Path.home() / ".local" / "state" / "antrea-lab"


@dataclass
class LabFacts:
    """The contents of ``lab.json``. ``token`` is in the environment of every process of the lab and in
    nothing else's: it is how the lab's processes are told from all others."""

    name: str
    token: str
    family: str = "ipv4"
    api_port: int = 0  # of the Kubernetes API on the host's loopback
    controller_port: int = 10349
    created: float = field(default_factory=time.time)
    load: str = ""  # manifests that the API reads before it serves for the first time
    datapath: str = "userspace"  # of every node's Open vSwitch
    with_nodes: bool = True  # False: only the control plane, on the host's own loopback


class LabDirectory:
    """Paths of one lab. Making the object makes nothing on disk."""

    def __init__(self, name: str, base: Path | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise LabError(
                f"the lab's name {name!r} will not do: at most 20 lower-case letters, digits and dashes, "
                "beginning and ending with a letter or digit"
            )
        self.name = name
        self.path = (base or base_directory()) / name

    def __repr__(self) -> str:
        return f"LabDirectory({self.path})"

    # -- files -------------------------------------------------------------------------------------
    @property
    def facts_file(self) -> Path:
        return self.path / "lab.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig: the API on the host's loopback."""
        return self.path / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The same credentials, with the address that processes in the lab's namespaces can reach."""
        return self.path / "kubeconfig-inside"

    @property
    def control_socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def api(self) -> Path:
        return self.path / "api"

    @property
    def controller(self) -> Path:
        return self.path / "controller"

    @property
    def probe_ports(self) -> Path:
        """Which source ports the probes have used last; see lab/probing."""
        return self.path / "probe-ports"

    def node(self, name: str) -> NodeDirectory:
        return NodeDirectory(name, self.path / "nodes" / name)

    def nodes(self) -> list[str]:
        return sorted(path.name for path in (self.path / "nodes").glob("*") if path.is_dir())

    # -- network namespaces ------------------------------------------------------------------------
    @property
    def control_netns(self) -> str:
        return f"{self.name}-ctl"

    def node_netns(self, node: str) -> str:
        return f"{self.name}-{node}"

    # -- life --------------------------------------------------------------------------------------
    @property
    def exists(self) -> bool:
        return self.facts_file.exists()

    def facts(self) -> LabFacts:
        try:
            return LabFacts(**json.loads(self.facts_file.read_text()))
        except FileNotFoundError:
            raise LabError(
                f"there is no lab named {self.name!r}. `antrea-lab up --name {self.name}` makes one"
            ) from None
        except (ValueError, TypeError) as error:
            raise LabError(
                f"{self.facts_file} cannot be read ({error}); `antrea-lab down --name {self.name}` removes it"
            ) from None

    def write_facts(self, facts: LabFacts) -> None:
        write_atomically(self.facts_file, json.dumps(asdict(facts), indent=1))

    def create(self, facts: LabFacts) -> None:
        """Make the directory, or say that the name is taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(
                f"a lab named {self.name!r} is there already. "
                f"`antrea-lab status --name {self.name}` shows it, "
                f"`antrea-lab down --name {self.name}` removes it, and --name makes another beside it"
            ) from None
        self.write_facts(facts)
        for path in (self.api, self.controller, self.path / "nodes"):
            path.mkdir()

    def remove(self) -> None:
        """Remove the directory, and only one that a lab made."""
        if self.exists:
            # The mark goes last, so that a removal that was cut short can be taken up again.
            for child in self.path.iterdir():
                if child == self.facts_file:
                    continue
                if child.is_dir() and not child.is_symlink():
                    shutil.rmtree(child, ignore_errors=True)
                else:
                    child.unlink(missing_ok=True)
            self.facts_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()


class NodeDirectory:
    """Paths of one node of a lab: what on a real node is /var/run/antrea, /var/run/openvswitch and so on."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.ovs = path / "ovs"  # OVS_RUNDIR: db.sock, br-int.mgmt, unixctl sockets, pid files
        self.run = path / "run"  # the agent's run directory
        self.cni = path / "cni"  # addresses given out by host-local
        self.agent_config = path / "agent.conf"
        self.kubelet = path / "kubelet"
        self.journal = path / "journal"
        self.log = path / "log"

    def create(self) -> None:
        for directory in (self.ovs, self.run, self.cni, self.kubelet, self.log):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def runtime_socket(self) -> Path:
        """The socket of the stand-in for a container runtime, which forks the pods' responders."""
        return self.kubelet / "runtime.sock"


def new_token() -> str:
    return secrets.token_hex(16)


def labs(base: Path | None = None) -> Iterator[LabDirectory]:
    """All labs of this user, by name."""
    root = base or base_directory()
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if (path / "lab.json").exists():
            yield LabDirectory(path.name, root)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``path`` so that a reader sees the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)
