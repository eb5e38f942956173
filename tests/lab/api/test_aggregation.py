"""Aggregated servers behind APIServices: who is called, as whom, over which TLS; what when nobody answers."""

from __future__ import annotations

import asyncio
import base64
import json
import pathlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from lab.api.pki import Authority
from tests.lab.api.process import LabApi, eventually

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "far.example.com/v1",
    "resources": [
        {
            "name": "stars",
            "singularName": "star",
            "namespaced": False,
            "kind": "Star",
            "verbs": ["get", "list", "watch"],
        },
        {"name": "stars/status", "singularName": "", "namespaced": False, "kind": "Star", "verbs": ["get"]},
    ],
}

DESCRIPTIONS = {
    "apis/far.example.com/v1": {"serverRelativeURL": "/openapi/v3/apis/far.example.com/v1?hash=1"},
    "apis/networking.k8s.io/v1": {"serverRelativeURL": "/openapi/v3/apis/networking.k8s.io/v1?hash=far"},
}


@dataclass
class FarServer:
    """An extension API server in a thread: demands the front proxy's certificate, tells what it was asked."""

    folder: pathlib.Path
    front_proxy_ca: bytes
    name: str = "far.default.svc"
    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority.ensure(self.folder, "far-ca", "far-ca")
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def stop(self) -> None:
        """Closes the socket and every connection."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
            self.freeze()

    def freeze(self) -> None:
        """Stays there, but answers no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        certificate, key = self.authority.issue("far", names=[self.name], server=True)
        pair = self.folder / "far.pem"
        pair.write_bytes(certificate + key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair)
        tls.load_verify_locations(cadata=self.front_proxy_ca.decode())
        tls.verify_mode = ssl.CERT_REQUIRED

        async def serve() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(app, shutdown_timeout=0.1)
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self._started.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/apis/far.example.com/v1":
            return web.json_response(RESOURCES)
        if request.path == "/openapi/v3":
            return web.json_response({"paths": DESCRIPTIONS})
        body = await request.read()
        self.seen.append(
            {
                "path": request.path_qs,
                "method": request.method,
                "headers": request.headers.copy(),
                "body": body,
            }
        )
        if request.query.get("watch"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for i in range(1000):
                await response.write(json.dumps({"type": "ADDED", "object": {"n": i}}).encode() + b"\n")
                await asyncio.sleep(0.05)
            return response
        if request.path.endswith("/missing"):
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.json_response({"kind": "StarList", "apiVersion": "far.example.com/v1", "items": []})


@pytest.fixture
def far(api: LabApi, tmp_path: pathlib.Path) -> Iterator[FarServer]:
    """A server with its Service and APIService, available."""
    server = FarServer(tmp_path / "far", (api.state / "pki" / "front-proxy-ca.crt").read_bytes())
    server.start()
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": server.port}]}
    api.create("/api/v1/namespaces/default/services", {"metadata": {"name": "far"}, "spec": spec})
    api.create(SERVICES, api_service(server.port, server.authority.pem))
    eventually(lambda: available(api)[0] == "True", str(available(api)))
    yield server
    api.delete(f"{SERVICES}/v1.far.example.com")
    api.delete("/api/v1/namespaces/default/services/far")
    server.stop()


def api_service(port: int, bundle: bytes) -> dict[str, Any]:
    return {
        "metadata": {"name": "v1.far.example.com"},
        "spec": {
            "group": "far.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": "far", "namespace": "default", "port": port},
            "caBundle": base64.b64encode(bundle).decode(),
        },
    }


def available(api: LabApi) -> tuple[str, str]:
    conditions = api.get(f"{SERVICES}/v1.far.example.com").json.get("status", {}).get("conditions", [])
    found = next((c for c in conditions if c["type"] == "Available"), {})
    return found.get("status", ""), found.get("reason", "")


