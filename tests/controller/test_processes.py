"""The Kubernetes API and antrea-controller as processes: what is written to one comes out of the other."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from apiserver.certificates import create_authority, issue, write_private
from client.controller import ControllerLocator
from client.endpoint import Endpoint, no_headers, tls_context
from client.errors import ApiError
from client.kubeconfig import load
from client.resources import (
    AGENT_INFOS,
    API_SERVICES,
    CONFIG_MAPS,
    CONTROLLER_INFOS,
    CP_ADDRESS_GROUPS,
    CP_APPLIED_TO_GROUPS,
    CP_NETWORK_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    SYSTEM_CONTROLLER_INFOS,
    VALIDATING_WEBHOOKS,
)
from client.rest import RestClient
from tests.controller.control_plane import ControlPlane, eventually, running, watching
from tests.controller.objects import allow_from, namespace, node, pod, policy

AT_ONCE = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}  # no kubelet is here
CP = "/apis/controlplane.antrea.io/v1beta2"


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path) as made:
        yield made


async def populate(plane: ControlPlane) -> None:
    """Two nodes; a web Pod on n1 and a client on n2, in one namespace."""
    await plane.create(
        namespace("shop"),
        node("n1"),
        node("n2"),
        pod("shop", "web", "n1", "10.1.1.2", app="web"),
        pod("shop", "client", "n2", "10.1.2.2", app="client"),
    )
    for name, ip in (("web", "10.1.1.2"), ("client", "10.1.2.2")):
        status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}
        await plane.kube.patch(PODS.path(name, "shop", "status"), status)


def web_policy() -> dict[str, object]:
    return policy("shop", "web", {"matchLabels": {"app": "web"}}, ingress=[allow_from(app="client")])


async def internal_policies(plane: ControlPlane) -> list[dict[str, object]]:
    return (await plane.json(CP_NETWORK_POLICIES.path()))["items"]


async def test_a_policy_comes_out_of_the_aggregated_watch(plane: ControlPlane) -> None:
    await populate(plane)
    path = CP_NETWORK_POLICIES.path()
    await eventually(lambda: plane.kube.get(path), "the aggregated API answers")
    async with watching(plane.kube, path) as events:
        await plane.create(web_policy())
        _, created = await events.until(lambda kind, _: kind == "ADDED")
        source = (await plane.json(NETWORK_POLICIES.path("web", "shop")))["metadata"]
        assert created["kind"] == "NetworkPolicy"
        assert created["metadata"]["name"] == source["uid"]
        assert created["sourceRef"] == {
            "type": "K8sNetworkPolicy", "namespace": "shop", "name": "web", "uid": source["uid"],
        }  # fmt: skip

        await plane.kube.delete(NETWORK_POLICIES.path("web", "shop"))
        _, gone = await events.until(lambda kind, _: kind == "DELETED")
        assert gone["metadata"]["name"] == source["uid"]


async def test_groups_have_the_addresses_of_the_pods_they_select(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    [internal] = await eventually(lambda: internal_policies(plane), "the policy is computed")
    [rule] = internal["rules"]  # type: ignore[misc]

    async def members() -> list[object]:
        group = await plane.json(CP_ADDRESS_GROUPS.path(rule["from"]["addressGroups"][0]))
        return group.get("groupMembers", [])

    [client] = await eventually(members, "the client is a member")
    assert client["pod"] == {"name": "client", "namespace": "shop"}  # type: ignore[index]
    assert base64.b64decode(client["ips"][0])[-4:] == bytes([10, 1, 2, 2])  # type: ignore[index]
    [target] = (await plane.json(CP_APPLIED_TO_GROUPS.path()))["items"]
    assert [member["pod"]["name"] for member in target["groupMembers"]] == ["web"]


async def test_an_agent_sees_its_node_in_causal_order_and_a_marker_per_pod(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    await eventually(lambda: internal_policies(plane), "the policy is computed")
    async with watching(plane.direct, "/agentwatch", nodeName="n1") as events:
        await events.until(lambda kind, _: kind == "BOOKMARK")
        kinds = [body["kind"] for kind, body in events.seen if kind == "ADDED"]
        assert kinds.index("NetworkPolicy") == 2
        assert set(kinds[:2]) == {"AddressGroup", "AppliedToGroup"}
        marked = [body["metadata"]["name"] for kind, body in events.seen if kind == "MARKER"]
        assert marked == ["web"]

        await plane.create(pod("shop", "web-2", "n1", app="web"))
        _, marker = await events.until(lambda kind, body: kind == "MARKER")
        assert marker["metadata"]["name"] == "web-2"
        before = [body["kind"] for kind, body in events.seen if kind == "MODIFIED"]
        assert before == ["AppliedToGroupPatch"], "what follows from the Pod comes before its marker"


async def test_a_killed_controller_comes_back_with_the_same_answers(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    before = await eventually(lambda: internal_policies(plane), "the policy is computed")
    certificate = (plane.run_dir / "antrea-controller-self-signed" / "antrea-controller.crt").read_bytes()
    await plane.kill("controller")
    await plane.kube.delete(PODS.path("client", "shop"), AT_ONCE)
    await plane.start_controller()

    def without_versions(items: list[dict[str, object]]) -> list[object]:
        return [{**item, "metadata": {**item["metadata"], "resourceVersion": ""}} for item in items]  # type: ignore[dict-item]

    after = await eventually(lambda: internal_policies(plane), "the aggregated API answers again")
    assert without_versions(after) == without_versions(before)
    [group] = (await plane.json(CP_ADDRESS_GROUPS.path()))["items"]
    assert group.get("groupMembers", []) == [], "what happened meanwhile is known"
    kept = (plane.run_dir / "antrea-controller-self-signed" / "antrea-controller.crt").read_bytes()
    assert kept == certificate, "the certificate is kept in its Secret"


async def test_a_second_copy_ends_and_leaves_the_first_its_credentials(plane: ControlPlane) -> None:
    first = plane.processes.pop("controller")
    before = plane.direct
    await plane.start_controller(wait=False)
    second = plane.processes["controller"]
    plane.processes["controller"] = first
    try:
        assert await asyncio.to_thread(second.wait, 20) != 0
    finally:
        second.kill()
    await before.close()
    assert await plane.json(CP_NETWORK_POLICIES.path(), plane.direct) is not None


async def test_a_version_of_the_previous_process_is_gone(plane: ControlPlane) -> None:
    version = (await plane.json(f"{CP}/networkpolicies", plane.direct))["metadata"]["resourceVersion"]
    await plane.kill("controller")
    await plane.start_controller()
    with pytest.raises(ApiError) as refused:
        await plane.direct.get("/agentwatch", {"nodeName": "n1", "resourceVersion": version})
    assert refused.value.status == 410


async def test_changes_made_while_the_api_restarts_arrive(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    async with watching(plane.direct, "/agentwatch", nodeName="n1") as events:
        await events.until(lambda kind, _: kind == "BOOKMARK")
        await plane.kill("api")
        await plane.start_api()
        await plane.create(pod("shop", "web-3", "n1", app="web"))
        await events.until(lambda kind, body: kind == "MARKER" and body["metadata"]["name"] == "web-3")
        gone = [(body["kind"], body["metadata"]["name"]) for kind, body in events.seen if kind == "DELETED"]
        assert gone == [], "agents see no gap while the API restarts"


async def test_the_published_certificate_authority_serves_its_clients(plane: ControlPlane) -> None:
    async def bundles() -> bool:
        services = (await plane.json(API_SERVICES.path()))["items"]
        ours = [
            s for s in services if s["metadata"].get("labels", {}).get("served-by") == "antrea-controller"
        ]
        return bool(ours) and all(s["spec"].get("caBundle") for s in ours)

    await eventually(bundles, "all APIServices have the CA")
    agent = await load(str(await plane.account("antrea-agent")))
    locator = ControllerLocator(plane.kube, agent.headers, override=f"127.0.0.1:{plane.controller_port}")
    async with RestClient(await locator.locate()) as client:
        async with watching(client, f"{CP}/networkpolicies", fieldSelector="nodeName=n0") as events:
            assert (await events.next())[0] == "BOOKMARK"
        # Roles hold here as well: agents may watch, and may not see who else is there.
        with pytest.raises(ApiError) as refused:
            await client.get(SYSTEM_CONTROLLER_INFOS.path())
        assert refused.value.status == 403


async def test_without_or_with_wrong_credentials_nothing_is_told(plane: ControlPlane) -> None:
    url, tls = f"https://127.0.0.1:{plane.controller_port}", tls_context(insecure=True)
    async with RestClient(Endpoint(url, tls)) as client:
        for path in ("/healthz", "/livez", "/readyz"):
            assert (await client.get(path, accept="*/*")) == b"ok"

    async def wrong() -> dict[str, str]:
        return {"Authorization": "Bearer nonsense"}

    async def forged() -> dict[str, str]:
        return {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}

    for headers, status in ((no_headers, 403), (wrong, 401), (forged, 403)):
        async with RestClient(Endpoint(url, tls, headers=headers)) as client:
            for path in (f"{CP}/networkpolicies", "/agentwatch?nodeName=n1", "/metrics", "/loglevel"):
                with pytest.raises(ApiError) as refused:
                    await client.get(path)
                assert refused.value.status == status, (path, headers.__name__)


async def test_the_controller_reports_itself(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())

    async def reported() -> object:
        info = await plane.json(CONTROLLER_INFOS.path("antrea-controller"))
        return info if info["networkPolicyControllerInfo"].get("networkPolicyNum") == 1 else None

    stored = await eventually(reported, "AntreaControllerInfo counts the policy")
    [live] = (await plane.json(SYSTEM_CONTROLLER_INFOS.path()))["items"]
    for info in (stored, live):
        assert info["podRef"]["name"] == "antrea-controller-0"
        assert info["nodeRef"] == {"kind": "Node", "name": "n0"}
        assert info["apiPort"] == plane.controller_port
        assert [c["status"] for c in info["controllerConditions"]] == ["True"]


async def test_every_node_has_an_agent_info_and_others_have_none(plane: ControlPlane) -> None:
    async def names() -> set[str]:
        return {item["metadata"]["name"] for item in (await plane.json(AGENT_INFOS.path()))["items"]}

    async def are(wanted: set[str]) -> bool:
        return await names() == wanted

    await plane.create(node("n1"), node("n2"))
    await eventually(lambda: are({"n1", "n2"}), "each Node has its object")
    await plane.kill("controller")
    await plane.kube.delete(NODES.path("n2"))
    await plane.start_controller()
    await eventually(lambda: are({"n1"}), "what is left of a Node that went is deleted")
    await plane.kube.delete(NODES.path("n1"))
    await eventually(lambda: are(set()), "so it is while the controller runs")


async def test_webhooks_and_conversions_of_ours_get_the_ca_and_others_are_left_alone(
    plane: ControlPlane,
) -> None:
    ours = {"app": "antrea", "served-by": "antrea-controller"}

    def webhook(name: str, **labels: str) -> dict[str, object]:
        service = {"name": "antrea", "namespace": "kube-system", "path": f"/validate/{name}"}
        hook = {
            "name": f"{name}.antrea.io",
            "clientConfig": {"service": service},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name, "labels": labels},
            "webhooks": [hook, {**hook, "name": f"{name}-2.antrea.io"}],
        }

    await plane.kill("controller")
    await plane.create(webhook("mine", **ours), webhook("theirs", app="antrea"))
    await plane.start_controller()

    async def bundles(name: str) -> list[str]:
        found = await plane.json(VALIDATING_WEBHOOKS.path(name))
        return [hook["clientConfig"].get("caBundle", "") for hook in found["webhooks"]]

    async def filled() -> bool:
        return all(await bundles("mine"))

    await eventually(filled, "both webhooks of ours have the CA")
    assert await bundles("theirs") == ["", ""]


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00" + bytes(200), b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096]
)
async def test_rubbish_on_the_port_disturbs_nobody(rubbish: bytes, plane: ControlPlane) -> None:
    async with watching(plane.direct, "/agentwatch", nodeName="n1") as events:
        await events.until(lambda kind, _: kind == "BOOKMARK")
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", plane.controller_port)
            writer.write(rubbish)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.drain()
                await asyncio.wait_for(reader.read(), 0.05)
            writer.close()
        # Inside TLS too: heads that never end, and methods that are none.
        for _ in range(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", plane.controller_port, ssl=tls_context(insecure=True)
            )
            writer.write(rubbish)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)
            writer.close()
        assert plane.processes["controller"].poll() is None
        await plane.create(namespace("shop"), node("n1"), pod("shop", "web", "n1", app="web"))
        await events.until(lambda kind, body: kind == "MARKER" and body["metadata"]["name"] == "web")


async def test_a_mounted_certificate_is_served_and_its_ca_published(plane: ControlPlane) -> None:
    await plane.kill("controller")
    authority = create_authority("their-ca")
    pair = issue(authority, "theirs", names=["antrea.kube-system.svc", "127.0.0.1"])
    mounted = plane.run_dir / "antrea-controller-tls"
    write_private(mounted / "tls.crt", pair.certificate)
    write_private(mounted / "tls.key", pair.key)
    write_private(mounted / "ca.crt", authority.certificate)
    await plane.start_controller(selfSignedCert=False, tlsMinVersion="VersionTLS13")

    async def published() -> bool:
        found = await plane.json(CONFIG_MAPS.path("antrea-ca", "kube-system"))
        return found["data"]["ca.crt"] == authority.certificate.decode()

    await eventually(published, "the administrator's CA is published")
    locator = ControllerLocator(plane.kube, no_headers, override=f"127.0.0.1:{plane.controller_port}")
    async with RestClient(await locator.locate()) as client:
        assert await client.get("/healthz", accept="*/*") == b"ok"
    await eventually(lambda: plane.kube.get(CP_NETWORK_POLICIES.path()), "aggregation trusts it too")


async def test_while_the_first_state_is_incomplete_nothing_is_served(plane: ControlPlane) -> None:
    await plane.kill("controller")
    await plane.kill("api")
    await plane.start_controller(wait=False)
    url = f"https://127.0.0.1:{plane.controller_port}"

    async def alive() -> bool:
        async with RestClient(Endpoint(url, tls_context(insecure=True))) as client:
            await client.get("/livez", accept="*/*")
        return True

    await eventually(alive, "the process lives without the Kubernetes API")
    for path in (f"{CP}/networkpolicies", "/agentwatch?nodeName=n1", "/readyz"):
        with pytest.raises(ApiError) as refused:
            await plane.direct.get(path)
        assert refused.value.status in (500, 503), path
    await plane.start_api()
    await eventually(plane.ready, "it is ready with the API")
    assert await plane.direct.get(f"{CP}/networkpolicies")


async def test_realization_is_accepted_and_counted_per_generation(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    [internal] = await eventually(lambda: internal_policies(plane), "the policy is computed")
    name = internal["metadata"]["name"]  # type: ignore[index]
    status = {
        "kind": "NetworkPolicyStatus",
        "apiVersion": "controlplane.antrea.io/v1beta2",
        "metadata": {"name": name},
        "nodes": [{"nodeName": "n1", "generation": 1}],
    }
    answer = await plane.direct.request("POST", f"{CP}/networkpolicies/{name}/status", body=status)
    assert (answer.status, answer.json()["status"]) == (201, "Success")
    with pytest.raises(ApiError) as refused:
        await plane.direct.create(f"{CP}/networkpolicies/other/status", status)
    assert refused.value.status == 400


async def test_sigterm_ends_the_process_within_five_seconds_and_its_streams_in_order(
    plane: ControlPlane,
) -> None:
    async with watching(plane.direct, "/agentwatch", nodeName="n1") as events:
        await events.until(lambda kind, _: kind == "BOOKMARK")
        started = time.monotonic()
        process = plane.signal("controller", signal.SIGTERM)
        with pytest.raises(StopAsyncIteration):  # an orderly end of the stream, not a broken connection
            await events.next()
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert time.monotonic() - started < 5


def resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


async def test_memory_of_an_idle_controller(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    await eventually(lambda: internal_policies(plane), "the policy is computed")
    assert resident_kilobytes(plane.processes["controller"].pid) < 100 * 1024


async def test_nodes_and_namespaces_come_and_go(plane: ControlPlane) -> None:
    await populate(plane)
    await plane.create(web_policy())
    await eventually(lambda: internal_policies(plane), "the policy is computed")
    await plane.kube.delete(NODES.path("n2"))
    for name in ("web", "client"):
        await plane.kube.delete(PODS.path(name, "shop"), AT_ONCE)
    await plane.kube.delete(NAMESPACES.path("shop"))

    async def none_left() -> bool:
        for path in (CP_NETWORK_POLICIES, CP_ADDRESS_GROUPS, CP_APPLIED_TO_GROUPS):
            if (await plane.json(path.path()))["items"]:
                return False
        return True

    await eventually(none_left, "nothing is left of the namespace")
