"""A control plane of real processes on loopback: a Kubernetes API and antrea-controller.

The API is the lab's, or a real kube-apiserver that the caller has started (tests.kubernetes.cluster).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from client import kubeconfig
from client.endpoint import Endpoint, bearer, tls_context
from client.errors import ApiError, ConnectionFailed
from client.resources import SERVICE_ACCOUNTS
from client.rest import RestClient
from client.watch import WatchFrame, watch
from lab import apply
from lab.bootstrap import MANIFESTS, direct_to

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster

PROJECT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds that a state may take to come about, on a machine that is busy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ControlPlane:
    def __init__(self, directory: Path, cluster: Cluster | None = None) -> None:
        self.directory = directory
        self.cluster = cluster
        self.api_port, self.controller_port = free_port(), free_port()
        self.run_dir = directory / "controller"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kube: RestClient = None  # type: ignore[assignment]  # the administrator's
        self._direct: RestClient | None = None
        self._account: Path | None = None

    # -- processes ---------------------------------------------------------------------------------------
    def _spawn(self, name: str, *command: str, **environment: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, *command], stdout=log, stderr=log, env={**os.environ, **environment}, cwd=PROJECT
        )
        log.close()

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    async def start_api(self) -> None:
        if self.cluster is not None:
            self.kube = self.cluster.kube
            return
        self._spawn(
            "api", "-m", "lab.api", "--state-dir", str(self.directory / "api"),
            "--listen", f"127.0.0.1:{self.api_port}", "--no-scheduler",
        )  # fmt: skip
        path = self.directory / "api" / "kubeconfig"
        await eventually(path.exists, "the API writes its kubeconfig")
        if self.kube is None:
            self.kube = RestClient(await kubeconfig.load(str(path)))

        async def answers() -> bool:
            await self.kube.get("/readyz", accept="*/*")
            return True

        await eventually(answers, "the API answers")

    async def bootstrap(self) -> None:
        """CRDs, accounts and roles, and the controller behind its APIServices."""
        port = self.controller_port
        # Without webhooks: a test that has no controller may write what it likes.
        documents = [d for d in apply.read(MANIFESTS) if not d["kind"].endswith("WebhookConfiguration")]
        direct_to(port, documents)
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "antrea", "namespace": "kube-system"},
                "spec": {
                    "type": "ExternalName",
                    "externalName": "localhost",
                    "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
                },
            }
        )
        await apply.apply_all(self.kube, documents)

    async def account(self, name: str) -> Path:
        """A kubeconfig with the token of a service account in kube-system."""
        if self.cluster is not None:
            return await self.cluster.account(name)
        path = self.directory / f"kubeconfig-{name}"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": []},
        }
        answer = await self.kube.create(SERVICE_ACCOUNTS.path(name, "kube-system", "token"), request)
        document = yaml.safe_load((self.directory / "api" / "kubeconfig").read_text())
        document["users"][0]["user"] = {"token": msgspec.json.decode(answer)["status"]["token"]}
        path.write_text(yaml.safe_dump(document))
        return path

    async def start_controller(self, *arguments: str, wait: bool = True, **settings: Any) -> None:
        path = self.directory / "antrea-controller.conf"
        if self._account is None:  # kept, because the API may be down when the controller starts again
            self._account = await self.account("antrea-controller")
        configuration = {
            "clientConnection": {"kubeconfig": str(self._account)},
            "apiPort": self.controller_port,
            "apiAddress": "127.0.0.1",
            "runDir": str(self.run_dir),
            **settings,
        }
        path.write_text(yaml.safe_dump(configuration))
        self._direct = None
        self._spawn(
            "controller", "-m", "controller.main", "--config", str(path), *arguments,
            POD_NAME="antrea-controller-0", POD_NAMESPACE="kube-system", NODE_NAME="n0",
        )  # fmt: skip
        if wait:
            await eventually(self.ready, "the controller is ready")

    async def ready(self) -> bool:
        client = RestClient(Endpoint(f"https://127.0.0.1:{self.controller_port}", tls_context(insecure=True)))
        async with client:
            await client.request("GET", "/readyz", accept="*/*", timeout=2)
        return True

    def signal(self, name: str, number: int) -> subprocess.Popen[bytes]:
        process = self.processes[name]
        process.send_signal(number)
        return process

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self.signal(name, signal.SIGKILL).wait, 10)

    async def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait, 10)
        for client in (self.kube if self.cluster is None else None, self._direct):
            if client is not None:
                await client.close()

    # -- requests ----------------------------------------------------------------------------------------
    @property
    def direct(self) -> RestClient:
        """The controller itself, as its own administrator (loopback token)."""
        if self._direct is None:
            token = (self.run_dir / "apiserver" / "loopback-client-token").read_text()
            self._direct = RestClient(
                Endpoint(
                    f"https://127.0.0.1:{self.controller_port}",
                    tls_context(insecure=True),
                    headers=bearer(token),
                )
            )
        return self._direct

    async def json(self, path: str, client: RestClient | None = None, **query: str) -> Any:
        return msgspec.json.decode(await (client or self.kube).get(path, query))

    async def create(self, *documents: dict[str, Any]) -> None:
        await apply.apply_all(self.kube, list(documents))


async def eventually(check: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true answer of ``check``; failures to connect and 404, 503 count as not yet."""
    deadline = time.monotonic() + patience
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = check()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            last = answer
        except (ApiError, ConnectionFailed) as error:
            last = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"after {patience:g} s it is still not so that {what}: {last}")


class Events:
    """The events of a watch, as they come."""

    def __init__(self, batches: AsyncIterator[list[WatchFrame]]) -> None:
        self._batches = batches
        self._waiting: list[WatchFrame] = []
        self.seen: list[tuple[str, Any]] = []

    async def next(self, patience: float = PATIENCE) -> tuple[str, Any]:
        while not self._waiting:
            self._waiting = await asyncio.wait_for(anext(self._batches), patience)
        frame = self._waiting.pop(0)
        event = (frame.type, msgspec.json.decode(frame.object))
        self.seen.append(event)
        return event

    async def until(self, wanted: Callable[[str, Any], bool]) -> tuple[str, Any]:
        while True:
            event = await self.next()
            if wanted(*event):
                return event


@asynccontextmanager
async def watching(client: RestClient, path: str, **query: str) -> AsyncIterator[Events]:
    """A JSON watch; ``watch=1`` is added for resources."""
    given = query if path == "/agentwatch" else {"watch": "1", **query}
    async with aclosing(watch(client, path, given)) as batches:
        yield Events(batches)


@contextlib.asynccontextmanager
async def running(directory: Path, cluster: Cluster | None = None) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(directory, cluster)
    try:
        await plane.start_api()
        await plane.bootstrap()
        await plane.start_controller()
        yield plane
    finally:
        await plane.end()
