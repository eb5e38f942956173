"""What a kubelet stand-in is told at its start, as one JSON file that the supervisor writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from lab.directory import write_atomically


@dataclass(frozen=True)
class KubeletConfig:
    node: str
    lab: str  # the prefix of the names of pods' network namespaces
    netns: str  # the node's own
    kubeconfig: str
    addresses: list[str]  # the node's InternalIPs
    pod_cidrs: list[str]
    cni_command: list[str]  # the plugin, as an argument list
    cni_config: str  # its configuration, JSON, as on a node's /etc/cni/net.d
    cni_environment: dict[str, str]
    cni_socket: str  # the node is Ready when it exists
    runtime_socket: str
    state: str  # directory of sandbox records
    journal: str

    @property
    def sandboxes(self) -> Path:
        return Path(self.state) / "sandboxes"

    def write(self, path: Path) -> None:
        write_atomically(path, msgspec.json.encode(asdict(self)).decode())


def read(path: Path) -> KubeletConfig:
    return msgspec.json.decode(path.read_bytes(), type=KubeletConfig)
