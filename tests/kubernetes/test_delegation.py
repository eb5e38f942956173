"""Who a client of the controller is and what it may do, by the word of a real kube-apiserver."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from apiserver.certificates import KeyPair, create_authority, issue, write_private
from client.endpoint import Endpoint, bearer, no_headers, tls_context
from client.errors import ApiError
from client.resources import API_SERVICES, CONFIG_MAPS, CP_ADDRESS_GROUPS
from client.rest import RestClient
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.asyncio(loop_scope="module")]

GROUPS = CP_ADDRESS_GROUPS.path()
EXTENSION = CONFIG_MAPS.path("extension-apiserver-authentication", "kube-system")
AS_ADMIN = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reads-groups}
rules: [{apiGroups: [controlplane.antrea.io], resources: [addressgroups], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reads-groups}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-groups}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}
- {kind: ServiceAccount, name: reader, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path_factory.mktemp("plane"), shared_cluster) as started:
        shared_cluster.kubectl("apply", "-f", "-", input=ROLE)
        shared_cluster.kubectl(
            "wait", "apiservice", "v1beta2.controlplane.antrea.io", "--for=condition=Available",
            "--timeout=60s",
        )  # fmt: skip
        await eventually(lambda: started.kube.get(GROUPS), "the groups are listed")
        yield started


class Direct:
    """Requests straight to the controller's port."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane, self.directory = plane, directory

    def context(self, pair: KeyPair | None) -> ssl.SSLContext:
        context = tls_context(insecure=True)
        if pair is not None:
            write_private(self.directory / "client.crt", pair.certificate)
            write_private(self.directory / "client.key", pair.key)
            context.load_cert_chain(self.directory / "client.crt", self.directory / "client.key")
        return context

    async def ask(
        self, pair: KeyPair | None = None, token: str = "", path: str = GROUPS, **headers: str
    ) -> tuple[int, str]:
        """The status, and the message of a refusal."""
        given = bearer(token) if token else no_headers
        url = f"https://127.0.0.1:{self.plane.controller_port}"
        async with RestClient(Endpoint(url, self.context(pair), headers=given)) as client:
            try:
                response = await client.request("GET", path, headers=headers, accept="*/*")
            except ApiError as error:
                return error.status, error.message
            return response.status, ""


@pytest.fixture
def direct(plane: ControlPlane, tmp_path: Path) -> Direct:
    return Direct(plane, tmp_path)


def refused(user: str) -> tuple[int, str]:
    return 403, (
        f'addressgroups.controlplane.antrea.io is forbidden: User "{user}" cannot list resource '
        '"addressgroups" in API group "controlplane.antrea.io" at the cluster scope'
    )


async def test_through_aggregation_everybody_is_who_he_is(
    plane: ControlPlane, shared_cluster: Cluster
) -> None:
    def listing(user: str, groups: tuple[str, ...] = ()) -> tuple[int, str]:
        kubeconfig = shared_cluster.user(user, groups)
        done = shared_cluster.kubectl("get", "addressgroups", kubeconfig=kubeconfig, check=False)
        return done.returncode, done.stderr.strip()

    # kube-apiserver lets through what its own rules allow; both answer alike.
    assert listing("alice") == (0, "No resources found")
    assert listing("dora", ("readers",)) == (0, "No resources found")
    code, text = listing("mallory")
    assert (code, text) == (1, f"Error from server (Forbidden): {refused('mallory')[1]}")
    account = await shared_cluster.account("reader", "default")
    assert shared_cluster.kubectl("get", "addressgroups", kubeconfig=account).returncode == 0
    impersonated = shared_cluster.kubectl("get", "addressgroups", "--as", "mallory", check=False)
    assert impersonated.stderr.strip() == f"Error from server (Forbidden): {refused('mallory')[1]}"


async def test_tokens_are_those_of_the_cluster(
    plane: ControlPlane, shared_cluster: Cluster, direct: Direct
) -> None:
    reader = await shared_cluster.token("default", "reader")
    other = await shared_cluster.token("default", "default")
    assert await direct.ask(token=reader) == (200, "")
    assert await direct.ask(token=other) == refused("system:serviceaccount:default:default")
    assert await direct.ask(token="made.up.token") == (401, "Unauthorized")
    assert await direct.ask() == refused("system:anonymous")


async def test_client_certificates_of_the_cluster_are_users(shared_cluster: Cluster, direct: Direct) -> None:
    authority = shared_cluster.authority
    assert await direct.ask(issue(authority, "alice", client=True)) == (200, "")
    assert await direct.ask(issue(authority, "eve", organizations=["readers"], client=True)) == (200, "")
    assert await direct.ask(issue(authority, "mallory", client=True)) == refused("mallory")
    worthless = {
        "expired": issue(authority, "alice", client=True, lifetime=timedelta(minutes=30)),
        "for servers": issue(authority, "alice", names=["alice.example"]),
        "of another authority": issue(create_authority("kubernetes-ca"), "alice", client=True),
        "of the front proxies' authority": issue(shared_cluster.front_proxy_authority, "alice", client=True),
    }
    reader = await shared_cluster.token("default", "reader")
    for what, pair in worthless.items():
        assert await direct.ask(pair) == refused("system:anonymous"), what
        assert await direct.ask(pair, **AS_ADMIN) == refused("system:anonymous"), what
        assert await direct.ask(pair, token=reader) == (200, ""), what


