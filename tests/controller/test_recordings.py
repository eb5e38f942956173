"""Requests that were put to Antrea v2.7's controller are put to ours, and the answers compared.

An answer has to agree in status, headers and body: JSON and protobuf in every field, text in every letter.
What no two recordings have in common (versions, times, the order of members) is taken out first. ``MENDED``
lists where this controller answers otherwise on purpose, with the status that it gives instead, and ``LATER``
what it cannot compute yet. A case that is listed but agrees fails, so the lists stay true.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from apis.envelope import ProtobufWatchDecoder
from tests.controller.recorded import DISCOVERY, REQUESTS, WATCHES, Case, Recorded, controller, decoded

_EXPIRED = "a version of no known past is Expired; upstream never looks at it"
_CONTINUE = "a continue token that is none is refused; upstream ignores it"
_GO_SOURCE = "upstream's message names Go types and lines of its source"
_HEALTH = "upstream lists Go's post-start hooks among the checks"
_UNKNOWN_GROUP = "an unknown group is not found; upstream says that it has an internal error"

MENDED: dict[str, tuple[int, str]] = {
    "clustergroupmembers": (404, _UNKNOWN_GROUP),
    "groupmembers": (404, _UNKNOWN_GROUP),
    "protobuf system": (406, _GO_SOURCE),
    "protobuf system with fallback": (200, "the second clause of Accept counts; upstream fails to encode"),
    "list resourceVersion=5&resourceVersionMatch=Exact": (410, _EXPIRED),
    "list resourceVersion=abc": (410, _EXPIRED),
    "list continue=x": (400, _CONTINUE),
    "list continue=x&resourceVersion=5": (400, _CONTINUE),
    "list limit=1": (200, "lists are paginated"),
    "GET networkpolicies/x/status": (404, "a policy's realization can be read"),
    "status wrong kind": (400, _GO_SOURCE),
    "status unknown kind": (400, _GO_SOURCE),
    "status bad protobuf body": (400, "the message says what is wrong with the bytes"),
    "nodelatencystats list": (200, "items of a list carry no kind, as in every other list"),
    "path /readyz?verbose": (200, _HEALTH),
    "path /livez?verbose": (200, _HEALTH),
    "path /featuregates": (200, "without the ConfigMap the defaults are shown; upstream fails"),
    "webhook /validate/acnp malformed": (200, "a review is JSON and says so"),
    "webhook /mutate/acnp malformed": (200, "a review is JSON and says so"),
    "object whose name has a slash, escaped": (200, "the slash of a name may be escaped"),
    "resourceVersion=3 and bookmarks": (410, _EXPIRED),
    "resourceVersion far in the future": (410, _EXPIRED),
    "labelSelector is ignored": (200, "labels are selected"),
}

_GROUPS = "members of ClusterGroups and Groups"
_ANTREA_STATS = "statistics of Antrea-native policies"
_EVALUATION = "policy evaluation"
_ENDPOINT = "the query for a Pod's policies"

LATER: dict[str, tuple[int, str]] = {
    "table of clustergroupmembers, fallback": (404, _GROUPS),
    "clustergroupmembers #2": (404, _GROUPS),
    "clustergroupmembers?limit=1": (404, _GROUPS),
    "clustergroupmembers?limit=1&page=1": (404, _GROUPS),
    "clustergroupmembers?limit=1&page=9": (404, _GROUPS),
    "clustergroupmembers?page=2": (404, _GROUPS),
    "clustergroupmembers ipBlocks": (404, _GROUPS),
    "clustergroupmembers empty": (404, _GROUPS),
    "clustergroupmembers protobuf": (404, _GROUPS),
    "groupmembers #2": (404, _GROUPS),
    "groupassociations": (200, _GROUPS),
    "groupassociations protobuf": (200, _GROUPS),
    "ipgroupassociations": (200, _GROUPS),
    "ipgroupassociations block": (200, _GROUPS),
    "stats after report": (404, _ANTREA_STATS),
    "stats protobuf": (200, _ANTREA_STATS),
    "acnp stats table": (200, _ANTREA_STATS),
    "annp stats": (404, _ANTREA_STATS),
    "evaluation c to w": (501, _EVALUATION),
    "evaluation w to c": (501, _EVALUATION),
    "evaluation protobuf": (501, _EVALUATION),
    "evaluation unknown Pod": (501, _EVALUATION),
    "evaluation without Pod": (501, _EVALUATION),
    "evaluation without request": (501, _EVALUATION),
    "path /endpoint": (404, _ENDPOINT),
    "path /endpoint?pod=zz&namespace=a": (404, _ENDPOINT),
    "path /endpoint?pod=w&namespace=a": (404, _ENDPOINT),
}

# Answers that name the process itself: its version, its Pod, its port. Their fields and types have to agree.
ITSELF = ("path /version", "path /loglevel", "controllerinfos list")

_VOLATILE = ("resourceVersion", "description", "creationTimestamp", "time")
_UNORDERED = ("items", "groupMembers", "rows", "causes", "associatedGroups")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def normal(value: Any) -> Any:
    """Without versions, times and descriptions of columns; members, items and rows in one order."""
    if isinstance(value, dict):
        return {
            key: (_unordered if key in _UNORDERED else _cells if key == "cells" else normal)(inner)
            for key, inner in value.items()
            if key not in _VOLATILE
        }
    return [normal(item) for item in value] if isinstance(value, list) else value


def _unordered(items: Any) -> Any:
    return sorted(map(normal, items), key=json.dumps) if isinstance(items, list) else items


def _cells(cells: list[Any]) -> list[Any]:
    return ["TIME" if isinstance(cell, str) and _TIME.fullmatch(cell) else cell for cell in cells]


def shape(value: Any) -> Any:
    """Fields and types alone."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def body_of(response: Case, body: bytes | None = None) -> Any:
    """A recorded body, or ours of the same sort, as data; of JSON also whether a newline ends it."""
    if "json" in response:
        document = response["json"] if body is None else json.loads(body)
        if isinstance(document, dict) and "paths" in document:
            return "the index of paths"
        return document, response["trailingNewline"] if body is None else body.endswith(b"\n")
    if "body" in response:
        return decoded(base64.b64decode(response["body"]["base64"]) if body is None else body)
    text = response.get("text", "") if body is None else body.decode()
    if response["headers"].get("Content-Type") == "application/yaml":
        return yaml.safe_load(text)
    if text.startswith("{\n  "):  # indented for people
        return json.loads(text), text.splitlines()[1], text.endswith("\n")
    return text


