"""Which pods the lab has, and where: the API's word joined with the kubelets' records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.resources import PODS
from client.rest import RestClient
from lab.directory import LabDirectory
from lab.errors import LabError
from lab.nodes import netns
from lab.nodes.kubelet.pod_facts import containers
from lab.probing import Probe


@dataclass(frozen=True, slots=True)
class LabPod:
    namespace: str
    name: str
    uid: str
    node: str
    ips: tuple[str, ...]
    netns: str | None  # path; None until the kubelet has made it
    host_network: bool
    ports: tuple[tuple[str, int, str], ...]  # (protocol, number, name)
    labels: dict[str, str]
    ready: bool

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def ip(self, version: int) -> str | None:
        """The pod's first address of IP version 4 or 6."""
        return next((ip for ip in self.ips if (":" in ip) == (version == 6)), None)

    def port(self, wanted: int | str, protocol: str) -> int | None:
        """A port by number, or by the name under which this pod declares it for the protocol."""
        if isinstance(wanted, int) or wanted.isdigit():
            return port_number(wanted)
        return next(
            (number for proto, number, name in self.ports if name == wanted and proto == protocol), None
        )


def port_number(wanted: int | str) -> int:
    """A number that can be a port's. Raises LabError."""
    number = int(wanted)
    if not 0 < number < 65536:
        raise LabError(f"there is no port {number}; ports are numbered from 1 to 65535")
    return number


def _record(directory: LabDirectory, node: str, uid: str) -> str | None:
    path: Path = directory.node(node).kubelet / "sandboxes" / f"{uid}.json"
    try:
        return str(netns.path_of(json.loads(path.read_text())["netns"]))
    except (OSError, ValueError, KeyError):
        return None


async def pods(
    directory: LabDirectory, client: RestClient, namespaces: Sequence[str] = (), everything: bool = False
) -> list[LabPod]:
    """Pods that run, ordered by namespace and name; with ``everything`` also those that do not (yet)."""
    # Namespace by namespace where some are named: a cluster may hold many pods that nobody asks about.
    paths = [PODS.path(namespace=namespace) for namespace in namespaces] or [PODS.path()]
    items = [i for path in paths for i in (await client.request("GET", path)).json().get("items") or []]
    found = []
    for item in items:
        metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
        pod = LabPod(
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            spec.get("nodeName") or "",
            tuple(entry["ip"] for entry in status.get("podIPs") or []),
            _record(directory, spec["nodeName"], metadata["uid"]) if spec.get("nodeName") else None,
            bool(spec.get("hostNetwork")),
            tuple(
                (port.get("protocol") or "TCP", int(port["containerPort"]), port.get("name") or "")
                for container in containers(item)
                for port in container.get("ports") or []
            ),
            metadata.get("labels") or {},
            conditions.get("Ready") == "True",
        )
        running = pod.ips and pod.netns and status.get("phase") == "Running"
        if running or everything:
            found.append(pod)
    return sorted(found, key=lambda pod: pod.key)


def find(found: Sequence[LabPod], reference: str, namespace: str = "default") -> LabPod:
    """The pod that "ns/pod", "pod/name" or "name" means. Raises LabError."""
    reference = reference.removeprefix("pod/")
    key = reference if "/" in reference else f"{namespace}/{reference}"
    for pod in found:
        if pod.key == key:
            return pod
    raise LabError(f"there is no running pod {key}; running are {', '.join(p.key for p in found) or 'none'}")


def probe_between(
    source: LabPod, destination: LabPod, port: int, protocol: str, version: int
) -> Probe | None:
    """The probe from one pod to the other; None if either has no address of the IP version."""
    address = destination.ip(version)
    if source.netns is None or address is None or source.ip(version) is None:
        return None
    return Probe(source.key, source.netns, address, port, protocol, expect=destination.key)
