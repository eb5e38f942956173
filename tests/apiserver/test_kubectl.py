"""The ordinary kubectl against the machinery: what people type."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apiserver.listener import Listener
from tests.apiserver.cluster import make_cluster

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  containers:
  - {name: one, image: i1, env: [{name: A, value: "1"}, {name: B, value: "2"}]}
  - {name: two, image: i2, ports: [{containerPort: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80, name: http}, {port: 443, name: https}]}
"""


class Kubectl:
    def __init__(self, url: str, home: Path) -> None:
        self._base = ["kubectl", f"--server={url}", f"--cache-dir={home / 'cache'}"]
        self._env = {**os.environ, "HOME": str(home), "KUBECONFIG": str(home / "none"), "KUBE_EDITOR": "true"}

    async def __call__(self, *words: str, stdin: str = "", fails: bool = False, editor: str = "") -> str:
        env = self._env | ({"KUBE_EDITOR": editor} if editor else {})
        process = await asyncio.create_subprocess_exec(
            *self._base,
            *words,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert (process.returncode != 0) is fails, (words, out.decode(), err.decode())
        return (err if fails else out).decode()


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    server, _ = make_cluster()
    listener = Listener(server)
    host, port = await listener.listen("127.0.0.1", 0)
    yield Kubectl(f"http://{host}:{port}", tmp_path)
    await listener.close(grace=1)


async def test_create_get_label_delete(kubectl: Kubectl) -> None:
    assert "namespace/shop created" in await kubectl("create", "namespace", "shop")
    assert "configmap/c created" in await kubectl(
        "create", "configmap", "c", "-n", "shop", "--from-literal=a=b"
    )
    assert "NotFound" in await kubectl("get", "cm", "none", "-n", "shop", fails=True)
    assert "AlreadyExists" in await kubectl("create", "ns", "shop", fails=True)
    await kubectl("label", "ns", "shop", "team=a")
    await kubectl("annotate", "ns", "shop", "note=x")
    assert (await kubectl("get", "ns", "-l", "team=a", "-o", "name")).split() == ["namespace/shop"]
    table = (await kubectl("get", "cm", "-A")).splitlines()
    assert table[0].split() == ["NAMESPACE", "NAME", "CREATED", "AT"]
    assert "shop" in await kubectl("describe", "ns", "shop")
    assert await kubectl("get", "cm", "c", "-n", "shop", "-o", "jsonpath={.data.a}") == "b"
    await kubectl("run", "p", "--image=i", "-n", "shop", "--env=A=B")
    assert 'configmap "c" deleted' in await kubectl("delete", "cm", "c", "-n", "shop")
    assert 'pod "p" deleted' in await kubectl("delete", "pod", "p", "-n", "shop", "--wait=true")
    assert "deleted" in await kubectl("delete", "ns", "shop")


async def test_apply_is_three_way(kubectl: Kubectl) -> None:
    created = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert created.splitlines() == ["namespace/shop created", "pod/web created", "service/web created"]
    again = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert [line.split()[-1] for line in again.splitlines()] == ["unchanged"] * 3
    # Somebody else adds; the next manifest changes, adds and removes.
    await kubectl("label", "pod", "web", "-n", "shop", "other=stays")
    changed = (
        MANIFEST.replace('{name: B, value: "2"}', '{name: C, value: "3"}')
        .replace("{name: two, image: i2, ports", "{name: three, image: i3, ports")
        .replace(", {port: 443, name: https}", "")
    )
    assert "pod/web configured" in await kubectl("apply", "-f", "-", stdin=changed)
    pod = json.loads(await kubectl("get", "pod", "web", "-n", "shop", "-o", "json"))
    assert [(c["name"], c["image"]) for c in pod["spec"]["containers"]] == [("one", "i1"), ("three", "i3")]
    assert [e["name"] for e in pod["spec"]["containers"][0]["env"]] == ["A", "C"]
    assert pod["metadata"]["labels"] == {"other": "stays"}
    service = json.loads(await kubectl("get", "service", "web", "-n", "shop", "-o", "json"))
    assert [port["port"] for port in service["spec"]["ports"]] == [80]
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=changed)
    await kubectl("diff", "-f", "-", stdin=changed)


