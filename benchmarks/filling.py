"""A real kube-apiserver with a large cluster in it, filled through its API and kept if wanted.

The objects are those of benchmarks.shapes, first shape: 25,000 namespaces with four Pods and three policies
each, on 1,000 nodes. A Pod is created and then its status is written, as a kubelet does it. What is kept is
etcd's data; keys and ports are new each time.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import load, shapes
from benchmarks.common import Progress
from tests.kubernetes.cluster import Cluster

NAMESPACES, NODES = 25_000, 1_000
CONNECTIONS = 32
COMPLETE = "filled.json"

# No controller manager runs, so nothing makes the ServiceAccounts that Pods would wait for.
ARGUMENTS = (
    "--disable-admission-plugins=ServiceAccount,ResourceQuota,LimitRanger",
    "--max-requests-inflight=0",
    "--max-mutating-requests-inflight=0",
    "--enable-priority-and-fairness=false",
)


@dataclass(frozen=True)
class Content:
    """What is in the cluster: where each namespace's Pods run, by their ``app-N`` label."""

    nodes: int
    namespaces: dict[str, list[tuple[str, str]]]  # name → (label key, node) of each Pod

    @property
    def summary(self) -> str:
        count = len(self.namespaces)
        return f"{count:,} namespaces, {4 * count:,} pods on {self.nodes:,} nodes, {3 * count:,} policies"


def node_name(number: int) -> str:
    return f"node-{number}"


def _shape(scale: float) -> tuple[shapes.Cluster, int]:
    made = shapes.Cluster()
    shapes.small_namespaces(made, max(int(NAMESPACES * scale), 20))
    return made, max(int(NODES * scale), 40)


def _placement(pods: int, nodes: int) -> list[int]:
    chance = random.Random(11)
    return [chance.randrange(nodes) for _ in range(pods)]


def content(scale: float) -> Content:
    made, nodes = _shape(scale)
    namespaces: dict[str, list[tuple[str, str]]] = {}
    for (namespace, labels), node in zip(made.pods, _placement(len(made.pods), nodes), strict=True):
        namespaces.setdefault(namespace, []).append((next(iter(labels)), node_name(node)))
    return Content(nodes, namespaces)


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _creation(document: dict[str, Any]) -> dict[str, Any]:
    """As somebody sends it who creates the object: without what the server sets."""
    theirs = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")
    metadata = {key: value for key, value in document["metadata"].items() if key not in theirs}
    return {**document, "metadata": metadata}


def jobs(scale: float) -> Iterator[str]:
    """The requests that make the cluster."""
    made, nodes = _shape(scale)
    for number in range(nodes):
        document = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": node_name(number)}}
        yield load.job(("POST", "/api/v1/nodes", _text(document)))
    for document in made.namespaces:
        body = {**_creation(document), "kind": "Namespace", "apiVersion": "v1"}
        yield load.job(("POST", "/api/v1/namespaces", _text(body)))
    yield ""
    for document in made.policies:
        path = f"/apis/networking.k8s.io/v1/namespaces/{document['metadata']['namespace']}/networkpolicies"
        body = {**_creation(document), "kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1"}
        yield load.job(("POST", path, _text(body)))
    placement = _placement(len(made.pods), nodes)
    for number, (raw, node) in enumerate(zip(made.raw_pods(), placement, strict=True)):
        document = _creation(json.loads(raw))
        metadata = document["metadata"]
        head: dict[str, Any] = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}
        spec = {**document["spec"], "nodeName": node_name(node)}
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        status = {**document["status"], "podIP": address, "podIPs": [{"ip": address}]}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        yield load.job(
            ("POST", path, _text({**head, "spec": spec})),
            ("PUT", f"{path}/{metadata['name']}/status", _text({**head, "spec": spec, "status": status})),
        )


@asynccontextmanager
async def filled(
    scale: float, keep: Path | None, scratch: Path, generator: load.Load, progress: Progress
) -> AsyncIterator[Cluster]:
    """A running cluster with everything in it. ``keep``: a directory for etcd's data, used if complete."""
    cluster = Cluster(scratch / "cluster", controllers=(), arguments=ARGUMENTS, audit=False)
    complete = False
    if keep is not None:
        note = keep / COMPLETE
        complete = note.exists() and json.loads(note.read_text())["scale"] == scale
        if not complete:
            shutil.rmtree(keep / "etcd", ignore_errors=True)
            note.unlink(missing_ok=True)
        (keep / "etcd").mkdir(parents=True, exist_ok=True)
        cluster.directory.mkdir(parents=True)
        (cluster.directory / "etcd").symlink_to(keep / "etcd")
    try:
        await cluster.start()
        if not complete:
            progress("  filling the Kubernetes API (not measured)")
            took = await generator.fill(
                load.administrator(cluster),
                jobs(scale),
                CONNECTIONS,
                lambda done: progress(f"  {done:,} requests"),
            )
            progress(f"  filled with {took['requests']:,} requests in {took['seconds']:.0f} s")
            if keep is not None:
                note.write_text(json.dumps({"scale": scale, "seconds": took["seconds"]}) + "\n")
        yield cluster
    finally:
        await cluster.stop()
