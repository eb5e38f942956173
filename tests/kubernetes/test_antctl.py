"""antctl on a real cluster: as a plugin of kubectl, as people who may not, past servers that do not answer,
and what it fetches."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import stat
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from apiserver.certificates import self_signed
from runtime.version import FULL
from tests.controller.control_plane import ControlPlane
from tests.kubernetes import binaries
from tests.kubernetes.antctl_running import SCRIPTS, antctl, environment, kubeconfig, with_controller
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes
MODULE = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with with_controller(shared_cluster, tmp_path_factory.mktemp("controller")) as plane:
        yield plane


# -- a plugin of kubectl -----------------------------------------------------------------------------------


@MODULE
async def test_kubectl_runs_it_as_its_plugin(plane: ControlPlane, shared_cluster: Cluster) -> None:
    def kubectl(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(binaries.require("kubectl")), *words]
        variables = environment(shared_cluster.kubeconfig, HOME=str(shared_cluster.directory))
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)

    own = antctl("get", "networkpolicy", kubeconfig=shared_cluster.kubeconfig)
    done = kubectl("antctl", "get", "networkpolicy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == own.stdout
    assert "K8sNetworkPolicy:default/web" in done.stdout

    assert f"controllerVersion: {FULL}\n" in kubectl("antctl", "version").stdout
    assert kubectl("antctl", "--help").stdout.startswith("Usage: kubectl-antctl ")
    assert f"{SCRIPTS}/kubectl-antctl\n" in kubectl("plugin", "list").stdout
    refused = kubectl("antctl", "get", "networkpolicy", "nope")
    assert refused.returncode == 1
    assert 'networkpolicy.controlplane.antrea.io "nope" not found\n' in refused.stderr


# -- who may, and who may not ------------------------------------------------------------------------------

FORBIDDEN = (
    'Error: request to server failed: {resource} is forbidden: User "{user}" cannot {verb} resource '
    '"{plural}" in API group "{group}" at the cluster scope'
)
COMMANDS = [
    (["get", "networkpolicy"], "list", "networkpolicies", "controlplane.antrea.io", ""),
    (["get", "networkpolicy", "x"], "get", "networkpolicies", "controlplane.antrea.io", ' "x"'),
    (["get", "addressgroup"], "list", "addressgroups", "controlplane.antrea.io", ""),
    (["get", "appliedtogroup", "-o", "json"], "list", "appliedtogroups", "controlplane.antrea.io", ""),
    (["get", "controllerinfo"], "get", "controllerinfos", "system.antrea.io", ' "antrea-controller"'),
    (["version"], "get", "controllerinfos", "system.antrea.io", ' "antrea-controller"'),
]


@MODULE
@pytest.mark.parametrize("who", ["system:anonymous", "mallory"])
@pytest.mark.parametrize(("words", "verb", "plural", "group", "name"), COMMANDS)
async def test_whoever_may_not_sees_kubernetes_own_words(
    words: list[str],
    verb: str,
    plural: str,
    group: str,
    name: str,
    who: str,
    plane: ControlPlane,
    shared_cluster: Cluster,
) -> None:
    path = shared_cluster.user("mallory") if who == "mallory" else kubeconfig(shared_cluster, "anonymous", {})
    done = antctl(*words, kubeconfig=path)
    assert done.returncode == 1
    resource = f"{plural}.{group}{name}"
    wanted = FORBIDDEN.format(resource=resource, user=who, verb=verb, plural=plural, group=group)
    assert done.stderr == f"{wanted}\n"
    assert done.stdout == ("" if words != ["version"] else f"antctlVersion: {FULL}\n")


@MODULE
async def test_its_own_account_may_all_that_its_commands_read(
    plane: ControlPlane, shared_cluster: Cluster
) -> None:
    account = await shared_cluster.account("antctl")
    for words in ("version", "get networkpolicy", "get ag", "get atg", "get ci", "get featuregates"):
        done = antctl(*words.split(), kubeconfig=account)
        assert (done.returncode, done.stderr) == (0, "")


def expired(cluster: Cluster) -> str:
    """A token of the ServiceAccount antctl, properly signed, that ended an hour ago."""
    now = int(time.time())
    claims = {
        "iss": "https://kubernetes.default.svc",
        "aud": ["https://kubernetes.default.svc"],
        "sub": "system:serviceaccount:kube-system:antctl",
        "iat": now - 7200,
        "nbf": now - 7200,
        "exp": now - 3600,
    }
    key = serialization.load_pem_private_key((cluster.pki / "sa.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": "ES256", "typ": "JWT"}
    text = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@MODULE
@pytest.mark.parametrize("kind", ["expired", "made up"])
async def test_a_token_that_is_not_valid(kind: str, plane: ControlPlane, shared_cluster: Cluster) -> None:
    token = expired(shared_cluster) if kind == "expired" else "made-up"
    done = antctl("get", "networkpolicy", kubeconfig=kubeconfig(shared_cluster, "bad", {"token": token}))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: request to server failed: Unauthorized\n"


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@MODULE
async def test_servers_that_do_not_answer(plane: ControlPlane, shared_cluster: Cluster) -> None:
    closed = antctl(
        "get", "networkpolicy", kubeconfig=kubeconfig(shared_cluster, "closed", {}, "https://127.0.0.1:1")
    )
    assert closed.returncode == 1
    assert closed.stderr == (
        "Error: unknown error: Get "
        '"https://127.0.0.1:1/apis/controlplane.antrea.io/v1beta2/networkpolicies": '
        "dial tcp 127.0.0.1:1: connect: connection refused\n"
    )
    with silent_server() as url:
        path = kubeconfig(shared_cluster, "silent", {}, url)
        silent = antctl("get", "networkpolicy", "-t", "1s", kubeconfig=path)
    assert silent.returncode == 1
    assert "no answer in time" in silent.stderr
    nowhere = antctl("version", "-s", "https://no.such.host.invalid", kubeconfig=shared_cluster.kubeconfig)
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith('Error: unknown error: Get "https://no.such.host.invalid/')
    other = self_signed("kube-apiserver", ("127.0.0.1",)).certificate.decode()
    stranger = antctl("version", kubeconfig=kubeconfig(shared_cluster, "other-ca", {}, ca=other))
    assert stranger.returncode == 1
    assert "tls: failed to verify certificate: " in stranger.stderr
    for done in (closed, silent, nowhere, stranger):
        assert done.stderr.count("\n") == 1


@MODULE
async def test_in_the_pod_without_the_right_token(
    plane: ControlPlane, shared_cluster: Cluster, tmp_path: Path
) -> None:
    pod = {
        "POD_NAME": "antrea-controller-0",
        "ANTREA_API_SERVER": f"https://127.0.0.1:{plane.controller_port}",
    }
    right = antctl("get", "networkpolicy", pod={**pod, "ANTREA_RUN_DIR": str(plane.run_dir)})
    assert "K8sNetworkPolicy:default/web" in right.stdout
    none = antctl("get", "networkpolicy", pod={**pod, "ANTREA_RUN_DIR": str(tmp_path)})
    assert none.returncode == 1
    assert 'User "system:anonymous" cannot list resource "networkpolicies"' in none.stderr
    (tmp_path / "apiserver").mkdir()
    (tmp_path / "apiserver" / "loopback-client-token").write_text("that of the last start")
    wrong = antctl("log-level", pod={**pod, "ANTREA_RUN_DIR": str(tmp_path)})
    assert (wrong.returncode, wrong.stderr) == (
        1, "Error: request to server failed: Unauthorized: Unauthorized\n",
    )  # fmt: skip


# -- support bundles ----------------------------------------------------------------------------------------


def members(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as opened:
        return {
            member.name: json.loads(file.read()) if member.name.endswith(".json") else None
            for member in opened
            if (file := opened.extractfile(member)) is not None
        }


@MODULE
async def test_the_controllers_support_bundle(
    plane: ControlPlane, shared_cluster: Cluster, tmp_path: Path
) -> None:
    account = await shared_cluster.account("antctl")
    target = tmp_path / "bundles"
    done = antctl("supportbundle", "--controller-only", "-d", str(target), kubeconfig=account)
    assert (done.returncode, done.stdout) == (0, f"Created bundle under {target}\n")
    assert done.stderr == (  # this cluster has none
        "clusterinfo: /api/v1/namespaces/kube-system/configmaps/antrea-config: "
        'configmaps "antrea-config" not found\n'
    )
    assert sorted(path.name for path in target.iterdir()) == ["clusterinfo", "controller.tar.gz"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    found = members(target / "controller.tar.gz")
    assert [item["sourceRef"]["name"] for item in found["networkpolicies.json"]["items"]] == ["web"]
    text = (target / "clusterinfo").read_text()
    titles = [line[1:] for line in text.splitlines() if line.startswith("#")]
    assert titles[:5] == ["pods", "nodes", "deployments", "replicas", "daemonsets"]
    nodes = list(yaml.safe_load_all(text))[1]["items"]
    assert "n0" in {node["metadata"]["name"] for node in nodes}


@MODULE
async def test_a_support_bundle_without_its_agents_says_so(
    plane: ControlPlane, shared_cluster: Cluster, tmp_path: Path
) -> None:
    done = antctl("supportbundle", "-d", str(tmp_path), kubeconfig=shared_cluster.kubeconfig)
    assert done.returncode == 0
    assert "Without bundles of Nodes: agents collect no support bundles" in done.stderr


@MODULE
async def test_a_support_bundle_in_the_controllers_pod(plane: ControlPlane, tmp_path: Path) -> None:
    pod = {
        "POD_NAME": "antrea-controller-0",
        "ANTREA_API_SERVER": f"https://127.0.0.1:{plane.controller_port}",
        "ANTREA_RUN_DIR": str(plane.run_dir),
        "TMPDIR": str(tmp_path),
    }
    done = antctl("supportbundle", "--since", "1h", pod=pod)
    assert (done.returncode, done.stderr) == (0, "")
    (name,) = os.listdir(tmp_path)
    archive = tmp_path / name
    assert done.stdout == f"Created bundle under {archive}\n"
    assert "controllerinfo.json" in members(archive)
    wrong = antctl("supportbundle", "--since", "yesterday", pod=pod)
    assert wrong.returncode == 1
    assert 'the duration "yesterday" is not of the form 1h30m' in wrong.stderr


@MODULE
async def test_a_support_bundle_needs_rights(
    plane: ControlPlane, shared_cluster: Cluster, tmp_path: Path
) -> None:
    mallory = shared_cluster.user("mallory")
    done = antctl("supportbundle", "--controller-only", "-d", str(tmp_path), kubeconfig=mallory)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "Error: error when collecting the support bundle: supportbundles.system.antrea.io "
    )
    assert 'User "mallory" cannot create resource "supportbundles"' in done.stderr
    assert os.listdir(tmp_path) == []


# -- straight to the controller ----------------------------------------------------------------------------


@MODULE
@pytest.mark.parametrize("who", ["administrator, with a certificate", "account, with a token"])
async def test_feature_gates_come_from_the_controllers_own_address(
    who: str, plane: ControlPlane, shared_cluster: Cluster
) -> None:
    path = shared_cluster.kubeconfig if "certificate" in who else await shared_cluster.account("antctl")
    done = antctl("get", "featuregates", "-v", kubeconfig=path)
    assert done.returncode == 0
    assert f"GET https://127.0.0.1:{plane.controller_port}/featuregates 200 in " in done.stderr
    assert "Antrea Controller Feature Gates" in done.stdout