def test_requests_arrive_with_the_user_and_without_credentials(api: LabApi, far: FarServer) -> None:
    headers = {"X-Remote-User": "forged", "X-Remote-Group": "system:masters", "X-Test": "kept"}
    assert api.get("/apis/far.example.com/v1/stars?labelSelector=a%3Db", headers=headers).status == 200
    seen = far.seen[-1]
    assert seen["path"] == "/apis/far.example.com/v1/stars?labelSelector=a%3Db"
    got = seen["headers"]
    assert got.getall("X-Remote-User") == ["kubernetes-admin"]
    assert got.getall("X-Remote-Group") == ["system:masters", "system:authenticated"]
    assert "Authorization" not in got
    assert got["X-Test"] == "kept"


def test_bodies_and_statuses_pass(api: LabApi, far: FarServer) -> None:
    body = {"kind": "Star", "apiVersion": "far.example.com/v1", "metadata": {"name": "s"}, "x": "y" * 100_000}
    assert api.post("/apis/far.example.com/v1/stars", body).status == 200
    assert json.loads(far.seen[-1]["body"]) == body
    assert far.seen[-1]["headers"]["Content-Type"] == "application/json"
    assert api.get("/apis/far.example.com/v1/stars/missing").status == 404


def test_watches_stream(api: LabApi, far: FarServer) -> None:
    events = api.watch("/apis/far.example.com/v1/stars?watch=1", 3)
    assert [obj["n"] for _, obj in events] == [0, 1, 2]


def test_permissions_are_checked_before(api: LabApi, far: FarServer) -> None:
    before = len(far.seen)
    refused = api.get("/apis/far.example.com/v1/stars", headers={"Impersonate-User": "nobody"})
    assert refused.status == 403
    assert len(far.seen) == before


def test_discovery_tells_of_it(api: LabApi, far: FarServer) -> None:
    groups = {g["name"]: g for g in api.get("/apis").json["groups"]}
    assert groups["far.example.com"]["preferredVersion"]["groupVersion"] == "far.example.com/v1"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = api.get("/apis", headers={"Accept": accept}).json["items"]
    found = next(item for item in items if item["metadata"]["name"] == "far.example.com")
    assert found["versions"][0]["freshness"] == "Current"
    star = found["versions"][0]["resources"][0]
    assert (star["resource"], star["scope"], star["responseKind"]["kind"]) == ("stars", "Cluster", "Star")
    assert [sub["subresource"] for sub in star["subresources"]] == ["status"]
    assert api.get("/apis/far.example.com/v1").json == RESOURCES


