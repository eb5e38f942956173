"""Requests that were put to Antrea v2.7's controller are put to ours, and the answers compared.

The stores hold what the recorded controller's held. Where this server answers otherwise on purpose, the case
is listed in ``MENDED`` with the reason; everything else has to agree in status, media type and body.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from apis.controlplane import v1beta2
from apis.envelope import ProtobufWatchDecoder, unwrap
from apis.meta import v1 as meta
from apis.record import Change
from apiserver.auth import User
from apiserver.authentication import StaticTokens
from apiserver.endpoints import StoreEndpoint
from apiserver.resources import Subresource
from apiserver.server import ApiServer
from tests.apiserver.conftest import Serve
from tests.apiserver.records import KINDS, GroupRecord, controlplane_info

DATA = Path(__file__).parent.parent / "data" / "protocol"
REQUESTS: list[dict[str, Any]] = json.loads((DATA / "requests.json").read_text())
WATCHES: list[dict[str, Any]] = json.loads((DATA / "watches.json").read_text())

MENDED = {
    "list resourceVersion=5&resourceVersionMatch=Exact": "a version of no known past is Expired",
    "list resourceVersion=abc": "what is no version is Expired",
    "list continue=x": "a continue token that is none is refused",
    "list continue=x&resourceVersion=5": "a continue token that is none is refused",
    "list limit=1": "lists are paginated",
    "resourceVersion=3 and bookmarks": "a version of no known past is Expired",
    "resourceVersion far in the future": "a version of no known past is Expired",
    "labelSelector is ignored": "labels are selected",
    "object whose name has a slash, escaped": "the slash of a name may be escaped",
}


def recorded_objects() -> dict[str, list[dict[str, Any]]]:
    objects: dict[str, dict[str, dict[str, Any]]] = {plural: {} for plural in KINDS}
    for case in [*REQUESTS, *WATCHES]:
        response = case["response"]
        found = [event["object"] for event in response.get("events", ()) if event["type"] == "ADDED"]
        answer = response.get("json") or {}
        if isinstance(answer, dict) and str(answer.get("kind", "")).endswith("List"):
            kind = answer["kind"].removesuffix("List")
            found += [{"kind": kind, **item} for item in answer.get("items", ())]
        for item in found:
            for plural, kind in KINDS.items():
                if item.get("kind") == kind:
                    objects[plural][item["metadata"]["name"]] = item
    return {plural: list(found.values()) for plural, found in objects.items()}


def recorded_server() -> ApiServer:
    server = ApiServer(
        title="Antrea",
        version={"major": "2", "minor": "7"},
        authenticators=[StaticTokens({"secret": User("admin", ("system:masters",))})],
    )
    for plural, objects in recorded_objects().items():
        info = controlplane_info(plural)
        if plural == "networkpolicies":
            status = Subresource("status", "NetworkPolicyStatus", ("create",))
            info = replace(info, subresources=(status,))
        server.register(StoreEndpoint(info, server.stores))
        for item in objects:
            record = GroupRecord(
                info.kind,
                item["metadata"]["name"],
                {"node-1": item.get("groupMembers", [])},
                uid=item["metadata"]["uid"],
            )
            server.stores.publish([Change(plural, None, record)])
    return server


def normal(value: Any) -> Any:
    """Without versions, descriptions of columns, and the order of members and items."""
    if isinstance(value, dict):
        return {
            key: _unordered(inner) if key in ("items", "groupMembers", "rows", "causes") else normal(inner)
            for key, inner in value.items()
            if key not in ("resourceVersion", "description")
        }
    return [normal(item) for item in value] if isinstance(value, list) else value


def _unordered(items: Any) -> Any:
    return sorted(map(normal, items), key=json.dumps) if isinstance(items, list) else items


def decoded(body: bytes) -> Any:
    """A protobuf body as JSON data."""
    enveloped = unwrap(body)
    if enveloped.kind in ("Status", "PartialObjectMetadata", "PartialObjectMetadataList"):
        document = meta.decode_kind(enveloped.kind, enveloped.raw)
    else:
        document = v1beta2.decode_message(enveloped.kind, enveloped.raw)
    return {"kind": enveloped.kind, "apiVersion": enveloped.api_version, **document}


async def ask(session: aiohttp.ClientSession, case: dict[str, Any]) -> aiohttp.ClientResponse:
    request = case["request"]
    headers = dict(request["headers"])
    if case["name"] == "unauthorized token":
        headers["Authorization"] = "Bearer wrong"
    body = request.get("body")
    from yarl import URL

    url = URL(request["path"], encoded=True)
    return await session.request(request["method"], url, headers=headers, data=body)


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
async def test_recorded_request(serve: Serve, case: dict[str, Any]) -> None:
    if case["name"] in MENDED:
        pytest.skip(MENDED[case["name"]])
    expected = case["response"]
    session = await serve(recorded_server())
    async with await ask(session, case) as response:
        assert response.status == expected["status"]
        if "events" in expected or "frames" in expected:
            return  # a watch among the requests: its stream is compared below
        body = await response.read()
        if "paths" in (expected.get("json") or {}):
            assert "paths" in json.loads(body)
            return
        assert (
            response.headers["Content-Type"].partition(";")[0]
            == expected["headers"]["Content-Type"].partition(";")[0]
        )
        if "json" in expected:
            assert normal(json.loads(body)) == normal(expected["json"])
        elif "body" in expected:
            assert normal(decoded(body)) == normal(decoded(base64.b64decode(expected["body"]["base64"])))
        elif expected["headers"]["Content-Type"].startswith("text/plain") and case["name"].endswith(
            "verbose"
        ):
            assert body.decode().splitlines()[0] == expected["text"].splitlines()[0]


async def read_events(response: aiohttp.ClientResponse, count: int) -> list[Any]:
    """So many events of a watch, in either encoding."""
    events: list[Any] = []
    decoder = ProtobufWatchDecoder()
    protobuf = "protobuf" in response.headers["Content-Type"]
    while len(events) < count:
        if protobuf:
            data = await response.content.readany()
            assert data, "the stream ended early"
            events += [{"type": f.type, "object": decoded(f.object)} for f in decoder.feed(data)]
        else:
            line = await response.content.readline()
            assert line, "the stream ended early"
            events.append(json.loads(line))
    return events


@pytest.mark.parametrize("case", WATCHES, ids=lambda case: case["name"])
async def test_recorded_watch(serve: Serve, case: dict[str, Any]) -> None:
    if case["name"] in MENDED:
        pytest.skip(MENDED[case["name"]])
    expected = case["response"]
    if "frames" in expected:
        events = []
        decoder = ProtobufWatchDecoder()
        for frame in expected["frames"]:
            raw = base64.b64decode(frame["frame"] if isinstance(frame, dict) else frame)
            (found,) = decoder.feed(len(raw).to_bytes(4, "big") + raw)
            events.append({"type": found.type, "object": decoded(found.object)})
    else:
        events = expected["events"]
    session = await serve(recorded_server())
    async with await ask(session, case) as response:
        assert response.status == expected["status"]
        assert response.headers["Content-Type"] == expected["headers"]["Content-Type"]
        if case["name"].startswith("Accept application/json;as=Table"):
            events = events[:1]  # no nameless row for clients that did not ask for bookmarks
        got = await read_events(response, len(events))
        assert [event["type"] for event in got] == [event["type"] for event in events]
        assert _unordered(got) == _unordered(events)
        if expected["endOfStreamSeen"]:
            assert await response.content.read() == b""
