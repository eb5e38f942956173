"""Requests, errors and credentials over real HTTP and TLS."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from apiserver.certificates import ServingTLS, create_authority, issue
from client import kubeconfig, kubernetes_asyncio_light
from client.controller import ControllerLocator
from client.endpoint import Endpoint, TokenFile, no_headers, tls_context
from client.errors import ApiError, ConnectionFailed
from client.rest import MERGE_PATCH, RestClient
from runtime.errors import ConfigurationError
from tests.client.kubernetes_api import ScriptedApi, serving


async def test_requests_carry_body_query_and_content_type() -> None:
    async with serving(ScriptedApi()) as client:
        answer = (await client.request("GET", "/echo", query={"a": "b c", "n": 5, "yes": True})).json()
        assert answer["query"] == {"a": "b c", "n": "5", "yes": "true"}
        answer = json.loads(await client.patch("/echo", {"x": [1]}))
        assert (answer["method"], answer["body"]) == ("PATCH", '{"x":[1]}')
        assert answer["headers"]["Content-Type"] == MERGE_PATCH


async def test_errors_carry_status_reason_and_message() -> None:
    api = ScriptedApi()
    api.list_failures = [409]
    async with serving(api) as client:
        with pytest.raises(ApiError) as refused:
            await client.get("/api/v1/things")
        assert (refused.value.status, refused.value.message) == (409, "not now")
        with pytest.raises(ApiError) as missing:
            await client.get("/nowhere")
        assert missing.value.status == 404


async def test_no_answer_is_a_failed_connection() -> None:
    async with RestClient(Endpoint("http://127.0.0.1:1")) as client:
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:1"):
            await client.get("/x")


@pytest.mark.parametrize(
    "rubbish", [b"", b"\x00\xff" * 50, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"]
)
async def test_rubbish_is_a_failed_connection(rubbish: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(rubbish)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RestClient(Endpoint(f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(ConnectionFailed):
            await client.get("/x")


class Secured:
    """A TLS server that says whom it believes to be talking to; its name is antrea.kube-system.svc."""

    def __init__(self) -> None:
        self.authority = create_authority("test-ca")
        pair = issue(self.authority, "server", names=["antrea.kube-system.svc", "127.0.0.1"])
        self.tls = ServingTLS(pair, self.authority.certificate)
        self.port = 0
        self.ca_in_config_map = self.authority.certificate

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peercert")
        if request.path.endswith("configmaps/antrea-ca"):
            return web.json_response({"data": {"ca.crt": self.ca_in_config_map.decode()}})
        if request.path.endswith("endpointslices"):
            endpoint = {"addresses": ["127.0.0.1"], "conditions": {"ready": True}}
            away = {"addresses": ["192.0.2.1"], "conditions": {"ready": False}}
            return web.json_response(
                {"items": [{"endpoints": [away, endpoint], "ports": [{"port": self.port}]}]}
            )
        names = [
            value for part in (peer or {}).get("subject", ()) for key, value in part if key == "commonName"
        ]
        return web.json_response({"authorization": request.headers.get("Authorization"), "client": names})

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest_asyncio.fixture
async def secured() -> AsyncIterator[Secured]:
    made = Secured()
    runner = web.ServerRunner(web.Server(made.handle))  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=made.tls.context)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def write_kubeconfig(path: Path, server: Secured, user: dict[str, object], **cluster: object) -> Path:
    ca = base64.b64encode(server.authority.certificate).decode()
    known = {"server": server.url, "certificate-authority-data": ca, **cluster}
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {key: value for key, value in known.items() if value is not None}}
        ],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def users(secured: Secured, directory: Path) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Kubeconfig users, and what the server must see of them."""
    pair = issue(secured.authority, "alice", client=True)
    (directory / "token").write_text("from-a-file\n")
    (directory / "alice.crt").write_bytes(pair.certificate)
    (directory / "alice.key").write_bytes(pair.key)
    inline = {
        "client-certificate-data": base64.b64encode(pair.certificate).decode(),
        "client-key-data": base64.b64encode(pair.key).decode(),
    }
    files = {"client-certificate": str(directory / "alice.crt"), "client-key": str(directory / "alice.key")}
    return [
        ({"token": "secret"}, {"authorization": "Bearer secret", "client": []}),
        ({"tokenFile": str(directory / "token")}, {"authorization": "Bearer from-a-file", "client": []}),
        (inline, {"authorization": None, "client": ["alice"]}),
        (files, {"authorization": None, "client": ["alice"]}),
    ]


