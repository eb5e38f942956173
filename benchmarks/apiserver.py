"""Our API server beside kube-apiserver, which serves a custom resource of the same size on the same machine.

    python -m benchmarks.apiserver [--only ROW] [--json FILE] [--scale F] [--repeat N]

Both have 10,000 AddressGroups of four pods each and ask the same questions about the user, who comes with a
ServiceAccount's token over TLS and HTTP/1.1; the load generator is compiled (benchmarks.load).

- **list**: seconds from the request to the last byte, median, and MB, without compression. kube-apiserver
  serves custom resources as JSON only: for protobuf its ConfigMaps of the same size stand in.
- **watchers**: ms from the request for a change to the first and to the last watcher that has its event
  (JSON), and to the answer to that request; medians. In kube-apiserver's times is the write to etcd, in ours
  the computation of the group.
- **small gets**: requests per second for one object, and ms of one; *aggregated* goes to kube-apiserver,
  which asks us.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import common, load, served
from benchmarks.common import Progress
from client.endpoint import Endpoint, bearer, tls_context
from client.rest import RestClient
from lab import apply
from tests.controller.control_plane import ControlPlane, eventually
from tests.kubernetes.cluster import Cluster

JSON_FORM = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
LISTS = {"list, JSON": JSON_FORM, "list, protobuf": PROTOBUF, "list, Table": TABLE}
WATCHES = {f"one change, {count:,} watcher{'s' * (count > 1)}": count for count in (1, 100, 1000)}
GETS = {f"small gets, {count} connection{'s' * (count > 1)}": count for count in (1, 32)}
ROWS = [*LISTS, *WATCHES, *GETS]
COLUMNS = [
    "row",
    "server",
    "s",
    "MB",
    "first event ms",
    "last event ms",
    "answer ms",
    "requests/s",
    "p50 ms",
    "p99 ms",
]
OURS, THEIRS, AGGREGATED = "antrea-py", "kube-apiserver", "aggregated"

GROUPS = 10_000
CONNECTIONS = 32  # to fill with
SECONDS = 5.0  # of gets
PATIENCE = 60.0
GROUP = "benchmark.example.com"
PATH = "/apis/controlplane.antrea.io/v1beta2/addressgroups"
CUSTOM_PATH = f"/apis/{GROUP}/v1/addressgroups"
MAPS_PATH = f"/api/v1/namespaces/{served.NAMESPACE}/configmaps"

_REFERENCE = {"type": "object", "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}}
_MEMBER = {
    "type": "object",
    "properties": {"pod": _REFERENCE, "ips": {"type": "array", "items": {"type": "string"}}},
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"addressgroups.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"plural": "addressgroups", "kind": "AddressGroup"},
        "scope": "Cluster",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"groupMembers": {"type": "array", "items": _MEMBER}},
                    }
                },
            }
        ],
    },
}
USER = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": served.NAMESPACE}},
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "benchmark", "namespace": "kube-system"},
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "benchmark"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "benchmark", "namespace": "kube-system"}],
    },
]  # fmt: skip


class Servers:
    """Both of them, filled alike; the load generator, and how it reaches them."""

    def __init__(self, cluster: Cluster, generator: load.Load, token: str, port: int) -> None:
        self.cluster = cluster
        self.generator = generator
        self.ours = load.bearer(port, token)
        self.theirs = load.bearer(cluster.port, token)
        self.names: list[str] = []
        self.client = RestClient(
            Endpoint(f"https://127.0.0.1:{port}", tls_context(insecure=True), headers=bearer(token))
        )

    async def answers(self) -> bool:
        await self.client.get(PATH, {"limit": 1})
        return True

    async def fill_custom(self, progress: Progress) -> None:
        """The same objects as custom resources, and as ConfigMaps of the same size."""
        items = msgspec.json.decode(await self.client.get(PATH))["items"]
        self.names = [item["metadata"]["name"] for item in items]
        jobs = []
        for item in items:
            name = {"name": item["metadata"]["name"]}
            custom = {
                "apiVersion": f"{GROUP}/v1",
                "kind": "AddressGroup",
                "metadata": name,
                "groupMembers": item["groupMembers"],
            }
            text = json.dumps(item["groupMembers"], separators=(",", ":"))
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"groupMembers": text}}
            jobs.append(load.job(("POST", CUSTOM_PATH, json.dumps(custom))))
            jobs.append(load.job(("POST", MAPS_PATH, json.dumps(made))))
        await self.generator.fill(
            load.administrator(self.cluster), jobs, CONNECTIONS, lambda done: progress(f"  {done:,} requests")
        )

    async def version(self, path: str, target: load.Answer) -> str:
        client = self.client if target is self.ours else self.cluster.kube
        listed = msgspec.json.decode(await client.get(path, {"limit": 1}))
        return str(listed["metadata"]["resourceVersion"])


def _start(account: Path, port: int, groups: int, scratch: Path) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "benchmarks.served", "--kubeconfig", str(account), "--port", str(port)),
        *("--run-dir", str(scratch / "run"), "--groups", str(groups)),
    ]
    with (scratch / "served.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@asynccontextmanager
async def running(groups: int, scratch: Path, progress: Progress) -> AsyncIterator[Servers]:
    cluster = Cluster(scratch / "cluster", audit=False)
    plane = ControlPlane(scratch, cluster)
    process: subprocess.Popen[bytes] | None = None
    try:
        progress("starting kube-apiserver")
        await cluster.start()
        await plane.start_api()
        await plane.bootstrap()
        await apply.apply_all(cluster.kube, [*USER, DEFINITION])
        token = await cluster.token("kube-system", "benchmark")
        progress(f"starting our server with {groups:,} groups")
        account = await plane.account("antrea-controller")
        process = _start(account, plane.controller_port, groups, scratch)
        async with load.running() as generator:
            servers = Servers(cluster, generator, token, plane.controller_port)
            async with servers.client:
                await eventually(servers.answers, "our server answers")
                progress("filling kube-apiserver with the same")
                await servers.fill_custom(progress)
                await eventually(lambda: cluster.kube.get(PATH, {"limit": 1}), "aggregation works")
                yield servers
    finally:
        if process is not None:
            process.terminate()
            process.wait(20)
        await plane.end()
        await cluster.stop()


class Bench:
    def __init__(self, servers: Servers, repeat: int) -> None:
        self._servers = servers
        self._repeat = repeat

    async def list(self, accept: str) -> Sequence[common.Row]:
        servers = self._servers
        instead = MAPS_PATH if accept == PROTOBUF else CUSTOM_PATH
        rows = []
        for name, target, path in (
            (OURS, servers.ours, PATH),
            (THEIRS, servers.theirs, instead),
            (AGGREGATED, servers.theirs, PATH),
        ):
            found = await servers.generator(
                "list", target=target, path=path, accept=accept, repeat=self._repeat
            )
            rows.append(
                {"server": name, "s": statistics.median(found["seconds"]), "MB": found["bytes"] / 1e6}
            )
        return rows

    async def watch(self, watchers: int) -> Sequence[common.Row]:
        servers = self._servers
        patch = '{"metadata":{"annotations":{"benchmark":"%d"}}}'
        rows = []
        for name, target, path in ((OURS, servers.ours, PATH), (THEIRS, servers.theirs, CUSTOM_PATH)):
            version = await servers.version(path, target)
            query = f"{path}?watch=1&resourceVersion={version}"
            await servers.generator(
                "watch",
                target=target,
                watches=[{"path": query}] * watchers,
                until="headers",
                accept=JSON_FORM,
            )
            await asyncio.sleep(1)
            seen = []
            for number in range(3 + 5 * self._repeat):
                written: dict[str, Any] = {"method": "POST", "path": served.CHANGE, "body": "{}"}
                if name is THEIRS:
                    written = {
                        "method": "PATCH",
                        "path": f"{path}/{servers.names[0]}",
                        "body": patch % number,
                        "contentType": "application/merge-patch+json",
                    }
                seen.append(await servers.generator("change", target=target, seconds=PATIENCE, **written))
                await asyncio.sleep(0.05)
            await servers.generator("leave")
            seen = seen[3:]  # the first are for warming up

            def middle(key: str, seen: list[load.Answer] = seen) -> float:
                return statistics.median(one[key] for one in seen) * 1000

            rows.append(
                {
                    "server": name,
                    "first event ms": middle("first"),
                    "last event ms": middle("last"),
                    "answer ms": middle("answer"),
                }
            )
        return rows

    async def get(self, connections: int) -> Sequence[common.Row]:
        servers = self._servers
        rows = []
        for name, target, path in (
            (OURS, servers.ours, PATH),
            (THEIRS, servers.theirs, CUSTOM_PATH),
            (AGGREGATED, servers.theirs, PATH),
        ):
            found = await servers.generator(
                "rate",
                target=target,
                path=f"{path}/{servers.names[0]}",
                accept=JSON_FORM,
                connections=connections,
                seconds=SECONDS,
            )
            rows.append(
                {
                    "server": name,
                    "requests/s": found["requests"] / found["seconds"],
                    "p50 ms": found["p50"] * 1000,
                    "p99 ms": found["p99"] * 1000,
                }
            )
        return rows

    async def measure(self, row: str) -> Sequence[common.Row]:
        if row in LISTS:
            return await self.list(LISTS[row])
        if row in WATCHES:
            return await self.watch(WATCHES[row])
        return await self.get(GETS[row])


async def run(arguments: Namespace) -> tuple[str, list[common.Row]]:
    progress = Progress()
    rows = common.chosen(ROWS, arguments.only)
    groups = max(int(GROUPS * arguments.scale), 10)
    measured: list[common.Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-apiserver-") as directory:
        async with running(groups, Path(directory), progress) as servers:
            bench = Bench(servers, arguments.repeat)
            for row in rows:
                progress(row)
                measured += [{"row": row, **found} for found in await bench.measure(row)]
    title = f"{groups:,} address groups of {served.MEMBERS} pods; {common.conditions()}"
    return title, measured


def main() -> None:
    parser = common.parser("Our API server beside kube-apiserver.", ROWS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the 10,000 groups (default 1)")
    parser.add_argument("--repeat", type=int, default=5, help="lists per row; five times as many changes")
    arguments = parser.parse_args()
    title, rows = asyncio.run(run(arguments))
    common.finish(title, COLUMNS, rows, arguments)


if __name__ == "__main__":
    main()
