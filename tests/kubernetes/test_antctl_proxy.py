"""antctl proxy on a real cluster, to the controller and to agents that keep what they are shown."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from apiserver.certificates import ServingTLS, self_signed
from client.resources import AGENT_INFOS
from client.reviews import review_token
from tests.controller.control_plane import ControlPlane, eventually
from tests.kubernetes import antctl_cases
from tests.kubernetes.antctl_running import POLICY, add_node, antctl, proxying, with_controller
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes
MODULE = pytest.mark.asyncio(loop_scope="module")


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
    async with with_controller(shared_cluster, tmp_path_factory.mktemp("controller")) as plane:
        yield plane


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
    shared_cluster.kubectl("apply", "-f", "-", input=OPERATOR)
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


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


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
