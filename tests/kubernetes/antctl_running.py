"""antctl as a process against a real cluster with a controller behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from antctl.commands.version import CONTROLLER_INFO
from client.resources import CONTROLLER_INFOS, NODES
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster

SCRIPTS = Path(sys.executable).parent

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}}
"""


@contextlib.asynccontextmanager
async def with_controller(cluster: Cluster, directory: Path) -> AsyncIterator[ControlPlane]:
    """A controller behind a real kube-apiserver, on the Node n0, which is this machine; one policy."""
    async with running(directory, cluster) as plane:
        await add_node(cluster, "n0")
        cluster.kubectl("apply", "-f", "-", input=POLICY)
        await eventually(lambda: plane.json(CONTROLLER_INFO), "the groups are available")
        await eventually(
            lambda: plane.json(CONTROLLER_INFOS.path("antrea-controller")), "it says where it is"
        )
        yield plane


async def add_node(cluster: Cluster, name: str) -> None:
    await cluster.kube.create(NODES.path(), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    await cluster.kube.patch(NODES.path(name, subresource="status"), {"status": {"addresses": addresses}})


def environment(kubeconfig: Path | None, **others: str) -> dict[str, str]:
    found = {"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": "/nonexistent", **others}
    return {**found, "KUBECONFIG": str(kubeconfig)} if kubeconfig is not None else found


def antctl(
    *words: str, kubeconfig: Path | None = None, pod: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "antctl", *words],
        env=environment(kubeconfig, **(pod or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def kubeconfig(cluster: Cluster, name: str, user: Mapping[str, Any], server: str = "", ca: str = "") -> Path:
    """One with other credentials, or another server or CA, than the administrator's."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = dict(user)
    if server:
        document["clusters"][0]["cluster"]["server"] = server
    if ca:
        document["clusters"][0]["cluster"] = {
            "server": cluster.url,
            "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
        }
    path = cluster.directory / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.asynccontextmanager
async def proxying(*words: str, kubeconfig: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """`antctl proxy` as a process, on a free port, and a client of it."""
    process = await asyncio.create_subprocess_exec(
        str(SCRIPTS / "antctl"), "proxy", "-p", "0", *words,
        env=environment(kubeconfig), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        if not line:
            raise AssertionError((await process.communicate())[1].decode())
        started = re.fullmatch(r"Starting to serve on (127\.0\.0\.1:\d+)\n", line)
        assert started, line
        async with aiohttp.ClientSession(f"http://{started[1]}") as session:
            yield session
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, out, err) == (0, b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