def test_groups_are_listed_in_the_order_of_their_priorities(api: LabApi, far: FarServer) -> None:
    """As kube-apiserver 1.34 lists them: a name that two groups have means Kubernetes' own resource."""
    names = {"plural": "networkpolicies", "singular": "networkpolicy", "kind": "NetworkPolicy"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    definition = {
        "metadata": {"name": "networkpolicies.a.example.com"},
        "spec": {
            "group": "a.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    expected = [
        "apiregistration.k8s.io", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
        "networking.k8s.io", "rbac.authorization.k8s.io", "admissionregistration.k8s.io",
        "apiextensions.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "a.example.com", "far.example.com",
    ]  # fmt: skip

    def listed() -> list[str]:
        return [group["name"] for group in api.get("/apis").json["groups"]]

    eventually(lambda: listed() == expected)
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = api.get("/apis", headers={"Accept": accept}).json["items"]
    assert [item["metadata"]["name"] for item in items] == expected
    api.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/networkpolicies.a.example.com")


def test_the_index_of_descriptions_names_its_groups_and_no_others(api: LabApi, far: FarServer) -> None:
    paths = api.get("/openapi/v3").json["paths"]
    assert paths["apis/far.example.com/v1"] == DESCRIPTIONS["apis/far.example.com/v1"]
    assert not paths["apis/networking.k8s.io/v1"]["serverRelativeURL"].endswith("hash=far")
    far.freeze()
    answer = api.get("/openapi/v3").json["paths"]
    assert "apis/networking.k8s.io/v1" in answer
    assert "apis/far.example.com/v1" not in answer


def test_a_server_that_has_gone(api: LabApi, far: FarServer) -> None:
    far.stop()
    eventually(lambda: api.get("/apis/far.example.com/v1/stars").status == 503)
    answer = api.get("/apis/far.example.com/v1/stars")
    assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
    assert "v1.far.example.com" in answer.json["message"]
    eventually(lambda: available(api) == ("False", "FailedDiscoveryCheck"))
    far.__post_init__()
    far.start()
    spec = {"service": {"port": far.port}, "caBundle": base64.b64encode(far.authority.pem).decode()}
    api.merge(f"{SERVICES}/v1.far.example.com", {"spec": spec})
    eventually(lambda: available(api)[0] == "True")
    assert api.get("/apis/far.example.com/v1/stars").status == 200


def test_a_server_that_hangs_holds_up_nobody_for_long(api: LabApi, far: FarServer) -> None:
    far.freeze()
    api.merge(f"{SERVICES}/v1.far.example.com", {"spec": {"versionPriority": 99}})  # asks it again
    eventually(lambda: available(api) == ("False", "FailedDiscoveryCheck"), seconds=15)
    assert api.get("/apis/far.example.com/v1/stars").status == 503
    assert api.get("/api/v1/namespaces").status == 200


@pytest.mark.parametrize("what", ["bundle", "service"])
def test_a_certificate_of_others_is_not_believed(api: LabApi, far: FarServer, what: str) -> None:
    """The server's certificate has to be of the caBundle, and for the Service's name."""
    if what == "bundle":
        other = Authority.ensure(far.folder, "other-ca", "other-ca")
        spec: dict[str, Any] = {"caBundle": base64.b64encode(other.pem).decode()}
    else:
        external = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": far.port}]}
        api.create("/api/v1/namespaces/default/services", {"metadata": {"name": "alias"}, "spec": external})
        spec = {"service": {"name": "alias"}}
    api.merge(f"{SERVICES}/v1.far.example.com", {"spec": spec})
    eventually(lambda: available(api) == ("False", "FailedDiscoveryCheck"))
    assert api.get("/apis/far.example.com/v1/stars").status == 503


def test_reasons_why_a_service_cannot_be_called(api: LabApi) -> None:
    body = api_service(443, Authority.ensure(api.state, "test-ca", "x").pem)
    body["metadata"]["name"] = "v1.near.example.com"
    body["spec"] |= {"group": "near.example.com", "service": {"name": "near", "namespace": "default"}}
    api.create(SERVICES, body)

    def reason() -> str:
        conditions = api.get(f"{SERVICES}/v1.near.example.com").json.get("status", {}).get("conditions", [])
        return str(conditions[0]["reason"]) if conditions else ""

    path = "/api/v1/namespaces/default"
    eventually(lambda: reason() == "ServiceNotFound")
    api.create(f"{path}/services", {"metadata": {"name": "near"}, "spec": {"ports": [{"port": 444}]}})
    eventually(lambda: reason() == "ServicePortError")
    api.merge(f"{path}/services/near", {"spec": {"ports": [{"port": 443}]}})
    eventually(lambda: reason() == "EndpointsNotFound")
    api.create(f"{path}/endpoints", {"metadata": {"name": "near"}})
    eventually(lambda: reason() == "MissingEndpoints")
    api.delete(f"{SERVICES}/v1.near.example.com")


def test_what_is_served_here_has_local_api_services(api: LabApi) -> None:
    listed = {item["metadata"]["name"]: item for item in api.get(SERVICES).json["items"]}
    for name in ("v1.", "v1.networking.k8s.io", "v1.rbac.authorization.k8s.io"):
        condition = listed[name]["status"]["conditions"][0]
        assert (condition["status"], condition["reason"]) == ("True", "Local")
