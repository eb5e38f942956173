"""Recorded requests of kube-apiserver to antrea-controller's webhooks, and a server to replay them on.

A recording (tests/data/admission) holds, per case, what differs from an ordinary review by an administrator:
``request`` (the fields of an AdmissionRequest) with the ``verdict`` (allowed, message, warnings, patch
decoded), or ``review``/``body`` with ``answer``/``text``. ``existing`` are the objects in the cluster, beside
the six built-in Tiers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from apiserver.listener import Listener
from apiserver.server import ApiServer
from client.endpoint import Endpoint
from client.rest import RestClient
from controller.admission.known import Known, Table
from controller.admission.registration import Circumstances, register
from controller.admission.tiers import BUILT_IN
from controller.admission.unbuilt import remark
from runtime.features import FeatureGates

DATA = Path(__file__).parents[2] / "data" / "admission"
ACCOUNT = "system:serviceaccount:kube-system:antrea-controller"
ADMINISTRATOR = {
    "username": "admin",
    "uid": "admin",
    "groups": ["system:masters", "system:authenticated"],
}
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
NOT_BUILT = re.compile(remark(r"\w+"))

Case = dict[str, Any]


def recording(name: str) -> dict[str, Any]:
    return msgspec.json.decode((DATA / f"{name}.json").read_bytes())  # type: ignore[no-any-return]


def cases(*names: str) -> list[Any]:
    """(recording's name, case) for parametrize, with readable ids."""
    return [
        pytest.param(name, case, id=f"{name}/{case['name']}")
        for name in names
        for case in recording(name)["cases"]
    ]


async def fill(table: Table[Any], documents: Sequence[dict[str, Any]]) -> None:
    """What a reflector does after its first list."""
    await table.input.list_started()
    await table.input.list_page([msgspec.Raw(msgspec.json.encode(document)) for document in documents])
    await table.input.list_finished()


async def fill_all(known: Known, existing: Sequence[dict[str, Any]]) -> None:
    built_in = [
        {
            "apiVersion": "crd.antrea.io/v1beta1",
            "kind": "Tier",
            "metadata": {"name": name},
            "spec": {"priority": priority},
        }
        for name, priority in BUILT_IN.items()
    ]
    for table in known.tables.values():
        await fill(
            table,
            [
                document
                for document in (*built_in, *existing)
                if document["kind"] == table.kind and document["apiVersion"] == table.resource.api_version
            ],
        )


class Webhooks:
    """The controller's webhooks on a socket of their own."""

    def __init__(
        self, server: ApiServer, known: Known, client: RestClient, session: aiohttp.ClientSession
    ) -> None:
        self.server = server
        self.known = known
        self.client = client
        self.session = session

    @property
    def admission_paths(self) -> list[str]:
        return [path for path in self.server.index_paths() if path.startswith(("/validate/", "/mutate/"))]

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        async with self.session.post(path, data=body, headers=headers) as response:
            return response.status, await response.text()

    async def review(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """The verdict on a request whose fields are given as in a recording."""
        status, text = await self.post(
            path, msgspec.json.encode(review(request)), {"Content-Type": "application/json"}
        )
        assert status == 200, text
        return verdict(json.loads(text))


@asynccontextmanager
async def webhooks(
    gates: dict[str, bool],
    existing: Sequence[dict[str, Any]] | None = (),
    client: RestClient | None = None,
) -> AsyncIterator[Webhooks]:
    """``existing`` None: nothing of the cluster has been read yet. ``client`` reaches the cluster's API."""
    server = ApiServer(title="Antrea", version={})
    async with client or RestClient(Endpoint("http://127.0.0.1:1")) as used:
        known = register(server, Circumstances(FeatureGates("C", gates), used, ACCOUNT))
        if existing is not None:
            await fill_all(known, existing)
        listener = Listener(server)
        address = await listener.listen("127.0.0.1", 0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{address[1]}") as session:
            yield Webhooks(server, known, used, session)
        await listener.close()


def review(request: dict[str, Any], api_version: str = "admission.k8s.io/v1") -> dict[str, Any]:
    filled = {
        "uid": UID,
        "requestKind": request["kind"],
        "requestResource": request["resource"],
        "userInfo": ADMINISTRATOR,
        "object": None,
        "oldObject": None,
        "dryRun": False,
        "options": None,
        **request,
    }
    return {"kind": "AdmissionReview", "apiVersion": api_version, "request": filled}


def verdict(answer: dict[str, Any]) -> dict[str, Any]:
    """An AdmissionReview's answer as recordings have it, without the warning that a feature is not built.
    Nothing else may be in it."""
    assert {key: answer[key] for key in ("kind", "apiVersion")} == {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
    }
    response = dict(answer["response"])
    found: dict[str, Any] = {"allowed": response.pop("allowed")}
    response.pop("uid")
    if "status" in response:
        status = response.pop("status")
        assert status.pop("metadata") == {}
        found["message"] = status.pop("message")
        found.update(status)
    if "patch" in response:
        assert response.pop("patchType") == "JSONPatch"
        found["patch"] = json.loads(base64.b64decode(response.pop("patch")))
    warnings = [text for text in response.pop("warnings", ()) if not NOT_BUILT.fullmatch(text)]
    if warnings:
        found["warnings"] = warnings
    assert response == {}
    return found


async def replay(name: str, case: Case, client: RestClient | None = None) -> None:
    """Ask what was asked, and expect what was answered."""
    whole = recording(name)
    async with webhooks(whole["featureGates"], whole["existing"], client) as served:
        await expect(served, case)


async def expect(served: Webhooks, case: Case) -> None:
    headers = case.get("headers", {"Content-Type": "application/json"})
    uid = ""
    if "body" in case:
        body = case["body"].encode()
    elif "review" in case:
        body = json.dumps(case["review"]).encode()  # answers quote it, blanks included
    else:
        uid = UID
        body = msgspec.json.encode(review(case["request"], case.get("apiVersion", "admission.k8s.io/v1")))
    status, text = await served.post(case["path"], body, {"Content-Type": "application/json", **headers})
    assert status == case["status"], text
    if "verdict" in case:
        answer = json.loads(text)
        assert verdict(answer) == case["verdict"]
        assert answer["response"]["uid"] == uid
    elif "answer" in case:
        assert json.loads(text) == case["answer"]
    elif "text" in case:
        assert text == case["text"]
