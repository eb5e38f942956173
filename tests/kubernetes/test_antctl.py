"""antctl on a real cluster: as a plugin of kubectl, as people who may not, past servers that do not answer,
and its proxy to the controller and to agents, with the headers that arrive there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from antctl.commands.version import CONTROLLER_INFO
from apiserver.certificates import ServingTLS, self_signed
from client.resources import AGENT_INFOS, NODES
from client.reviews import review_token
from runtime.version import FULL
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes import antctl_cases, binaries
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes
ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
MODULE = pytest.mark.asyncio(loop_scope="module")

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}}
"""
# Who may use `antctl proxy --agent-node` and nothing else of the Kubernetes API.
OPERATOR = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: operator}
rules:
- {apiGroups: [crd.antrea.io], resources: [antreaagentinfos], verbs: [get]}
- {apiGroups: [""], resources: [nodes], verbs: [get]}
- {apiGroups: [apps], resources: [daemonsets], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: kube-system}
rules:
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [antctl], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: kube-system}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: antrea-agent, namespace: kube-system, labels: {app: antrea, component: antrea-agent}}
spec:
  selector: {matchLabels: {component: antrea-agent}}
  template:
    metadata: {labels: {component: antrea-agent}}
    spec: {containers: [{name: antrea-agent, image: antrea}]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    """A controller behind a real kube-apiserver, on the Node n0, which is this machine; one policy."""
    async with running(tmp_path_factory.mktemp("controller"), shared_cluster) as plane:
        await add_node(shared_cluster, "n0")
        shared_cluster.kubectl("apply", "-f", "-", input=POLICY)
        shared_cluster.kubectl("apply", "-f", "-", input=OPERATOR)
        await eventually(lambda: plane.json(CONTROLLER_INFO), "the groups are available")
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


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


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


@MODULE
async def test_requests_through_the_proxy_are_answered_as_recorded(
    plane: ControlPlane, shared_cluster: Cluster
) -> None:
    await plane.direct.get("/loglevel", {"level": "2"}, accept="*/*")
    (case,) = (case for case in antctl_cases.CASES if case["name"] == "proxy-run")
    async with proxying(kubeconfig=shared_cluster.kubeconfig) as session:
        for request in case["requests"]:
            if request["path"].startswith("/endpoint"):
                continue  # its query is not there yet
            async with session.request(
                request.get("method", "GET"), request["path"], headers=request.get("headers")
            ) as answer:
                assert answer.status == request["status"], request
                text = await answer.text()
                if request["status"] != 404 and "body" in request:
                    assert text == request["body"]
                if "contentType" in request:
                    assert (
                        answer.headers["Content-Type"].partition(";")[0]
                        == (request["contentType"].partition(";")[0])
                    )
        async with session.get("/apis/controlplane.antrea.io/v1beta2/networkpolicies") as answer:
            items = (await answer.json())["items"]
        assert [item["sourceRef"]["name"] for item in items] == ["web"]


@MODULE
async def test_a_watch_goes_through_the_proxy(plane: ControlPlane, shared_cluster: Cluster) -> None:
    path = "/apis/controlplane.antrea.io/v1beta2/networkpolicies?watch=1"
    async with (
        proxying(kubeconfig=await shared_cluster.account("antctl")) as session,
        session.get(path) as refused,
    ):
        assert refused.status == 403
        assert "cannot watch resource" in await refused.text()
    async with proxying(kubeconfig=shared_cluster.kubeconfig) as session, session.get(path) as answer:
        assert json.loads(await answer.content.readline())["type"] == "ADDED"
        assert json.loads(await answer.content.readline())["type"] == "BOOKMARK"
        another = POLICY.replace("name: web", "name: another")
        shared_cluster.kubectl("apply", "-f", "-", input=another)
        event = json.loads(await answer.content.readline())
        assert (event["type"], event["object"]["sourceRef"]["name"]) == ("ADDED", "another")
        shared_cluster.kubectl("delete", "-f", "-", input=another)
        event = json.loads(await answer.content.readline())
        assert event["type"] == "DELETED"


# -- agents ------------------------------------------------------------------------------------------------


class Agent:
    """What an agent's address could be after somebody has taken the node over: it keeps all headers."""

    def __init__(self) -> None:
        self.pair = self_signed("localhost", ("localhost", "127.0.0.1"))
        self.seen: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append(dict(self.headers))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        tls: ssl.SSLContext = ServingTLS(self.pair).context
        tls.verify_mode = ssl.CERT_OPTIONAL  # it asks for client certificates as well
        tls.load_verify_locations(cadata=self.pair.certificate.decode())
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(plane: ControlPlane, shared_cluster: Cluster) -> AsyncIterator[Agent]:
    agent = Agent()
    await add_node(shared_cluster, "n1")
    info = {
        "nodeRef": {"kind": "Node", "name": "n1"},
        "apiPort": agent.port,
        "apiCABundle": base64.b64encode(agent.pair.certificate).decode(),
    }
    patch = shared_cluster.kube.patch
    await eventually(lambda: patch(AGENT_INFOS.path("n1"), info), "the controller has made the object")
    yield agent
    agent.close()


def token_of(path: Path) -> str:
    return str(yaml.safe_load(path.read_text())["users"][0]["user"]["token"])


@MODULE
async def test_an_agent_never_sees_the_callers_token(
    agent: Agent, plane: ControlPlane, shared_cluster: Cluster
) -> None:
    operator = await shared_cluster.account("operator")
    token = token_of(operator)
    agent.seen.clear()
    async with proxying("--agent-node", "n1", kubeconfig=operator) as session:
        for headers in ({}, {"Authorization": f"Bearer {token}", "X-Remote-User": "admin", "Cookie": token}):
            async with session.get("/agentinfo", headers=headers) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
    assert len(agent.seen) == 2
    assert token not in json.dumps(agent.seen)
    sent = {seen["Authorization"].removeprefix("Bearer ") for seen in agent.seen}
    (minted,) = sent
    claims = claims_of(minted)
    assert claims["exp"] - claims["iat"] == 600
    user = await review_token(shared_cluster.kube, minted)
    assert user is not None
    assert user.username == "system:serviceaccount:kube-system:antctl"


@MODULE
async def test_an_agent_sees_no_client_certificate_either(
    agent: Agent, plane: ControlPlane, shared_cluster: Cluster
) -> None:
    """The administrator's kubeconfig has nothing but a client certificate."""
    agent.seen.clear()
    async with (
        proxying("--agent-node", "n1", kubeconfig=shared_cluster.kubeconfig) as session,
        session.get("/agentinfo") as answer,
    ):
        assert answer.status == 200  # with the certificate, the handshake would have failed here
    user = await review_token(shared_cluster.kube, agent.seen[0]["Authorization"].removeprefix("Bearer "))
    assert user is not None
    assert user.username == "system:serviceaccount:kube-system:antctl"


@MODULE
async def test_what_the_caller_needs_and_what_is_said_without(
    agent: Agent, plane: ControlPlane, shared_cluster: Cluster
) -> None:
    operator = await shared_cluster.account("operator")
    agent.seen.clear()

    def refused(node: str, path: Path) -> str:
        done = antctl("proxy", "-p", "0", "--agent-node", node, kubeconfig=path)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert refused("nope", operator) == (
        "Error: error when getting AntreaAgentInfo of Node nope: "
        'antreaagentinfos.crd.antrea.io "nope" not found\n'
    )
    assert 'User "mallory" cannot get resource "antreaagentinfos"' in refused(
        "n1", shared_cluster.user("mallory")
    )
    shared_cluster.kubectl("delete", "rolebinding", "-n", "kube-system", "operator")
    try:
        assert re.fullmatch(
            "Error: error when requesting a token of ServiceAccount kube-system/antctl: serviceaccounts "
            '"antctl" is forbidden: User "system:serviceaccount:kube-system:operator" cannot create resource '
            r'"serviceaccounts/token" in API group "" in the namespace "kube-system"\n',
            await eventually_refused(shared_cluster, refused, operator),
        )
    finally:
        shared_cluster.kubectl("apply", "-f", "-", input=OPERATOR)
    assert agent.seen == []


async def eventually_refused(cluster: Cluster, refused: Any, path: Path) -> str:
    """kube-apiserver learns of a change of roles a moment later; until then the proxy would run."""

    async def gone() -> bool:
        answer = cluster.kubectl(
            "auth", "can-i", "create", "serviceaccounts/antctl", "--subresource=token", "-n", "kube-system",
            kubeconfig=path, check=False,
        )  # fmt: skip
        return answer.stdout == "no\n"

    await eventually(gone, "the permission is gone")
    return str(refused("n1", path))


@MODULE
async def test_another_certificate_than_the_published_one(
    agent: Agent, plane: ControlPlane, shared_cluster: Cluster
) -> None:
    other = base64.b64encode(self_signed("localhost", ("localhost",)).certificate).decode()
    own = base64.b64encode(agent.pair.certificate).decode()
    path = AGENT_INFOS.path("n1")
    agent.seen.clear()
    await shared_cluster.kube.patch(path, {"apiCABundle": other})
    try:
        operator = await shared_cluster.account("operator")
        async with (
            proxying("--agent-node", "n1", kubeconfig=operator) as session,
            session.get("/agentinfo") as answer,
        ):
            assert answer.status == 502
            assert "certificate" in await answer.text()
        assert agent.seen == []
        async with (
            proxying("--agent-node", "n1", "--insecure", kubeconfig=operator) as session,
            session.get("/agentinfo") as answer,
        ):
            assert answer.status == 200
    finally:
        await shared_cluster.kube.patch(path, {"apiCABundle": own})
