"""A cluster with the webhooks installed and antrea-controller behind them, for recorded writes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from client.resources import CUSTOM_RESOURCE_DEFINITIONS, TIERS, VALIDATING_WEBHOOKS
from controller.admission.tiers import BUILT_IN
from controller.admission.unbuilt import remark
from lab import apply
from tests.controller.admission.replay import Case, recording
from tests.controller.control_plane import PROJECT, ControlPlane, eventually
from tests.kubernetes import binaries
from tests.kubernetes.cluster import Cluster
from tests.openapi.recorded import Api, check

RECORDED_PORT = "42010"  # of the controller, in the messages
WEBHOOKS = PROJECT / "deploy" / "base" / "webhooks.yaml"

# Definitions with a conversion webhook.
CONVERTED = [f"{plural}.crd.antrea.io" for plural in ("egresses", "externalippools", "ippools")]
# Here Egress is served as v1alpha2 too.
DIFFERENT = {"kubectl-old-version"}
_NOT_BUILT = re.compile(f"Warning: {remark('.*')}\n")


def named(name: str) -> pytest.MarkDecorator:
    """The cases of a recording as parameters; those with kubectl are skipped where there is none."""
    missing = binaries.why_not()
    without = pytest.mark.skipif(bool(missing), reason=str(missing))
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=case["name"], marks=[without] if "argv" in case else [])
            for case in recording(name)["cases"]
            if case["name"] not in DIFFERENT
        ],
    )


@contextlib.asynccontextmanager
async def installed(directory: Path, cluster: Cluster | None = None) -> AsyncIterator[ControlPlane]:
    """A cluster (the lab's API without ``cluster``) with the webhooks, and no controller behind them yet."""
    plane = ControlPlane(directory, cluster)
    try:
        await plane.start_api()
        await _install(plane)
        yield plane
    finally:
        await plane.end()


async def _install(plane: ControlPlane) -> None:
    """CRDs, accounts, roles and webhooks; the Service is on loopback, at a port of its own."""
    await plane.bootstrap()
    port = plane.controller_port
    documents = apply.read([WEBHOOKS])
    for document in documents:
        for hook in document["webhooks"]:
            hook["clientConfig"]["service"]["port"] = port
    await apply.apply_all(plane.kube, documents)
    patch = {"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": port}}}}}}
    for name in CONVERTED:
        await plane.kube.patch(CUSTOM_RESOURCE_DEFINITIONS.path(name), patch)


async def start(plane: ControlPlane, **gates: bool) -> None:
    """The controller, until its webhooks are called with success."""
    await plane.start_controller(featureGates=gates)

    async def published() -> bool:
        path = VALIDATING_WEBHOOKS.path("crdvalidator.antrea.io")
        hooks = (await plane.json(path))["webhooks"]
        clients = [hook["clientConfig"] for hook in hooks]
        for name in CONVERTED:
            spec = (await plane.json(CUSTOM_RESOURCE_DEFINITIONS.path(name)))["spec"]
            clients.append(spec["conversion"]["webhook"]["clientConfig"])
        return all(client.get("caBundle") for client in clients)

    await eventually(published, "webhooks and conversions have the CA")

    async def tiers() -> bool:
        items = (await plane.json(TIERS.path()))["items"]
        return {item["metadata"]["name"] for item in items} == set(BUILT_IN)

    await eventually(tiers, "the built-in Tiers are there")


async def stop(plane: ControlPlane) -> None:
    process = plane.processes.pop("controller")
    process.terminate()
    await asyncio.to_thread(process.wait, 20)


def kubeconfig(plane: ControlPlane) -> Path:
    return plane.cluster.kubeconfig if plane.cluster else plane.directory / "api" / "kubeconfig"


def connect(plane: ControlPlane) -> Api:
    """The API as its administrator, over plain HTTPS."""
    document = yaml.safe_load(kubeconfig(plane).read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = cluster.get("certificate-authority-data")
    context = (
        ssl.create_default_context(cadata=base64.b64decode(authority).decode())
        if authority
        else ssl.create_default_context(cafile=cluster["certificate-authority"])
    )
    if "client-certificate-data" in user:
        for field, name in (("client-certificate-data", "admin.crt"), ("client-key-data", "admin.key")):
            (plane.directory / name).write_bytes(base64.b64decode(user[field]))
        context.load_cert_chain(plane.directory / "admin.crt", plane.directory / "admin.key")
    address = urlsplit(cluster["server"])
    return Api(str(address.hostname), int(address.port or 443), context, user.get("token", ""))


def put(plane: ControlPlane, api: Api, case: Case) -> None:
    """Put a recorded write to the cluster, expect the recorded answer, and clean up."""
    if "argv" in case:
        _kubectl(plane, case)
        return
    expected = json.loads(json.dumps(case).replace(RECORDED_PORT, str(plane.controller_port)))
    request = case["request"]
    answer = api.request(request["method"], request["path"], request["body"], request["contentType"])
    # "localhost" is the one or the other, as /etc/hosts has it.
    raw = answer.raw.replace(b"dial tcp [::1]:", b"dial tcp 127.0.0.1:")
    try:
        check(expected, dataclasses.replace(answer, raw=raw))
    finally:
        if answer.status == 201 and "dryRun" not in request["path"]:
            api.delete(f"{request['path']}/{answer.json()['metadata']['name']}")


def _kubectl(plane: ControlPlane, case: Case) -> None:
    file = plane.directory / "manifest.json"
    file.write_text(json.dumps(case.get("manifest")))
    arguments = [str(file) if word == "FILE" else word for word in case["argv"][1:]]
    done = subprocess.run(
        [str(binaries.require("kubectl")), *arguments], text=True, capture_output=True, timeout=60,
        check=False, env={"KUBECONFIG": str(kubeconfig(plane)), "HOME": str(plane.directory)},
    )  # fmt: skip
    found = {
        "exitCode": done.returncode,
        "stdout": done.stdout.replace(str(file), "FILE"),
        "stderr": _NOT_BUILT.sub("", done.stderr.replace(str(file), "FILE")),
    }
    assert found == {key: case[key] for key in found}
