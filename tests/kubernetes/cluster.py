"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, and if wanted kube-controller-manager.

    cluster = Cluster(directory)
    await cluster.start()                 # about two seconds
    await cluster.kube.get("/api/v1/namespaces")
    cluster.kubectl("get", "namespaces")
    await cluster.stop()

RBAC is on, API aggregation has its own front-proxy CA (with an allowed name), every request is in the audit
log. APIServices and webhooks reach a process on loopback through a Service of type ExternalName, because
Endpoints may not be loopback addresses. State is lost with the directory.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver.certificates import KeyPair, create_authority, issue, write_private
from client import kubeconfig
from client.errors import ApiError, ConnectionFailed
from client.resources import SERVICE_ACCOUNTS
from client.rest import RestClient
from tests.kubernetes import binaries

PATIENCE = 60.0  # seconds for a process to get ready on a machine that is busy

# What a cluster without nodes needs of the controller manager.
CONTROLLERS = (
    "namespace-controller", "garbage-collector-controller", "serviceaccount-controller",
    "clusterrole-aggregation-controller", "root-ca-certificate-publisher-controller",
)  # fmt: skip

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager"]
- level: Request
  resources: [{group: authorization.k8s.io, resources: [subjectaccessreviews]}]
- level: Metadata
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Cluster:
    """The control plane's processes and files. ``directory`` is its own; everything stays below it."""

    def __init__(
        self,
        directory: Path,
        *,
        controllers: Sequence[str] = CONTROLLERS,
        arguments: Sequence[str] = (),
        audit: bool = True,
    ) -> None:
        self.directory = directory
        self.pki = directory / "pki"
        self.kubeconfig = directory / "admin.kubeconfig"
        self.audit_log = directory / "audit.log"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kube: RestClient = None  # type: ignore[assignment]  # the administrator's, from start() on
        self._controllers = tuple(controllers)
        self._arguments = tuple(arguments)
        self._audit = audit
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self.authority: KeyPair  # of clients and of the server
        self.front_proxy_authority: KeyPair

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    # -- processes ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Everything up and ready. Raises binaries.Unavailable, or AssertionError with the end of a log."""
        paths = {name: await asyncio.to_thread(binaries.require, name) for name in ("etcd", *binaries.BUILT)}
        self._paths = paths
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.kubeconfig.exists():
            self._make_keys()
        self._start_etcd()
        self._start_apiserver()
        self.kube = RestClient(await kubeconfig.load(str(self.kubeconfig)))
        await self._until_ready()
        if self._controllers:
            self._start_controller_manager()
            await self._until_found("/api/v1/namespaces/default/serviceaccounts/default")

    async def stop(self) -> None:
        if self.kube is not None:
            await self.kube.close()
        for name in ("controller-manager", "apiserver", "etcd"):
            process = self.processes.pop(name, None)
            if process is not None:
                await asyncio.to_thread(_end, process)

    async def restart_apiserver(self) -> None:
        await asyncio.to_thread(_end, self.processes.pop("apiserver"))
        self._start_apiserver()
        await self._until_ready()

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def _spawn(self, name: str, *command: str | Path, **environment: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._spawn(
            "etcd", self._paths["etcd"], "--data-dir", self.directory / "etcd", "--unsafe-no-fsync",
            "--quota-backend-bytes", str(8 << 30), "--auto-compaction-retention", "5m",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--log-level", "error",
        )  # fmt: skip

    def _start_apiserver(self) -> None:
        pki = self.pki
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "tls-cert-file": pki / "server.crt",
            "tls-private-key-file": pki / "server.key",
            "client-ca-file": pki / "ca.crt",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": pki / "sa.key",
            "service-account-signing-key-file": pki / "sa.key",
            "service-cluster-ip-range": "10.96.0.0/16",
            "authorization-mode": "RBAC",
            "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": pki / "front-proxy-client.crt",
            "proxy-client-key-file": pki / "front-proxy-client.key",
            "endpoint-reconciler-type": "none",  # it would publish a loopback address, and be refused
            "allow-privileged": "true",
        }
        if self._audit:
            policy = self.directory / "audit-policy.yaml"
            policy.write_text(AUDIT_POLICY)
            flags |= {"audit-policy-file": policy, "audit-log-path": self.audit_log}
        self._spawn(
            "apiserver",
            self._paths["kube-apiserver"],
            *(f"--{key}={value}" for key, value in flags.items()),
            *self._arguments,
        )

    def _start_controller_manager(self) -> None:
        (port,) = free_ports(1)
        self._spawn(
            "controller-manager", self._paths["kube-controller-manager"], f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(self._controllers)}", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--secure-port={port}", f"--root-ca-file={self.pki / 'ca.crt'}",
            f"--service-account-private-key-file={self.pki / 'sa.key'}",
            "--use-service-account-credentials=false",
        )  # fmt: skip

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await self.kube.get("/readyz", accept="*/*")
                return
            except (ApiError, ConnectionFailed) as error:
                self._still_running()
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"kube-apiserver is not ready: {error}\n{self.log('apiserver')[-3000:]}"
                    ) from error
            await asyncio.sleep(0.05)

    async def _until_found(self, path: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await self.kube.get(path)
                return
            except (ApiError, ConnectionFailed):
                self._still_running()
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)

    def _still_running(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}")

    # -- keys and accounts -------------------------------------------------------------------------------
    def _make_keys(self) -> None:
        self.pki.mkdir(exist_ok=True)
        self.authority = create_authority("kubernetes-ca")
        self.front_proxy_authority = create_authority("front-proxy-ca")
        server = issue(
            self.authority,
            "kube-apiserver",
            names=["localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
        )
        proxy = issue(self.front_proxy_authority, "front-proxy-client", client=True)
        (self.pki / "ca.crt").write_bytes(self.authority.certificate)
        (self.pki / "front-proxy-ca.crt").write_bytes(self.front_proxy_authority.certificate)
        for name, pair in (("server", server), ("front-proxy-client", proxy)):
            (self.pki / f"{name}.crt").write_bytes(pair.certificate)
            write_private(self.pki / f"{name}.key", pair.key)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(  # "EC PRIVATE KEY", the form that kube-apiserver takes a public key from
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        write_private(self.pki / "sa.key", pem)
        self.user("admin", ["system:masters"], self.kubeconfig)

    def user(self, name: str, groups: Sequence[str] = (), path: Path | None = None) -> Path:
        """A kubeconfig with a client certificate for somebody."""
        pair = issue(self.authority, name, organizations=groups, client=True)
        credentials = {
            "client-certificate-data": base64.b64encode(pair.certificate).decode(),
            "client-key-data": base64.b64encode(pair.key).decode(),
        }
        return self._write_kubeconfig(path or self.directory / f"{name}.kubeconfig", credentials)

    def _write_kubeconfig(self, path: Path, credentials: dict[str, str]) -> Path:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": self.url, "certificate-authority": str(self.pki / "ca.crt")},
                }
            ],
            "users": [{"name": "user", "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
            "current-context": "test",
        }
        write_private(path, yaml.safe_dump(document).encode())
        return path

    async def token(self, namespace: str, name: str, audiences: Sequence[str] = ()) -> str:
        """A ServiceAccount's token, good for an hour."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": list(audiences)},
        }
        answer = await self.kube.create(SERVICE_ACCOUNTS.path(name, namespace, "token"), request)
        return str(msgspec.json.decode(answer)["status"]["token"])

    async def account(self, name: str, namespace: str = "kube-system") -> Path:
        """A kubeconfig with the token of a ServiceAccount."""
        token = await self.token(namespace, name)
        return self._write_kubeconfig(self.directory / f"account-{name}.kubeconfig", {"token": token})

    async def get(self, path: str, **query: str) -> Any:
        """An object or a list, as the administrator sees it."""
        return msgspec.json.decode(await self.kube.get(path, query))

    # -- what tests ask ----------------------------------------------------------------------------------
    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """kubectl of the cluster's own version, as the administrator if nobody else is named."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "HOME": str(self.directory),  # its cache of discovery documents
        }
        done = subprocess.run(
            [str(binaries.require("kubectl")), *arguments], input=input, text=True, capture_output=True,
            timeout=timeout, check=False, env=environment,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done

    def audit(self) -> Iterator[dict[str, Any]]:
        """The audit log's entries so far (audit.k8s.io/v1 Event, level Metadata)."""
        if self.audit_log.exists():
            with self.audit_log.open() as lines:
                for line in lines:
                    if line.endswith("\n"):
                        yield json.loads(line)

    def forbidden(self, user: str) -> list[str]:
        """What a user was refused by RBAC: verb and URI."""
        return sorted(
            {
                f"{event['verb']} {event['requestURI']}"
                for event in self.audit()
                if event.get("user", {}).get("username") == user
                and event.get("responseStatus", {}).get("code") == 403
            }
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(10)


@asynccontextmanager
async def running(directory: Path, **options: Any) -> AsyncIterator[Cluster]:
    cluster = Cluster(directory, **options)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