async def test_kubeconfigs_authenticate_alike_in_both_loaders(secured: Secured, tmp_path: Path) -> None:
    for user, seen in users(secured, tmp_path):
        path = str(write_kubeconfig(tmp_path / "config", secured, user))
        for endpoint in (await kubeconfig.load(path), await kubernetes_asyncio_light.load(path)):
            async with RestClient(endpoint) as client:
                assert (await client.request("GET", "/whoami")).json() == seen


async def test_an_exec_plugin_gives_the_token(secured: Secured, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-a-plugin"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o700)
    spec = {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
    path = write_kubeconfig(tmp_path / "config", secured, {"exec": spec})
    async with RestClient(await kubeconfig.load(str(path))) as client:
        answer = (await client.request("GET", "/whoami")).json()
    assert answer["authorization"] == "Bearer from-a-plugin"


async def test_the_certificate_is_checked_unless_told_otherwise(secured: Secured, tmp_path: Path) -> None:
    other = base64.b64encode(create_authority("other").certificate).decode()
    path = write_kubeconfig(tmp_path / "a", secured, {}, **{"certificate-authority-data": other})
    async with RestClient(await kubeconfig.load(str(path))) as client:
        with pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
            await client.get("/x")
    insecure = {"insecure-skip-tls-verify": True, "certificate-authority-data": None}
    path = write_kubeconfig(tmp_path / "b", secured, {}, **insecure)
    async with RestClient(await kubeconfig.load(str(path))) as client:
        assert await client.get("/x")


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ("[1]", "not a mapping"),
        ("a: [", "YAML"),
        ("{}", "current-context"),
        ("{current-context: c, contexts: []}", "no context named 'c'"),
        ("{current-context: c, contexts: [{name: c, context: {cluster: k}}]}", "no cluster named 'k'"),
        (
            "{current-context: c, contexts: [{name: c, context: {cluster: k}}], "
            "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: '%'}}]}",
            "certificate-authority",
        ),
        (
            "{current-context: c, contexts: [{name: c, context: {cluster: k}}], "
            "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: YWJj}}]}",
            "no certificate",
        ),
    ],
)
async def test_a_bad_kubeconfig_is_explained(document: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(document)
    with pytest.raises(ConfigurationError, match=word) as refused:
        await kubeconfig.load(str(path))
    assert str(path) in str(refused.value)


async def test_a_pod_uses_its_service_account(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_bytes(secured.authority.certificate)
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(secured.port))
    async with RestClient(kubeconfig.in_cluster(directory=tmp_path)) as client:
        assert (await client.request("GET", "/x")).json()["authorization"] == "Bearer of-the-pod"
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ConfigurationError, match="this is no Pod"):
        await kubeconfig.load(None)
    with pytest.raises(ConfigurationError, match="service account"):
        await kubernetes_asyncio_light.load(None)


async def test_token_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    headers = TokenFile(path)
    assert await headers() == {"Authorization": "Bearer one"}
    path.write_text("two")
    assert await headers() == {"Authorization": "Bearer one"}, "a minute has not passed"
    monkeypatch.setattr("client.endpoint.TOKEN_RELOAD_SECONDS", -1)
    assert await headers() == {"Authorization": "Bearer two"}
    path.unlink()
    assert await headers() == {"Authorization": "Bearer two"}, "the one in hand is kept"


async def test_the_controller_is_found_by_its_service_and_checked_by_its_name(secured: Secured) -> None:
    kube = RestClient(Endpoint(secured.url, tls_context(ca_data=secured.authority.certificate)))
    async with kube:
        locator = ControllerLocator(kube, no_headers)
        endpoint = await locator.locate()
        assert (endpoint.url, endpoint.server_name) == (secured.url, "antrea.kube-system.svc")
        async with RestClient(endpoint) as client:
            assert await client.get("/x")
        # A rotated CA is taken over with the next look-up.
        secured.ca_in_config_map = create_authority("next").certificate
        async with RestClient(await locator.locate()) as client:
            with pytest.raises(ConnectionFailed):
                await client.get("/x")


async def test_the_last_answer_stands_when_the_api_cannot_be_asked(secured: Secured) -> None:
    async with RestClient(Endpoint(secured.url, tls_context(ca_data=secured.authority.certificate))) as kube:
        locator = ControllerLocator(kube, no_headers)
        first = await locator.locate()
        kube.endpoint.url = "https://127.0.0.1:1"
        assert (await locator.locate()).url == first.url
        with pytest.raises(ConnectionFailed, match="antrea-ca"):
            await ControllerLocator(kube, no_headers).locate()


def test_the_light_import_loads_no_models() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from client import kubernetes_asyncio_light as k; k.modules();"
        "assert not any(n.startswith('kubernetes_asyncio.client.models.') for n in sys.modules);"
        "import kubernetes_asyncio.client as c; assert c.V1Pod and c.ApiClient and c.CoreV1Api"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