async def test_only_the_front_proxy_may_speak_for_others(shared_cluster: Cluster, direct: Direct) -> None:
    proxies = shared_cluster.front_proxy_authority
    proxy = issue(proxies, "front-proxy-client", client=True)
    assert await direct.ask(proxy, **AS_ADMIN) == (200, "")
    assert await direct.ask(proxy, **{"X-Remote-User": "mallory"}) == refused("mallory")
    not_allowed = issue(proxies, "somebody-else", client=True)
    assert await direct.ask(not_allowed, **AS_ADMIN) == refused("system:anonymous")
    # A name on the list of allowed ones is worth nothing from the CA of ordinary clients.
    impostor = issue(shared_cluster.authority, "front-proxy-client", client=True)
    assert await direct.ask(impostor, **AS_ADMIN) == refused("front-proxy-client")
    assert await direct.ask(**AS_ADMIN) == refused("system:anonymous")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/healthz", (200, "")),
        ("/livez", (200, "")),
        ("/readyz", (200, "")),
        ("/livez/ping", (403, 'forbidden: User "system:anonymous" cannot get path "/livez/ping"')),
        ("/metrics", (403, 'forbidden: User "system:anonymous" cannot get path "/metrics"')),
        ("/featuregates", (403, 'forbidden: User "system:anonymous" cannot get path "/featuregates"')),
        ("/agentwatch", (403, 'forbidden: User "system:anonymous" cannot get path "/agentwatch"')),
    ],
)
async def test_what_everybody_may_see(direct: Direct, path: str, answer: tuple[int, str]) -> None:
    assert await direct.ask(path=path) == answer


async def test_requests_are_reviewed_once_in_a_while(
    plane: ControlPlane, shared_cluster: Cluster, direct: Direct
) -> None:
    def reviews(kind: str) -> int:
        controller = "system:serviceaccount:kube-system:antrea-controller"
        return sum(
            event["objectRef"]["resource"] == kind
            for event in shared_cluster.audit()
            if event["user"]["username"] == controller and event["verb"] == "create" and "objectRef" in event
        )

    shared_cluster.kubectl("create", "serviceaccount", "busy")
    token = await shared_cluster.token("default", "busy")
    await direct.ask(token=token)
    before = reviews("tokenreviews"), reviews("subjectaccessreviews")
    for _ in range(20):
        assert (await direct.ask(token=token))[0] == 403
    after = reviews("tokenreviews"), reviews("subjectaccessreviews")
    # Two seconds of requests, answers that are good for ten: at most one falls due.
    assert after[0] - before[0] <= 1
    assert after[1] - before[1] <= 1


async def test_new_front_proxies_and_client_authorities_are_believed_at_once(
    plane: ControlPlane, shared_cluster: Cluster, direct: Direct
) -> None:
    proxies, clients = create_authority("new-front-proxy-ca"), create_authority("new-client-ca")
    proxy = issue(proxies, "new-proxy", client=True)
    alice = issue(clients, "alice", client=True)
    assert await direct.ask(proxy, **AS_ADMIN) == refused("system:anonymous")
    assert await direct.ask(alice) == refused("system:anonymous")
    document: dict[str, Any] = await plane.json(EXTENSION)
    was = dict(document["data"])
    changed = {
        "requestheader-client-ca-file": was["requestheader-client-ca-file"] + proxies.certificate.decode(),
        "requestheader-allowed-names": '["front-proxy-client", "new-proxy"]',
        "client-ca-file": was["client-ca-file"] + clients.certificate.decode(),
    }

    async def answers(expected: tuple[int, str], pair: KeyPair, **headers: str) -> bool:
        return await direct.ask(pair, **headers) == expected

    await plane.kube.patch(EXTENSION, {"data": changed})
    patience = 5.0  # a poll would take up to a minute
    await eventually(lambda: answers((200, ""), proxy, **AS_ADMIN), "the proxy is believed", patience)
    await eventually(lambda: answers((200, ""), alice), "the client is believed", patience)
    assert await plane.kube.get(GROUPS)
    await plane.kube.patch(EXTENSION, {"data": was})
    anonymous = refused("system:anonymous")
    await eventually(lambda: answers(anonymous, proxy, **AS_ADMIN), "the proxy is believed no more", patience)
    await eventually(lambda: answers(anonymous, alice), "the client is believed no more", patience)
    assert await plane.kube.get(GROUPS)


async def test_nothing_that_the_controller_asks_is_forbidden(
    plane: ControlPlane, shared_cluster: Cluster
) -> None:
    assert shared_cluster.forbidden("system:serviceaccount:kube-system:antrea-controller") == []
    available = await plane.json(API_SERVICES.path("v1beta2.controlplane.antrea.io"))
    conditions = {item["type"]: item["status"] for item in available["status"]["conditions"]}
    assert conditions == {"Available": "True"}
    assert msgspec.json.decode(await plane.kube.get(GROUPS))["items"] == []
