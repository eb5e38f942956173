"""Runs a policy set in a lab and compares what the oracle says with what real packets find."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from client.errors import ApiError
from client.resources import PODS
from client.rest import MERGE_PATCH, RestClient
from lab.apply import Applier
from lab.handle import Lab
from lab.inventory import LabPod, probe_between
from lab.probing import Prober, Result
from tests.computation.oracle import Oracle
from tests.e2e.policysets import (
    NAMESPACES,
    Operation,
    PolicySet,
    World,
    namespace_manifest,
    pod_manifest,
)
from tests.e2e.policysets import (
    PODS as POD_NAMES,
)

NETWORK_POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
PROBE_TIMEOUT = 0.35  # seconds of silence that count as dropped; repeated while it disagrees
SETTLE = 10.0  # seconds after which a cell that still disagrees is wrong


@dataclass(frozen=True)
class Cell:
    source: LabPod
    destination: LabPod
    protocol: str
    port: int
    family: int

    def __str__(self) -> str:
        return f"{self.source.key} → {self.destination.key} {self.protocol} {self.port} IPv{self.family}"


class Arena:
    """Nine pods in three namespaces on the nodes of a running lab. A slow machine gives ``patience`` times as
    long for an answer and for a change to arrive."""

    def __init__(
        self, lab: Lab, client: RestClient, prober: Prober, families: Sequence[int], patience: float = 1.0
    ) -> None:
        self.lab = lab
        self.client = client
        self.prober = prober
        self.families = families
        self.patience = patience
        self.pods: list[LabPod] = []
        self.oracle = Oracle()
        self._applier = Applier(client)

    async def prepare(self, nodes: Sequence[str]) -> None:
        keys = [(namespace, pod) for namespace in NAMESPACES for pod in POD_NAMES]
        for namespace in NAMESPACES:
            await self._applier.apply(namespace_manifest(namespace))
        for number, (namespace, pod) in enumerate(keys):
            path = f"/api/v1/namespaces/{namespace}/pods"
            try:
                await self.client.create(path, pod_manifest(namespace, pod, nodes[number % len(nodes)]))
            except ApiError as error:
                if error.status != 409:  # it is there: a pod's ports cannot be changed anyway
                    raise
        self.pods = await self.lab.wait_pods_ready(self.client, [f"{n}/{p}" for n, p in keys], timeout=90)
        await self._read_objects()

    async def _read_objects(self) -> None:
        """The oracle reads what the API holds, with the label that namespaces get and the pods' addresses."""
        for kind, path in (("Namespace", "/api/v1/namespaces"), ("Pod", PODS.path())):
            listed = (await self.client.request("GET", path)).json()
            for item in listed["items"]:
                self.oracle.apply({**item, "kind": kind})

    @property
    def world(self) -> World:
        return World({(pod.namespace, pod.name): list(pod.ips) for pod in self.pods})

    async def operate(self, operation: Operation) -> None:
        collection = NETWORK_POLICIES.format(operation.namespace)
        if operation.verb == "apply":
            assert operation.manifest is not None
            try:
                await self.client.create(collection, operation.manifest)
            except ApiError as error:
                if error.status != 409:
                    raise
                await self.client.update(f"{collection}/{operation.name}", operation.manifest)
            self.oracle.apply(operation.manifest)
        elif operation.verb == "delete":
            await self.client.request("DELETE", f"{collection}/{operation.name}")
            self.oracle.delete("NetworkPolicy", operation.namespace, operation.name)
        else:
            path = f"/api/v1/namespaces/{operation.namespace}/pods/{operation.name}"
            await self.client.patch(path, {"metadata": {"labels": operation.labels}}, MERGE_PATCH)
            self.oracle.apply({**(await self.client.request("GET", path)).json(), "kind": "Pod"})

    async def clear(self) -> None:
        """Back to the start: no policies, the labels that the pods were made with."""
        for namespace, name in list(self.oracle.network_policies):
            await self.operate(Operation("delete", namespace, name))
        for pod in self.pods:
            labels: dict[str, str | None] = dict(pod_manifest(pod.namespace, pod.name)["metadata"]["labels"])
            present = self.oracle.pods[(pod.namespace, pod.name)]["metadata"].get("labels") or {}
            labels |= {key: None for key in present if key not in labels}
            if any(present.get(key) != value for key, value in labels.items()):
                await self.operate(Operation("label", pod.namespace, pod.name, labels=labels))

    def cells(self, probes: Sequence[tuple[str, int]]) -> list[Cell]:
        return [
            Cell(source, destination, protocol, port, family)
            for source in self.pods
            for destination in self.pods
            for protocol, port in probes
            for family in self.families
        ]

    def expected(self, cell: Cell) -> bool:
        return self.oracle.allowed(
            cell.source.key, cell.destination.key, cell.protocol, cell.port, cell.family
        )

    async def _probe(self, cells: Sequence[Cell]) -> list[Result]:
        probes = []
        for cell in cells:
            probe = probe_between(cell.source, cell.destination, cell.port, cell.protocol, cell.family)
            assert probe is not None, f"{cell} cannot be probed"
            probes.append(probe)
        return await asyncio.to_thread(self.prober.probe_all, probes, PROBE_TIMEOUT * self.patience)

    async def disagreements(self, probes: Sequence[tuple[str, int]]) -> list[str]:
        """A sentence for each cell in which packets and oracle still disagree after the time to settle.

        Cells that disagree are probed again, because a change takes some milliseconds to arrive; at the end
        all cells are probed once more, so that one that agreed too early is caught.
        """
        cells = self.cells(probes)
        deadline = asyncio.get_running_loop().time() + SETTLE * self.patience
        wrong = await self._disagreeing(cells)
        while True:
            while wrong and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.1)
                wrong = await self._disagreeing(wrong)
            if wrong:
                break
            wrong = await self._disagreeing(cells)
            if not wrong:
                return []
        return [
            f"{cell}: the policies say {'allowed' if self.expected(cell) else 'denied'}" for cell in wrong
        ]

    async def _disagreeing(self, cells: Sequence[Cell]) -> list[Cell]:
        results = await self._probe(cells)
        return [
            cell for cell, result in zip(cells, results, strict=True) if result.allowed != self.expected(cell)
        ]

    async def run(self, policies: PolicySet) -> list[str]:
        """Sentences about everything that was wrong; empty if every cell of every step agreed."""
        found: list[str] = []
        for number, step in enumerate(policies.steps):
            for operation in step:
                await self.operate(operation)
            for sentence in await self.disagreements(policies.probes):
                found.append(f"seed {policies.seed}, step {number}: {sentence}")
            if found:
                found += [f"  after: {operation} {operation.manifest or ''}" for operation in step]
                break
        await self.clear()
        return found