def agrees(case: Case, response: aiohttp.ClientResponse, body: bytes) -> None:
    """Raises AssertionError with what differs."""
    expected = case["response"]
    assert "noReply" not in expected, "upstream ends the connection"
    assert response.status == expected["status"], body
    headers = expected["headers"]
    assert {name: response.headers.get(name) for name in headers} == headers
    ours, theirs = body_of(expected, body), body_of(expected)
    if case["name"] in ITSELF:
        assert shape(ours) == shape(theirs)
    else:
        assert normal(list(ours) if isinstance(ours, tuple) else ours) == normal(
            list(theirs) if isinstance(theirs, tuple) else theirs
        )


@pytest_asyncio.fixture
async def upstreams() -> AsyncIterator[Recorded]:
    async with controller() as running:
        yield running


def before(case: Case) -> list[Case]:
    """The recorded reports that an answer depends on."""
    return [
        earlier
        for earlier in REQUESTS[: REQUESTS.index(case)]
        if earlier["request"]["method"] in ("POST", "DELETE") and "stats" in earlier["request"]["path"]
    ]


def streams(case: Case) -> bool:
    return "events" in case["response"] or "frames" in case["response"]


def named(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", named([case for case in REQUESTS if not streams(case)]))
async def test_request(upstreams: Recorded, case: Case) -> None:
    for earlier in before(case):
        async with upstreams.ask(earlier["request"]):
            pass
    request = case["request"]
    if case["name"] == "unauthorized token":  # the recording holds no credentials
        request = {**request, "headers": {**request["headers"], "Authorization": "Bearer wrong"}}
    async with upstreams.ask(request) as response:
        body = await response.read()
    different = MENDED.get(case["name"]) or LATER.get(case["name"])
    if different is None:
        agrees(case, response, body)
        return
    status, reason = different
    assert response.status == status, reason
    with pytest.raises(AssertionError):
        agrees(case, response, body)


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


def recorded_events(response: Case) -> list[Any]:
    if "frames" not in response:
        events: list[Any] = response["events"]
        return events
    frames = (base64.b64decode(frame["frame"]) for frame in response["frames"])
    found = ProtobufWatchDecoder().feed(b"".join(len(raw).to_bytes(4, "big") + raw for raw in frames))
    return [{"type": frame.type, "object": decoded(frame.object)} for frame in found]


@pytest.mark.parametrize("case", named([*WATCHES, *(case for case in REQUESTS if streams(case))]))
async def test_watch(upstreams: Recorded, case: Case) -> None:
    expected = case["response"]
    async with upstreams.ask(case["request"]) as response:
        if case["name"] in MENDED:
            assert response.status == MENDED[case["name"]][0]
            if response.status == 200:
                only = await read_events(response, 1)
                assert [event["type"] for event in only] == ["BOOKMARK"] != recorded_events(expected)
            return
        assert response.status == expected["status"]
        assert response.headers["Content-Type"] == expected["headers"]["Content-Type"]
        events = recorded_events(expected)
        if case["name"].startswith("Accept application/json;as=Table"):
            events = events[:1]  # no nameless row for clients that did not ask for bookmarks
        ours = await read_events(response, len(events))
        assert [event["type"] for event in ours] == [event["type"] for event in events]
        assert _unordered(ours) == _unordered(events)
        if expected.get("endOfStreamSeen"):
            assert await response.content.read() == b""


def anywhere(value: Any) -> Any:
    """Discovery with every list in one order, and without the address of who answers."""
    if isinstance(value, dict):
        return {
            key: sorted(map(anywhere, inner), key=json.dumps) if isinstance(inner, list) else anywhere(inner)
            for key, inner in value.items()
            if key != "serverAddressByClientCIDRs"
        }
    return value


def with_additions(document: Any) -> Any:
    """The recorded discovery with the one verb that upstream does not have: get of networkpolicies/status."""
    text = json.dumps(document)
    for name in ('"name": "networkpolicies/status"', '"subresource": "status"'):
        if name in text and "NetworkPolicyStatus" in text:
            head, kind, tail = text.partition('"kind": "NetworkPolicyStatus"')
            text = head + kind + tail.replace('["create"]', '["create", "get"]', 1)
    return json.loads(text)


@pytest.mark.parametrize("case", named([case for case in DISCOVERY if "json" in case["response"]]))
async def test_discovery(upstreams: Recorded, case: Case) -> None:
    async with upstreams.ask(case["request"]) as response:
        document = json.loads(await response.read())
    expected = case["response"]
    assert response.status == expected["status"]
    if case["name"] == "version":
        assert shape(document) == shape(expected["json"])
    elif "paths" in expected["json"]:
        assert set(document["paths"]) >= {"/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"}
    else:
        assert response.headers["Content-Type"] == expected["headers"]["Content-Type"]
        assert anywhere(document) == anywhere(with_additions(expected["json"]))


def test_the_counts_that_the_documentation_gives() -> None:
    cases = {case["name"] for case in [*REQUESTS, *WATCHES]}
    assert MENDED.keys() | LATER.keys() <= cases
    assert not MENDED.keys() & LATER.keys()
    assert (len(REQUESTS), len(WATCHES), len(MENDED), len(LATER)) == (216, 30, 23, 27)
