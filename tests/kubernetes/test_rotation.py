"""A new serving certificate in a real cluster: nobody notices."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from apiserver.certificates import create_authority, issue
from client.controller import ControllerLocator
from client.endpoint import Endpoint, bearer, tls_context
from client.errors import ApiError, ConnectionFailed
from client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CP_ADDRESS_GROUPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    SECRETS,
    VALIDATING_WEBHOOKS,
)
from client.rest import RestClient
from client.watch import watch
from controller.rotation import contains, split
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.published import LABELS, webhook

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

OUR_API_SERVICES = ("v1beta2.controlplane.antrea.io", "v1alpha1.stats.antrea.io", "v1beta1.system.antrea.io")
SECRET = SECRETS.path("antrea-controller-tls", "kube-system")
CA = CONFIG_MAPS.path("antrea-ca", "kube-system")


@pytest_asyncio.fixture
async def plane(cluster: Cluster, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path, cluster) as started:
        cluster.kubectl(
            "wait", "apiservice", *OUR_API_SERVICES, "--for=condition=Available", "--timeout=60s",
        )  # fmt: skip
        await eventually(lambda: started.kube.get(CP_ADDRESS_GROUPS.path()), "the groups are listed")
        yield started


async def served(plane: ControlPlane) -> bytes:
    """The certificate that the controller presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", plane.controller_port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(certificate).encode()


async def bundles(plane: ControlPlane) -> dict[str, bytes]:
    """What is published, by place."""
    found = {"antrea-ca": (await plane.json(CA))["data"]["ca.crt"].encode()}
    for name in OUR_API_SERVICES:
        document = await plane.json(API_SERVICES.path(name))
        found[name] = base64.b64decode(document["spec"].get("caBundle") or "")
    labels = ",".join(f"{key}={value}" for key, value in LABELS.items())
    for document in (await plane.json(VALIDATING_WEBHOOKS.path(), labelSelector=labels))["items"]:
        for hook in document["webhooks"]:
            found[hook["name"]] = base64.b64decode(hook["clientConfig"].get("caBundle") or "")
    for document in (await plane.json(CUSTOM_RESOURCE_DEFINITIONS.path(), labelSelector=labels))["items"]:
        conversion = document["spec"].get("conversion", {})
        if conversion.get("strategy") == "Webhook":
            bundle = conversion["webhook"]["clientConfig"].get("caBundle") or ""
            found[document["metadata"]["name"]] = base64.b64decode(bundle)
    return found


async def everywhere(plane: ControlPlane, certificate: bytes) -> bool:
    return all(contains(bundle, [certificate]) for bundle in (await bundles(plane)).values())


async def rotated(plane: ControlPlane, before: bytes) -> bytes:
    """Waits until another certificate is served; at every look, everything published vouches for it."""

    async def other() -> bytes | None:
        # First what is served, then what is published: the other order could miss a step in between.
        present = await served(plane)
        for place, bundle in (await bundles(plane)).items():
            assert contains(bundle, [present]), f"{place} does not hold the certificate that is served"
        return present if present != before else None

    return bytes(await eventually(other, "another certificate is served"))


class Load:
    """Asks again and again, the way that users do, and counts what went wrong."""

    def __init__(self, plane: ControlPlane, cluster: Cluster) -> None:
        self.plane, self.cluster = plane, cluster
        self.failures: list[str] = []
        self.counts = {"kubectl": 0, "aggregated": 0, "direct": 0}
        self.ended_watches: list[str] = []

    async def kubectl(self) -> None:
        while True:
            done = await asyncio.to_thread(
                self.cluster.kubectl, "get", "addressgroups.controlplane.antrea.io", check=False
            )
            self.counts["kubectl"] += 1
            if done.returncode:
                self.failures.append(f"kubectl: {done.stderr}")

    async def aggregated(self) -> None:
        while True:
            with self._noted("aggregated"):
                await self.plane.kube.get(CP_ADDRESS_GROUPS.path())
            await asyncio.sleep(0.02)

    async def direct(self) -> None:
        """As an agent: finds the controller, connects, asks, leaves."""
        token = (self.plane.run_dir / "apiserver" / "loopback-client-token").read_text()
        address = f"127.0.0.1:{self.plane.controller_port}"
        locator = ControllerLocator(self.plane.kube, bearer(token), override=address)
        while True:
            with self._noted("direct"):
                async with RestClient(await locator.locate()) as client:
                    await client.get(CP_ADDRESS_GROUPS.path())
            await asyncio.sleep(0.02)

    async def watching(self, name: str, client: RestClient) -> None:
        with suppress(ApiError, ConnectionFailed):
            async for _ in watch(client, CP_ADDRESS_GROUPS.path(), {"watch": "1"}):
                pass
        self.ended_watches.append(name)

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        self.counts[what] += 1
        try:
            yield
        except (ApiError, ConnectionFailed) as error:
            self.failures.append(f"{what}: {error}")


