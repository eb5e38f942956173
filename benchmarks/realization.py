"""How fast a change of policy is in force: in the lab, on real switches, seen from outside the agent.

    python -m benchmarks.realization [--only ROW] [--json FILE] [--repeat N]

Each change is one request to the Kubernetes API, and zero is the moment of its answer; what is in force
before the answer counts as negative.

- **in OVS**: until the last flow of the change is in the switch, as its own flow monitor tells.
- **first packet**: until the first packet treated by the new policy is sent. A pod sends one UDP packet every
  2.5 ms, each from a fresh port; the first one after which all are treated alike is the one.
- **settled**: for many policies at once, seconds from the API's last answer to the last flow.

The rows with 100k pods run in a lab whose API was loaded with that many pods on nodes that do not exist.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import Progress
from client.resources import NETWORK_POLICIES, PODS
from client.rest import RestClient
from lab import apply, pods
from lab.errors import LabError
from lab.flowmonitor import FlowMonitor
from lab.handle import Lab
from lab.inventory import probe_between
from lab.nodes.ovs import program
from lab.probing import Prober, Stream

CREATE, UPDATE, DELETE, LABEL = "policy created", "policy updated", "policy deleted", "pod's labels changed"
LARGE = "policy created, 100k pods"
MANY_CREATED, MANY_DELETED = "3,000 policies created at once", "3,000 policies deleted at once"
ROWS = [CREATE, UPDATE, DELETE, LABEL, LARGE, MANY_CREATED, MANY_DELETED]
PERCENTS = (50, 90, 99)
COLUMNS = [
    "change",
    "samples",
    *(f"in OVS p{percent} ms" for percent in PERCENTS),
    *(f"first packet p{percent} ms" for percent in PERCENTS),
    "settled s",
    "flow changes",
]

SPACE = "bench"
NODE = "node-1"
TARGETS = 20  # pods that the many policies are spread over
MANY = 3000
MANY_PODS = 100_000
RATE = 400.0  # probes per second
PROBE_TIMEOUT = 0.1
QUIET = 0.08  # seconds without a flow change after which one policy is complete
QUIET_MANY = 1.5
PATIENCE = 60.0
LOAD_PATIENCE = 900.0
WARM_UP = 3  # changes that are not counted
PARALLEL = 16  # requests at a time, where many policies come at once

Change = Callable[[], Awaitable[object]]
Document = dict[str, Any]


def policy(name: str, port: int | None, selector: Mapping[str, str]) -> Document:
    """Only the given UDP port of the selected pods is open, to the client; no port: everything is closed."""
    rules: list[Document] = []
    if port is not None:
        peers = [{"podSelector": {"matchLabels": {"app": "client"}}}]
        rules.append({"from": peers, "ports": [{"protocol": "UDP", "port": port}]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }


def one_of_many(index: int) -> Document:
    """A policy on one of the target pods, with a peer and a port that make flows of its own."""
    peer = f"10.{200 + index // 65536}.{index // 256 % 256}.{index % 256}/32"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"many-{index}", "namespace": SPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app": f"target-{index % TARGETS}"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"ipBlock": {"cidr": peer}}],
                    "ports": [{"protocol": "TCP", "port": 1000 + index % 500}],
                }
            ],
        },
    }


class Bench:
    """A running lab with a client, a server, the targets, a stream of probes and a flow monitor."""

    def __init__(self, lab: Lab, client: RestClient, stream: Stream, monitor: FlowMonitor) -> None:
        self.lab = lab
        self.client = client
        self.stream = stream
        self.monitor = monitor
        self.path = NETWORK_POLICIES.path(namespace=SPACE)

    async def settled(self, change: Awaitable[object]) -> None:
        """Make a change that is not measured, and wait until the switch has all of it: the next one must not
        overtake it, for then there would be nothing left to do."""
        before = time.monotonic()
        await change
        if await asyncio.to_thread(self.monitor.wait_event, before, PATIENCE) is None:
            raise LabError(f"no flow of {NODE} changed within {PATIENCE:g} s")
        await asyncio.to_thread(self.monitor.wait_quiet, QUIET, PATIENCE)
        await asyncio.sleep(random.uniform(0.02, 0.06))  # not in step with anybody's timer

    async def sample(self, change: Change, denied: bool) -> tuple[float, float]:
        """Make the change; (in OVS, first packet) in ms from the API's answer. ``denied``: what the client
        is afterwards."""
        before = time.monotonic()
        await change()
        answered = time.monotonic()
        first = await asyncio.to_thread(self.monitor.wait_event, before, PATIENCE)
        if first is None:
            raise LabError(f"no flow of {NODE} changed within {PATIENCE:g} s")
        last = await asyncio.to_thread(self.monitor.wait_quiet, QUIET, PATIENCE)
        assert last is not None
        await asyncio.sleep(PROBE_TIMEOUT + 0.06)
        results = sorted(self.stream.results(before), key=lambda result: result.sent_at)
        old = [result.sent_at for result in results if result.passed == denied]
        new = [result.sent_at for result in results if result.passed != denied]
        treated = next((at for at in new if not old or at > old[-1]), None)
        if treated is None:
            raise LabError("no packet was treated by the new policy: probes and policy disagree")
        return (last - answered) * 1000, (treated - answered) * 1000

    async def flows(self) -> int:
        """How many flows br-int has."""
        target = f"unix:{self.lab.directory.node(NODE).ovs}/br-int.mgmt"
        done = await asyncio.to_thread(
            subprocess.run,
            [program("ovs-ofctl"), "dump-aggregate", target],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return int(done.stdout.rpartition("flow_count=")[2].split()[0])


@contextmanager
def lab_with(load: Path | None, progress: Progress) -> Iterator[Lab]:
    lab = Lab("bench" if load is None else "bench-large")
    if lab.directory.exists:
        lab.down()
    try:
        lab.up(1, "ipv4", progress, load=load)
        yield lab
    finally:
        if lab.directory.exists:
            lab.down()


@asynccontextmanager
async def bench_in(lab: Lab, progress: Progress) -> Any:
    async with lab.client() as client:
        progress("pods")
        wanted = [
            pods.pod(f"{SPACE}/client", {"app": "client"}, node=NODE),
            pods.pod(f"{SPACE}/server", {"app": "server"}, [("UDP", 80)], node=NODE),
            *(pods.pod(f"{SPACE}/target-{i}", {"app": f"target-{i}"}, node=NODE) for i in range(TARGETS)),
        ]
        await apply.apply_all(client, [pods.namespace(SPACE), *wanted])
        names = [f"{SPACE}/{p['metadata']['name']}" for p in wanted]
        running = {pod.key: pod for pod in await lab.wait_pods_ready(client, names, PATIENCE)}
        probe = probe_between(running[f"{SPACE}/client"], running[f"{SPACE}/server"], 80, "UDP", 4)
        assert probe is not None
        with (
            Prober(lab.directory.probe_ports) as prober,
            FlowMonitor(lab.directory.node(NODE).ovs) as monitor,
        ):
            stream = prober.stream(probe, RATE, PROBE_TIMEOUT, repeat=False)
            await asyncio.sleep(1.0)
            if not any(result.allowed for result in stream.results()):
                raise LabError("the client does not reach the server before any policy")
            bench = Bench(lab, client, stream, monitor)
            await created(bench, WARM_UP)  # a controller that has just started is still reading
            yield bench


# -- the rows ---------------------------------------------------------------------------------------

Samples = list[tuple[float, float]]
SERVER = {"app": "server"}


async def created(bench: Bench, count: int) -> Samples:
    samples = []
    for index in range(count):
        document = policy(f"p-{index}", None, SERVER)
        samples.append(await bench.sample(lambda d=document: bench.client.create(bench.path, d), denied=True))  # type: ignore[misc]
        await bench.settled(bench.client.delete(f"{bench.path}/p-{index}"))
    return samples


async def deleted(bench: Bench, count: int) -> Samples:
    samples = []
    for index in range(count):
        await bench.settled(bench.client.create(bench.path, policy(f"p-{index}", None, SERVER)))
        path = f"{bench.path}/p-{index}"
        samples.append(await bench.sample(lambda p=path: bench.client.delete(p), denied=False))  # type: ignore[misc]
    return samples


async def updated(bench: Bench, count: int) -> Samples:
    """The open port goes from 80, which is probed, to 81 and back."""
    await bench.settled(bench.client.create(bench.path, policy("p", 80, SERVER)))
    samples = []
    for index in range(count):
        port = 80 if index % 2 else 81
        change = {"spec": policy("p", port, SERVER)["spec"]}
        samples.append(
            await bench.sample(
                lambda c=change: bench.client.patch(f"{bench.path}/p", c),  # type: ignore[misc]
                denied=port != 80,
            )
        )
    await bench.settled(bench.client.delete(f"{bench.path}/p"))
    return samples


async def relabelled(bench: Bench, count: int) -> Samples:
    """The server comes under a policy that closes it, and leaves it again."""
    await bench.client.create(bench.path, policy("p", None, {"locked": "true"}))
    await asyncio.sleep(0.5)
    path = PODS.path("server", SPACE)
    samples = []
    for index in range(count):
        change = {"metadata": {"labels": {"locked": None if index % 2 else "true"}}}
        samples.append(
            await bench.sample(lambda c=change: bench.client.patch(path, c), denied=index % 2 == 0)  # type: ignore[misc]
        )
    if count % 2:
        await bench.settled(bench.client.patch(path, {"metadata": {"labels": {"locked": None}}}))
    await bench.client.delete(f"{bench.path}/p")  # selects nobody by now: no flow changes
    await asyncio.sleep(0.5)
    return samples


async def many(bench: Bench, progress: Progress) -> dict[str, Mapping[str, Any]]:
    """3,000 policies, then none: both rows."""
    before = await bench.flows()
    found: dict[str, Mapping[str, Any]] = {}
    for row, request in (
        (MANY_CREATED, lambda i: bench.client.create(bench.path, one_of_many(i))),
        (MANY_DELETED, lambda i: bench.client.delete(f"{bench.path}/many-{i}")),
    ):
        progress(row)
        begun = time.monotonic()
        queue = iter(range(MANY))

        async def worker(queue: Iterator[int] = queue, request: Callable[[int], Any] = request) -> None:
            for index in queue:
                await request(index)

        await asyncio.gather(*(worker() for _ in range(PARALLEL)))
        answered = time.monotonic()
        last = await asyncio.to_thread(bench.monitor.wait_quiet, QUIET_MANY, PATIENCE)
        assert last is not None
        flows = await bench.flows()
        if row == MANY_CREATED and flows < before + MANY:
            raise LabError(f"{MANY} policies made only {flows - before} flows: something is missing")
        if row == MANY_DELETED and flows != before:
            raise LabError(f"{flows - before} flows are left of {MANY} deleted policies")
        progress(f"{MANY} requests took {answered - begun:.1f} s; br-int has {flows} flows, {before} before")
        found[row] = {
            "settled s": max(0.0, last - answered),
            "flow changes": len(bench.monitor.events(begun)),
        }
    return found


def summary(samples: Samples) -> dict[str, Any]:
    row: dict[str, Any] = {"samples": len(samples)}
    for place, name in enumerate(("in OVS", "first packet")):
        values = [sample[place] for sample in samples]
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        row.update({f"{name} p{percent} ms": cuts[percent - 1] for percent in PERCENTS})
    return row


def write_pods(path: Path) -> None:
    """100k pods with addresses, in 100 namespaces, on nodes of which no process runs."""
    items: list[Document] = []
    for index in range(MANY_PODS):
        space, node = f"load-{index % 100}", f"ghost-{index % 100}"
        if index < 100:
            items.append(pods.namespace(space))
            items.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        labels = {"app": f"app-{index % 1000}", "tier": str(index % 7)}
        document = pods.pod(f"{space}/pod-{index}", labels, node=node)
        address = f"10.{20 + index // 65536}.{index // 256 % 256}.{index % 256}"
        document["status"] = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        items.append(document)
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


async def measure_all(rows: list[str], count: int, progress: Progress) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    singles = {CREATE: created, UPDATE: updated, DELETE: deleted, LABEL: relabelled}
    if set(rows) - {LARGE}:
        with lab_with(None, progress) as lab:
            async with bench_in(lab, progress) as bench:
                for row, function in singles.items():
                    if row in rows:
                        progress(f"{row}: {count} samples")
                        found[row] = summary(await function(bench, count))
                if MANY_CREATED in rows or MANY_DELETED in rows:
                    found.update(await many(bench, progress))
    if LARGE in rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pods.json"
            progress(f"{LARGE}: loading the API, which takes minutes")
            write_pods(path)
            with lab_with(path, progress) as lab:
                async with bench_in(lab, progress) as bench:
                    progress(f"{LARGE}: {count} samples")
                    found[LARGE] = summary(await created(bench, count))
    return found


def main() -> None:
    parser = common.parser("How fast a change of policy is in force.", ROWS)
    parser.add_argument("--repeat", type=int, default=100, metavar="N", help="samples of each single change")
    arguments = parser.parse_args()
    rows = common.chosen(ROWS, arguments.only)
    progress = Progress()
    try:
        found = asyncio.run(measure_all(rows, max(2, arguments.repeat), progress))
    except LabError as error:
        sys.exit(f"benchmarks.realization: {error}")
    table = [{COLUMNS[0]: row, **found[row]} for row in rows]
    common.print_table("From the API's answer to enforcement", COLUMNS, table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
