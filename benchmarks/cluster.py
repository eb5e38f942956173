"""antrea-controller behind a real kube-apiserver that holds a large cluster.

    python -m benchmarks.cluster [--only ROW] [--json FILE] [--scale F] [--keep DIR] [--repeat N]

The cluster has 25,000 namespaces, 100,000 pods on 1,000 nodes and 75,000 policies; filling takes about four
minutes on two idle cores. ``--keep DIR`` keeps etcd's data there and uses it again.

- **start**: seconds from exec to everything computed, and the peak RSS; medians. *API alone* is what
  kube-apiserver needs to send the same lists to a client that throws them away, *API share* its part of the
  time; CPU is what the two processes used meanwhile.
- **connect**: all nodes open three watches each at once (protobuf over TLS and HTTP/1.1, a ServiceAccount's
  token of its own for each node): seconds until the last has its full state, and by how much the
  controller's RSS grows at its peak.
- **policy**: policies created one after the other while 40 nodes watch: ms from the Kubernetes API's answer
  to the event in the watch of a node that has a selected pod. An event that is there before the answer counts
  as negative.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from argparse import Namespace
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import common, filling, load
from benchmarks.common import Progress
from client.resources import NAMESPACES as NAMESPACE_RESOURCE
from client.resources import NETWORK_POLICIES, NODES, PODS
from tests.controller.control_plane import ControlPlane, eventually
from tests.kubernetes.cluster import Cluster

START, CONNECT, POLICY = "start", "connect", "policy"
ROWS = [START, CONNECT, POLICY]
COLUMNS = [
    "row", "s", "peak RSS MB", "RSS growth MB", "sent MB", "API alone s", "API share %", "controller CPU s",
    "API CPU s", "retries", "p50 ms", "p99 ms",
]  # fmt: skip
WATCHED = ("networkpolicies", "appliedtogroups", "addressgroups")
WATCHERS = 40  # nodes that watch while policies are created
SAMPLES, WARM_UP = 300, 20
PROTOBUF = "application/vnd.kubernetes.protobuf"
COMPUTED = "Computed the first state"
PATIENCE = 300.0
AT_ONCE = 16  # requests for tokens


class Process:
    """What /proc knows of one process."""

    def __init__(self, number: int) -> None:
        self._directory = Path(f"/proc/{number}")

    def megabytes(self, name: str) -> float:
        for line in (self._directory / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"{self._directory}/status has no {name}")

    def forget_peak(self) -> None:
        (self._directory / "clear_refs").write_text("5")

    def cpu(self) -> float:
        """Seconds so far."""
        numbers = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(
        self, cluster: Cluster, plane: ControlPlane, generator: load.Load, scale: float, progress: Progress
    ) -> None:
        self._cluster = cluster
        self._plane = plane
        self._generator = generator
        self._content = filling.content(scale)
        self._progress = progress
        self._administrator = load.administrator(cluster)

    @property
    def _controller(self) -> Process:
        return Process(self._plane.processes["controller"].pid)

    async def prepare(self) -> None:
        await self._plane.start_api()
        await self._plane.bootstrap()

    # --- start ---

    async def _until_computed(self) -> None:
        await eventually(lambda: COMPUTED in self._plane.log("controller"), "the state is computed", PATIENCE)

    async def _start(self) -> common.Row:
        log = self._plane.directory / "controller.log"
        log.unlink(missing_ok=True)
        api = Process(self._cluster.processes["apiserver"].pid)
        api_before = api.cpu()
        began = time.monotonic()
        await self._plane.start_controller(wait=False)
        text = ""
        while COMPUTED not in text:
            if time.monotonic() - began > PATIENCE or self._plane.processes["controller"].poll() is not None:
                raise RuntimeError(f"antrea-controller does not compute its state: {text[-2000:]}")
            await asyncio.sleep(0.01)
            text = log.read_text()
        return {
            "s": time.monotonic() - began,
            "peak RSS MB": self._controller.megabytes("VmHWM"),
            "controller CPU s": self._controller.cpu(),
            "API CPU s": api.cpu() - api_before,
        }

    async def start(self, repeat: int) -> common.Row:
        # The requests of client.reflector.
        followed = (NAMESPACE_RESOURCE, NODES, PODS, NETWORK_POLICIES)
        paths = [f"{each.path()}?resourceVersion=0" for each in followed]
        alone, runs = [], []
        for number in range(repeat):
            self._progress(f"  {number + 1} of {repeat}")
            drained = await self._generator("drain", target=self._administrator, paths=paths)
            alone.append(drained["seconds"])
            if "controller" in self._plane.processes:
                await self._plane.kill("controller")
            runs.append(await self._start())
        row: common.Row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        row["sent MB"] = drained["bytes"] / 1e6
        row["API alone s"] = statistics.median(alone)
        row["API share %"] = 100 * row["API alone s"] / row["s"]
        return row

    # --- connect ---

    async def _running(self) -> None:
        if "controller" not in self._plane.processes:
            self._progress("  starting the controller (not measured)")
            await self._start()
        await eventually(self._plane.ready, "the controller is ready", PATIENCE)

    async def _watches(self, nodes: int) -> list[dict[str, str]]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def token() -> str:
            async with slots:
                return await self._cluster.token("kube-system", "antrea-agent")

        tokens = await asyncio.gather(*(token() for _ in range(nodes)))
        return [
            {
                "path": f"/apis/controlplane.antrea.io/v1beta2/{plural}"
                f"?watch=true&fieldSelector=nodeName%3D{filling.node_name(number)}",
                "token": tokens[number],
            }
            for number in range(nodes)
            for plural in WATCHED
        ]

    async def _connect(self, nodes: int) -> load.Answer:
        return await self._generator(
            "watch",
            target=load.bearer(self._plane.controller_port),
            watches=await self._watches(nodes),
            accept=PROTOBUF,
            until="bookmark",
        )

    async def connect(self) -> common.Row:
        await self._running()
        watches = await self._watches(self._content.nodes)
        await asyncio.sleep(2)
        controller = self._controller
        controller.forget_peak()
        before, cpu = controller.megabytes("VmRSS"), controller.cpu()
        found = await self._generator(
            "watch",
            target=load.bearer(self._plane.controller_port),
            watches=watches,
            accept=PROTOBUF,
            until="bookmark",
        )
        row = {
            "s": found["seconds"],
            "RSS growth MB": controller.megabytes("VmHWM") - before,
            "sent MB": found["bytes"] / 1e6,
            "controller CPU s": controller.cpu() - cpu,
            "retries": found["retries"],
        }
        await self._generator("leave")
        await asyncio.sleep(2)
        return row

    # --- policy ---

    async def policy(self) -> common.Row:
        await self._running()
        await self._connect(WATCHERS)
        await asyncio.sleep(1)
        watching = {filling.node_name(number) for number in range(WATCHERS)}
        places = [
            (namespace, key)
            for namespace, pods in self._content.namespaces.items()
            for key in sorted({key for key, node in pods if node in watching})
        ]
        times = []
        for number in range(WARM_UP + SAMPLES):
            namespace, key = places[number % len(places)]
            name = f"measured-{number}"
            path = NETWORK_POLICIES.path(namespace=namespace)
            spec = {
                "podSelector": {"matchLabels": {key: f"scale-{key[4:]}"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"peer": name}}}]}],
            }
            body = {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name},
                "spec": spec,
            }
            seen = await self._change("POST", path, 1, body, name)
            times.append((seen["first"] - seen["answer"]) * 1000)
            await self._change("DELETE", f"{path}/{name}", -1)
            await asyncio.sleep(0.02)
        await self._generator("leave")
        cuts = statistics.quantiles(times[WARM_UP:], n=100)
        return {"p50 ms": cuts[49], "p99 ms": cuts[98]}

    async def _change(
        self, method: str, path: str, expect: int, body: dict[str, Any] | None = None, needle: str = ""
    ) -> load.Answer:
        return await self._generator(
            "change",
            target=self._administrator,
            method=method,
            path=path,
            body=json.dumps(body) if body else "",
            needle=needle,
            expect=expect,
            seconds=60,
        )


async def run(arguments: Namespace) -> tuple[str, list[common.Row]]:
    progress = Progress()
    rows = common.chosen(ROWS, arguments.only)
    measured: list[common.Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as directory:
        scratch = Path(directory)
        async with AsyncExitStack() as stack:
            generator = await stack.enter_async_context(load.running())
            filled = filling.filled(arguments.scale, arguments.keep, scratch, generator, progress)
            cluster = await stack.enter_async_context(filled)
            plane = ControlPlane(scratch, cluster)
            stack.push_async_callback(plane.end)
            bench = Bench(cluster, plane, generator, arguments.scale, progress)
            await bench.prepare()
            for row in rows:
                progress(row)
                match row:
                    case "start":
                        found = await bench.start(arguments.repeat)
                    case "connect":
                        found = await bench.connect()
                    case _:
                        found = await bench.policy()
                measured.append({"row": row, **found})
    title = f"{filling.content(arguments.scale).summary}; {common.conditions()}"
    return title, measured


def main() -> None:
    parser = common.parser("antrea-controller behind a real kube-apiserver with a large cluster.", ROWS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the cluster's size (default 1)")
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep the filled etcd there, and use it again"
    )
    parser.add_argument("--repeat", type=int, default=3, help="starts of the controller (default 3)")
    arguments = parser.parse_args()
    title, rows = asyncio.run(run(arguments))
    common.finish(title, COLUMNS, rows, arguments)


if __name__ == "__main__":
    main()