@asynccontextmanager
async def load(plane: ControlPlane, cluster: Cluster) -> AsyncIterator[Load]:
    made = Load(plane, cluster)
    token = (plane.run_dir / "apiserver" / "loopback-client-token").read_text()
    url = f"https://127.0.0.1:{plane.controller_port}"
    async with RestClient(Endpoint(url, tls_context(insecure=True), headers=bearer(token))) as client:
        loops = [made.kubectl(), made.aggregated(), made.direct()]
        loops += [made.watching(f"direct {i}", client) for i in range(5)]
        loops += [made.watching(f"aggregated {i}", plane.kube) for i in range(5)]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_five_rotations_disturb_nobody(plane: ControlPlane, cluster: Cluster) -> None:
    await plane.create(webhook("labelled", LABELS))
    certificate = await served(plane)
    await eventually(lambda: everywhere(plane, certificate), "the certificate is published everywhere")
    async with load(plane, cluster) as users:
        for _ in range(5):
            plane.signal("controller", signal.SIGHUP)
            certificate = await rotated(plane, certificate)
        print(f"five rotations: {users.counts}")
    assert users.failures == []
    assert users.ended_watches == []
    assert min(users.counts.values()) >= 10
    assert cluster.forbidden("system:serviceaccount:kube-system:antrea-controller") == []


async def test_a_controller_that_dies_in_the_middle_goes_on_where_it_was(
    plane: ControlPlane, cluster: Cluster
) -> None:
    before = await served(plane)
    plane.signal("controller", signal.SIGHUP)

    async def prepared() -> bytes:
        return base64.b64decode((await plane.json(SECRET))["data"].get("next.crt", ""))

    coming = bytes(await eventually(prepared, "the next certificate is in the Secret"))
    await plane.kill("controller")
    assert await prepared() == coming
    await plane.start_controller()
    assert await served(plane) == before
    assert await rotated(plane, before) == split(coming)[0]
    data = (await plane.json(SECRET))["data"]
    assert base64.b64decode(data["tls.crt"]) == coming
    assert split(before)[0] in base64.b64decode(data["previous.crt"])
    assert "next.key" not in data


async def test_two_replicas_share_one_certificate_and_rotate_as_one(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    first, second = ControlPlane(tmp_path, cluster), ControlPlane(tmp_path / "second", cluster)
    try:
        for plane in (first, second):
            await plane.start_api()
        await first.bootstrap()
        await asyncio.gather(first.start_controller(), second.start_controller())
        certificate = await eventually(lambda: same(first, second), "both serve one certificate")
        secret = base64.b64decode((await first.json(SECRET))["data"]["tls.crt"])
        assert split(secret)[0] == certificate
        await eventually(lambda: first.kube.get(CP_ADDRESS_GROUPS.path()), "the groups are listed")

        for plane in (first, second):  # at once: only one of them makes another certificate
            plane.signal("controller", signal.SIGHUP)
        following = await rotated(first, certificate)
        assert await rotated(second, certificate) == following

        await first.kube.delete(SECRET)
        back = await eventually(lambda: first.json(SECRET), "the Secret is back")
        assert split(base64.b64decode(back["data"]["tls.crt"]))[0] == following
    finally:
        await first.end()
        await second.end()


async def same(first: ControlPlane, second: ControlPlane) -> bytes | None:
    one, other = await served(first), await served(second)
    return one if one == other else None


async def test_a_certificate_that_somebody_else_puts_into_the_secret_is_adopted(
    plane: ControlPlane, cluster: Cluster
) -> None:
    before = await served(plane)
    theirs = issue(create_authority("theirs"), "theirs", names=["antrea.kube-system.svc"])
    data = {"tls.crt": theirs.certificate, "tls.key": theirs.key}
    encoded: dict[str, Any] = {key: base64.b64encode(value).decode() for key, value in data.items()}
    await plane.kube.patch(SECRET, {"data": encoded})
    assert await rotated(plane, before) == split(theirs.certificate)[0]
    await eventually(lambda: plane.kube.get(CP_ADDRESS_GROUPS.path()), "aggregation trusts it")
    listed = cluster.kubectl("get", "addressgroups.controlplane.antrea.io", "-o", "json").stdout
    assert json.loads(listed)["items"] == []
