"""What the cluster's controllers do: nodes, scheduling, services and endpoints; tables; odd requests."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import Any

import pytest

from tests.lab.api.conftest import node
from tests.lab.api.process import LabApi, eventually

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def pod(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "x", "ports": [{"name": "web", "containerPort": 8080}]}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"containers": [container], **spec}}


# --- nodes and scheduling ---


def test_nodes_get_a_cidr_of_each_family(api: LabApi) -> None:
    specs = [eventually(lambda n=name: api.get(f"/api/v1/nodes/{n}").json["spec"]) for name in ("n1", "n2")]
    cidrs = [[ipaddress.ip_network(cidr) for cidr in spec["podCIDRs"]] for spec in specs]
    for spec, own in zip(specs, cidrs, strict=True):
        assert spec["podCIDR"] == spec["podCIDRs"][0]
        assert [network.version for network in own] == [4, 6]
        assert own[0].subnet_of(ipaddress.ip_network("10.10.0.0/16"))  # type: ignore[arg-type]
        assert own[1].subnet_of(ipaddress.ip_network("fd00:10::/48"))  # type: ignore[arg-type]
    assert not set(cidrs[0]) & set(cidrs[1])
    moved = api.merge("/api/v1/nodes/n1", {"spec": {"podCIDRs": ["10.10.9.0/24"], "podCIDR": "10.10.9.0/24"}})
    assert moved.status == 422


def test_pods_are_dealt_out_in_turn(api: LabApi) -> None:
    path = api.namespace("turns") + "/pods"
    for i in range(4):
        api.create(path, pod(f"p{i}"))

    def placed() -> list[str]:
        return [item["spec"].get("nodeName", "") for item in api.get(path).json["items"]]

    eventually(lambda: all(placed()))
    assert sorted(placed()) == ["n1", "n1", "n2", "n2"]
    conditions = api.get(f"{path}/p0").json["status"]["conditions"]
    assert [(c["type"], c["status"]) for c in conditions] == [("PodScheduled", "True")]


def test_the_scheduler_honours_what_pods_and_nodes_ask(api: LabApi) -> None:
    path = api.namespace("picky") + "/pods"
    tainted = node("n3", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    tainted["metadata"]["labels"]["disk"] = "ssd"  # type: ignore[index]
    api.create("/api/v1/nodes", tainted)
    try:
        api.create(path, pod("pinned", nodeSelector={"disk": "ssd"}))
        reason = eventually(
            lambda: next(
                (c["message"] for c in api.get(f"{path}/pinned").json["status"].get("conditions", [])), ""
            )
        )
        assert reason.startswith("0/3 nodes are available: ")
        assert "1 node(s) had untolerated taint {k: v}" in reason
        assert "2 node(s) didn't match Pod's node affinity/selector" in reason
        toleration = {"key": "k", "operator": "Exists"}
        api.create(path, pod("tolerant", nodeSelector={"disk": "ssd"}, tolerations=[toleration]))
        eventually(lambda: api.get(f"{path}/tolerant").json["spec"].get("nodeName") == "n3")
        # what waits is looked at again when a node changes
        api.merge("/api/v1/nodes/n3", {"spec": {"taints": None}})
        eventually(lambda: api.get(f"{path}/pinned").json["spec"].get("nodeName") == "n3")
    finally:
        api.delete("/api/v1/nodes/n3")


def test_binding_happens_once(api: LabApi) -> None:
    path = api.namespace("bound") + "/pods"
    api.create(path, pod("p", schedulerName="mine"))
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}}
    assert api.post(f"{path}/p/binding", body).status == 201
    assert api.get(f"{path}/p").json["spec"]["nodeName"] == "n2"
    again = api.post(f"{path}/p/binding", body)
    assert (again.status, again.json["reason"]) == (409, "Conflict")


# --- services ---


def test_cluster_addresses(api: LabApi) -> None:
    path = api.namespace("addresses") + "/services"
    ports = [{"port": 80}]
    one = api.create(path, {"metadata": {"name": "one"}, "spec": {"ports": ports}})["spec"]
    assert ipaddress.ip_address(one["clusterIP"]) in ipaddress.ip_network("10.96.0.0/16")
    assert (one["clusterIPs"], one["ipFamilies"]) == ([one["clusterIP"]], ["IPv4"])
    assert one["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    both = api.create(
        path, {"metadata": {"name": "both"}, "spec": {"ports": ports, "ipFamilyPolicy": "RequireDualStack"}}
    )["spec"]
    assert [ipaddress.ip_address(a).version for a in both["clusterIPs"]] == [4, 6]
    headless = api.create(
        path, {"metadata": {"name": "none"}, "spec": {"ports": ports, "clusterIP": "None"}}
    )["spec"]
    assert headless["clusterIPs"] == ["None"]
    taken = api.post(
        path, {"metadata": {"name": "x"}, "spec": {"ports": ports, "clusterIP": one["clusterIP"]}}
    )
    assert (taken.status, "provided IP is already allocated" in taken.json["message"]) == (422, True)
    changed = api.merge(f"{path}/one", {"spec": {"clusterIP": "10.96.200.1", "clusterIPs": ["10.96.200.1"]}})
    assert "may not change once set" in changed.json["message"]
    api.delete(f"{path}/one")
    again = {"metadata": {"name": "again"}, "spec": {"ports": ports, "clusterIP": one["clusterIP"]}}
    assert api.post(path, again).status == 201
    node_port = api.create(path, {"metadata": {"name": "np"}, "spec": {"type": "NodePort", "ports": ports}})[
        "spec"
    ]
    assert 30000 <= node_port["ports"][0]["nodePort"] <= 32767


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.ports: Required value"),
        (
            {"ports": [{"port": 0}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name: Required value"),
        ({"ports": [{"port": 1}], "type": "Odd"}, 'spec.type: Unsupported value: "Odd"'),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
    ],
)
def test_bad_services(api: LabApi, spec: dict[str, Any], message: str) -> None:
    answer = api.post("/api/v1/namespaces/default/services", {"metadata": {"name": "bad"}, "spec": spec})
    assert answer.status == 422
    assert message in answer.json["message"]


def test_endpoints_follow_pods(api: LabApi) -> None:
    path = api.namespace("served")
    slices = "/apis/discovery.k8s.io/v1/namespaces/served/endpointslices"
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}
    api.create(f"{path}/services", {"metadata": {"name": "web"}, "spec": spec})
    api.create(f"{path}/pods", pod("p", {"app": "web"}))
    status = {"podIP": "10.10.0.5", "podIPs": [{"ip": "10.10.0.5"}], "phase": "Running"}

    def ready(value: str) -> None:
        conditions = [{"type": "Ready", "status": value}]
        api.merge(f"{path}/pods/p/status", {"status": {**status, "conditions": conditions}})

    def subsets() -> Any:
        return api.get(f"{path}/endpoints/web").json.get("subsets")

    ready("False")
    first = eventually(subsets)[0]
    assert [a["ip"] for a in first["notReadyAddresses"]] == ["10.10.0.5"]
    ready("True")
    eventually(lambda: "addresses" in subsets()[0])
    assert subsets()[0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]

    def endpoint() -> Any:
        items = api.get(f"{slices}?labelSelector=kubernetes.io/service-name%3Dweb").json["items"]
        return items and items[0]["endpoints"]

    found = eventually(endpoint)[0]
    assert (found["addresses"], found["conditions"]["ready"], found["targetRef"]["name"]) == (
        ["10.10.0.5"],
        True,
        "p",
    )
    api.merge(f"{path}/pods/p", {"metadata": {"labels": {"app": "other"}}})
    eventually(lambda: not subsets())
    api.delete(f"{path}/services/web")
    eventually(lambda: api.get(f"{path}/endpoints/web").status == 404)
    eventually(lambda: api.get(slices).json["items"] == [])


def test_the_api_has_a_service_of_its_own(api: LabApi) -> None:
    assert api.get("/api/v1/namespaces/default/services/kubernetes").json["spec"]["clusterIP"] == "10.96.0.1"
    names = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    data = api.get(names).json["data"]
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["client-ca-file"] == (api.state / "pki" / "ca.crt").read_text()


# --- tables ---

# path, columns shown without -o wide, columns of -o wide
COLUMNS = [
    ("/api/v1/pods", "Name Ready Status Restarts Age", "IP|Node|Nominated Node|Readiness Gates"),
    (
        "/api/v1/nodes",
        "Name Status Roles Age Version",
        "Internal-IP|External-IP|OS-Image|Kernel-Version|Container-Runtime",
    ),
    ("/api/v1/namespaces", "Name Status Age", ""),
    ("/api/v1/services", "Name Type Cluster-IP External-IP Port(s) Age", "Selector"),
    ("/api/v1/endpoints", "Name Endpoints Age", ""),
    ("/api/v1/configmaps", "Name Data Age", ""),
    ("/api/v1/secrets", "Name Type Data Age", ""),
    ("/api/v1/serviceaccounts", "Name Secrets Age", ""),
    ("/apis/networking.k8s.io/v1/networkpolicies", "Name Pod-Selector Age", ""),
    ("/apis/discovery.k8s.io/v1/endpointslices", "Name AddressType Ports Endpoints Age", ""),
    ("/apis/coordination.k8s.io/v1/leases", "Name Holder Age", ""),
    ("/apis/apiregistration.k8s.io/v1/apiservices", "Name Service Available Age", ""),
    (
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "Name Role Age",
        "Users|Groups|ServiceAccounts",
    ),
]


@pytest.mark.parametrize(("path", "shown", "wide"), COLUMNS)
def test_columns(api: LabApi, path: str, shown: str, wide: str) -> None:
    table = api.get(path, headers=TABLE).json
    assert table["kind"] == "Table"
    definitions = table["columnDefinitions"]
    assert " ".join(c["name"] for c in definitions if c["priority"] == 0) == shown
    assert "|".join(c["name"] for c in definitions if c["priority"] > 0) == wide
    assert all(len(row["cells"]) == len(definitions) for row in table["rows"])


# status as a kubelet reports it, Ready and Status columns
POD_STATUS: list[tuple[dict[str, Any], str, str]] = [
    ({"phase": "Pending"}, "0/1", "Pending"),
    (
        {"phase": "Running", "containerStatuses": [{"ready": True, "state": {"running": {}}}]},
        "1/1",
        "Running",
    ),
    (
        {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]},
        "0/1",
        "ContainerCreating",
    ),
    (
        {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
        "0/1",
        "ExitCode:3",
    ),
    ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
]


@pytest.mark.parametrize(("status", "ready", "shown"), POD_STATUS)
def test_the_status_column(api: LabApi, status: dict[str, Any], ready: str, shown: str) -> None:
    path = f"/api/v1/namespaces/default/pods/status-{shown.lower().replace(':', '')}"
    name = path.rpartition("/")[2]
    for entry in status.get("containerStatuses", []):
        entry |= {
            "name": "c",
            "image": "x",
            "imageID": "",
            "ready": entry.get("ready", False),
            "restartCount": 0,
        }
    api.create("/api/v1/namespaces/default/pods", pod(name))
    assert api.merge(f"{path}/status", {"status": status}).status == 200
    cells = api.get(path, headers=TABLE).json["rows"][0]["cells"]
    assert cells[1:3] == [ready, shown]


# --- what a lab does otherwise, and what ends no process ---


@pytest.mark.parametrize(
    ("method", "sub"),
    [("GET", "log"), ("POST", "exec"), ("GET", "exec"), ("POST", "attach"), ("POST", "portforward")],
)
def test_what_needs_a_kubelet_names_its_replacement(api: LabApi, method: str, sub: str) -> None:
    path = api.namespace(f"no-{sub}-{method.lower()}") + "/pods"
    api.create(path, pod("p"))
    answer = api.request(method, f"{path}/p/{sub}?command=ls")
    assert answer.status == 405
    assert "antrea-lab exec" in answer.json["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{",
        b"\x16\x03\x01\xff\xff" + b"\xff" * 50,
    ],
)
@pytest.mark.parametrize("encrypted", [True, False])
def test_garbage_on_the_socket(api: LabApi, raw: bytes, encrypted: bool) -> None:
    connection: socket.socket = socket.create_connection(("127.0.0.1", api.port), timeout=10)
    if encrypted:
        connection = api.context().wrap_socket(connection, server_hostname="127.0.0.1")
    try:
        connection.sendall(raw)
        connection.settimeout(0.5)
        connection.recv(1000)
    except (OSError, ssl.SSLError):
        pass
    finally:
        connection.close()
    assert api.get("/readyz").status == 200


def test_too_large_and_too_deep(api: LabApi) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    large = {"metadata": {"name": "large"}, "data": {"a": "x" * (4 * 1024 * 1024)}}
    assert api.post(path, large).status == 413
    assert api.post(path, b'{"a":' * 5000 + b"1" + b"}" * 5000).status == 400
    big = {"metadata": {"name": "big"}, "data": {"a": "x" * (1024 * 1024 + 1)}}
    assert "Too long: may not be more than 1048576 bytes" in api.post(path, big).json["message"]


def test_paths_that_are_not_there(api: LabApi) -> None:
    assert api.get("/api/v1/nothing").status == 404
    assert api.get("/apis/none.example.com/v1/things").status == 404
    assert api.post("/api/v1/pods", pod("p")).status == 405
    assert api.request("BREW", "/api/v1/pods").status in (400, 403, 404, 405)


# --- events ---


def test_events_have_two_faces(api: LabApi) -> None:
    api.namespace("happenings")
    core, group = (
        "/api/v1/namespaces/happenings/events",
        "/apis/events.k8s.io/v1/namespaces/happenings/events",
    )
    body = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test",
        "reportingInstance": "one",
        "action": "Did",
        "reason": "Because",
        "type": "Normal",
        "note": "something happened",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "happenings"},
    }
    made = api.create(group, body)
    assert (made["note"], made["regarding"]["name"]) == ("something happened", "p")
    seen = api.get(f"{core}/e").json
    assert (seen["message"], seen["involvedObject"]["name"]) == ("something happened", "p")
    found = api.get(f"{core}?fieldSelector=involvedObject.name%3Dp").json["items"]
    assert [item["metadata"]["name"] for item in found] == ["e"]
    patched = api.merge(
        f"{group}/e", {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    )
    assert patched.json["series"]["count"] == 2
    cells = api.get(core, headers=TABLE).json["rows"][0]["cells"]
    assert cells[1:4] == ["Normal", "Because", "pod/p"]
    api.delete(f"{core}/e")
    assert api.get(f"{group}/e").status == 404


def test_pods_of_a_node_that_has_gone(api: LabApi) -> None:
    path = api.namespace("stranded") + "/pods"
    api.create("/api/v1/nodes", node("n9"))
    api.create(path, pod("p", nodeName="n9"))
    api.delete("/api/v1/nodes/n9")
    eventually(lambda: api.get(f"{path}/p").status == 404, seconds=15)


def test_a_deleted_pod_of_a_node_that_was_never_there(api: LabApi) -> None:
    path = api.namespace("no-such-node") + "/pods"
    api.create(path, pod("p", nodeName="never"))
    assert api.delete(f"{path}/p").status == 200
    assert api.get(f"{path}/p").json["metadata"]["deletionGracePeriodSeconds"] == 30
    eventually(lambda: api.get(f"{path}/p").status == 404, seconds=15)


def test_the_scheduler_tells_what_it_does(api: LabApi) -> None:
    where = api.namespace("told")
    api.create(f"{where}/pods", pod("placed"))
    api.create(f"{where}/pods", pod("lost", nodeSelector={"no": "where"}))

    def told(name: str) -> list[tuple[str, str, str]]:
        found = api.get(f"{where}/events?fieldSelector=involvedObject.name%3D{name}").json["items"]
        assert all(event["reportingComponent"] == "default-scheduler" for event in found)
        return [(event["type"], event["reason"], event["message"]) for event in found]

    (event,) = eventually(lambda: told("placed"))
    assert event[:2] == ("Normal", "Scheduled")
    assert event[2].startswith("Successfully assigned told/placed to n")
    (event,) = eventually(lambda: told("lost"))
    assert event[:2] == ("Warning", "FailedScheduling")
    assert "nodes are available" in event[2]

    api.create("/api/v1/nodes", node("n8"))  # told again, in the same event
    item = f"{where}/events?fieldSelector=involvedObject.name%3Dlost"
    eventually(lambda: "didn't match" in api.get(item).json["items"][-1]["message"])
    api.merge("/api/v1/nodes/n8", {"metadata": {"labels": {"a": "b"}}})
    eventually(lambda: any(e.get("series", {}).get("count", 0) >= 2 for e in api.get(item).json["items"]))
    api.delete("/api/v1/nodes/n8")