async def test_server_side_apply(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    smaller = MANIFEST.replace(', env: [{name: A, value: "1"}, {name: B, value: "2"}]', "")
    await kubectl("apply", "--server-side", "-f", "-", stdin=smaller)
    pod = json.loads(await kubectl("get", "pod", "web", "-n", "shop", "-o", "json"))
    assert pod["spec"]["containers"][0] == {"name": "one", "image": "i1"}
    other = smaller.replace("image: i1", "image: mine")
    refused = await kubectl(
        "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, fails=True
    )
    assert 'conflict with "kubectl"' in refused
    await kubectl(
        "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other
    )


async def test_unknown_fields_and_custom_kinds(kubectl: Kubectl) -> None:
    bad = MANIFEST.replace("image: i1", "imagine: i1")
    refused = await kubectl("apply", "-f", "-", stdin=bad, fails=True)
    assert 'unknown field "spec.containers[0].imagine"' in refused
    widget = (
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\nspec: {size: 2}\n"
    )
    assert "widget.example.com/w created" in await kubectl("apply", "-f", "-", stdin=widget)
    larger = widget.replace("size: 2", "size: 3, grace: 1")
    assert "configured" in await kubectl("apply", "-f", "-", stdin=larger)
    await kubectl("patch", "widget", "w", "-n", "shop", "--type=merge", "-p", '{"spec":{"size":5}}')
    await kubectl(
        "patch", "widget", "w", "-n", "shop", "--type=json", "-p", '[{"op":"remove","path":"/spec/grace"}]'
    )
    assert await kubectl("get", "widget", "w", "-n", "shop", "-o", "jsonpath={.spec}") == '{"size":5}'
    editor = "sed -i s/size:.5/size:\\ 7/"
    assert "edited" in await kubectl("edit", "widget", "w", "-n", "shop", editor=editor)
    assert await kubectl("get", "widget", "w", "-n", "shop", "-o", "jsonpath={.spec.size}") == "7"
    assert "must be positive" in await kubectl(
        "patch", "widget", "w", "-n", "shop", "--type=merge", "-p", '{"spec":{"size":0}}', fails=True
    )


async def test_lists_are_checked_and_applied(kubectl: Kubectl) -> None:
    await kubectl("create", "ns", "shop")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": [service]})
    assert "service/web created" in await kubectl("apply", "-f", "-", stdin=everything)
    exported = await kubectl("get", "service", "-n", "shop", "-o", "yaml")
    assert "service/web configured" in await kubectl("apply", "-f", "-", stdin=exported)
    refused = await kubectl("apply", "-f", "-", stdin=everything.replace('"port"', '"prot"'), fails=True)
    assert 'unknown field "prot"' in refused


async def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    explained = await kubectl("explain", "pod.spec.containers.env")
    assert "name\t<string> -required-" in explained
    assert "size\t<integer>" in await kubectl("explain", "widget.spec")
    names = await kubectl("api-resources", "--namespaced=true", "-o", "name")
    assert set(names.split()) == {"configmaps", "pods", "services", "widgets.example.com"}
    assert "example.com/v1" in await kubectl("api-versions")


async def test_get_watch(kubectl: Kubectl) -> None:
    await kubectl("create", "ns", "shop")

    async def actions() -> None:
        await asyncio.sleep(1.0)
        await kubectl("create", "cm", "c", "-n", "shop")
        await kubectl("label", "cm", "c", "-n", "shop", "a=b")
        await kubectl("delete", "cm", "c", "-n", "shop")

    task = asyncio.create_task(actions())
    seen = await kubectl("get", "cm", "-A", "--watch", "--output-watch-events", "--request-timeout=4s")
    await task
    rows = [line.split()[:3] for line in seen.splitlines() if line.split()[:1] != ["EVENT"]]
    assert rows == [[event, "shop", "c"] for event in ("ADDED", "MODIFIED", "DELETED")]
    waiting = asyncio.create_task(kubectl("wait", "--for=create", "cm/late", "-n", "shop", "--timeout=20s"))
    await asyncio.sleep(0.5)
    await kubectl("create", "cm", "late", "-n", "shop")
    assert "condition met" in await waiting
