"""Watch streams over HTTP: views, patches, markers, bookmarks, resumes, and clients that do not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from apis.controlplane import v1beta2
from apis.envelope import ProtobufWatchDecoder, unwrap
from apis.meta import v1 as meta
from apis.record import Change
from apiserver import stream as stream_module
from apiserver.agentwatch import AgentWatch
from apiserver.endpoints import StoreEndpoint
from apiserver.server import ApiServer
from tests.apiserver.conftest import Serve
from tests.apiserver.records import GroupDelta, GroupRecord, controlplane_info, pod

BASE = "/apis/controlplane.antrea.io/v1beta2"
ORDER = ("addressgroups", "appliedtogroups", "networkpolicies")


def make_server(known_pods: list[tuple[str, str, str]] | None = None, watch_limit: int = 65536) -> ApiServer:
    server = ApiServer(title="Antrea", version={"major": "2", "minor": "7"})
    infos = [controlplane_info(plural) for plural in ORDER]
    for info in infos:
        server.register(StoreEndpoint(info, server.stores, watch_limit))
    watch = AgentWatch(server.stores, infos, lambda _node: known_pods or ())
    server.path("/agentwatch", watch.serve)
    return server


def group(name: str, plural: str = "appliedtogroups", **members: list[dict[str, Any]]) -> GroupRecord:
    kind = controlplane_info(plural).kind
    named = {node.replace("_", "-"): list(items) for node, items in members.items()}
    return GroupRecord(kind, name, named, views=plural == "appliedtogroups")


def publish(server: ApiServer, plural: str, old: GroupRecord | None, new: GroupRecord | None) -> int:
    delta = GroupDelta(old, new) if old is not None and new is not None else None
    return server.stores.publish([Change(plural, old, new, delta)])


class JSONStream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def next(self) -> tuple[str, dict[str, Any]]:
        line = await asyncio.wait_for(self._content.readline(), 5)
        assert line, "the stream has ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def ended(self) -> bool:
        return await asyncio.wait_for(self._content.readline(), 5) == b""


def members(document: dict[str, Any], field: str = "groupMembers") -> list[str]:
    return [member["pod"]["name"] for member in document.get(field, [])]


async def test_each_node_sees_its_own_members_and_patches(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    first = group("g", n1=[pod("a")], n2=[pod("b")])
    publish(server, "appliedtogroups", None, first)
    path = f"{BASE}/appliedtogroups?watch=1&fieldSelector=nodeName%3D"
    async with session.get(path + "n1") as one, session.get(path + "n2") as two:
        streams = [JSONStream(one), JSONStream(two)]
        for stream, expected in zip(streams, ("a", "b"), strict=True):
            event, document = await stream.next()
            assert (event, members(document)) == ("ADDED", [expected])
            assert (await stream.next())[0] == "BOOKMARK"
        second = group("g", n1=[pod("a"), pod("c")], n2=[pod("b")])
        publish(server, "appliedtogroups", first, second)
        event, document = await streams[0].next()
        assert (event, document["kind"]) == ("MODIFIED", "AppliedToGroupPatch")
        assert members(document, "addedGroupMembers") == ["c"]
        # Nothing has changed for n2: the next thing it hears is the end of its membership.
        version = publish(server, "appliedtogroups", second, group("g", n1=[pod("a")]))
        event, document = await streams[1].next()
        assert event == "DELETED"
        assert document["metadata"] == {"name": "g", "uid": "g", "resourceVersion": str(version)}
        event, document = await streams[0].next()
        assert members(document, "removedGroupMembers") == ["c"]


async def test_whoever_asks_for_bookmarks_gets_whole_objects_of_a_node(serve: Serve) -> None:
    """A reflector does; upstream's agents, which apply patches, do not."""
    server = make_server()
    session = await serve(server)
    first = group("g", n1=[pod("a")], n2=[pod("b")])
    publish(server, "appliedtogroups", None, first)
    path = f"{BASE}/appliedtogroups?watch=1&allowWatchBookmarks=true&fieldSelector=nodeName%3Dn1"
    async with session.get(path) as response:
        stream = JSONStream(response)
        assert [(await stream.next())[0] for _ in range(2)] == ["ADDED", "BOOKMARK"]
        publish(server, "appliedtogroups", first, group("g", n1=[pod("a"), pod("c")], n2=[pod("b")]))
        event, document = await stream.next()
        assert (event, document["kind"], members(document)) == ("MODIFIED", "AppliedToGroup", ["a", "c"])


async def test_watches_without_a_node_get_whole_objects(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    first = group("g", n1=[pod("a")])
    publish(server, "appliedtogroups", None, first)
    async with session.get(f"{BASE}/appliedtogroups?watch=1") as response:
        stream = JSONStream(response)
        assert (await stream.next())[0] == "ADDED"
        assert (await stream.next())[0] == "BOOKMARK"
        # The same members on other nodes: nothing that a watch of the whole could see.
        moved = group("g", n2=[pod("a")])
        publish(server, "appliedtogroups", first, moved)
        publish(server, "appliedtogroups", moved, group("g", n2=[pod("a"), pod("b")]))
        event, document = await stream.next()
        assert (event, document["kind"], members(document)) == ("MODIFIED", "AppliedToGroup", ["a", "b"])


async def test_a_change_is_encoded_once_for_all_watches_of_a_form(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    path = f"{BASE}/addressgroups?watch=1"
    protobuf = {"Accept": "application/vnd.kubernetes.protobuf"}
    responses = [await session.get(path) for _ in range(5)]
    responses += [await session.get(path, headers=protobuf) for _ in range(5)]
    record = group("g", "addressgroups", n1=[pod("a")])
    publish(server, "addressgroups", None, record)
    for response in responses[:5]:
        stream = JSONStream(response)
        assert (await stream.next())[0] == "BOOKMARK"
        assert (await stream.next())[0] == "ADDED"
    for response in responses[5:]:
        decoder, frames = ProtobufWatchDecoder(), []
        while len(frames) < 2:
            frames += decoder.feed(await response.content.readany())
        assert [frame.type for frame in frames] == ["BOOKMARK", "ADDED"]
    assert record.encoded == 2  # once in JSON, once in protobuf
    for response in responses:
        response.close()


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
async def test_the_multiplexed_watch_carries_everything_in_order(serve: Serve, protobuf: bool) -> None:
    server = make_server(known_pods=[("ns", "known", "uid-1")])
    session = await serve(server)
    publish(server, "networkpolicies", None, group("p", "networkpolicies", n1=[]))
    publish(server, "addressgroups", None, group("ag", "addressgroups", n1=[pod("x")]))
    publish(server, "addressgroups", None, group("elsewhere", "addressgroups", n2=[pod("x")]))
    publish(server, "appliedtogroups", None, group("atg", n1=[pod("a")], n2=[pod("b")]))
    headers = {"Accept": "application/vnd.kubernetes.protobuf"} if protobuf else {}
    async with session.get("/agentwatch?nodeName=n1", headers=headers) as response:
        events: list[tuple[str, str, str]] = []
        versions: list[int] = []
        decoder = ProtobufWatchDecoder()

        async def receive(count: int) -> list[tuple[str, str, str]]:
            while len(events) < count:
                if protobuf:
                    for frame in decoder.feed(await asyncio.wait_for(response.content.readany(), 5)):
                        body = unwrap(frame.object)
                        if body.kind == "PartialObjectMetadata":
                            document = meta.decode_kind(body.kind, body.raw)
                        else:
                            document = v1beta2.decode_message(body.kind, body.raw)
                        note(frame.type, {"kind": body.kind, **document})
                else:
                    line = json.loads(await asyncio.wait_for(response.content.readline(), 5))
                    note(line["type"], line["object"])
            found = events[:count]
            del events[:count]
            return found

        def note(event: str, document: dict[str, Any]) -> None:
            events.append((event, document["kind"], document["metadata"].get("name", "")))
            if "resourceVersion" in document["metadata"]:
                versions.append(int(document["metadata"]["resourceVersion"]))

        assert await receive(5) == [
            ("ADDED", "AddressGroup", "ag"),
            ("ADDED", "AppliedToGroup", "atg"),
            ("ADDED", "NetworkPolicy", "p"),
            ("MARKER", "PartialObjectMetadata", "known"),
            ("BOOKMARK", "AddressGroup", ""),
        ]
        versions.clear()
        old = server.stores.get("appliedtogroups", ("", "atg"))
        assert old is not None
        server.stores.publish(
            [
                Change("addressgroups", None, group("ag2", "addressgroups", n1=[pod("y")])),
                Change("appliedtogroups", old.record, group("atg", n2=[pod("b")])),
                Change("networkpolicies", None, group("p2", "networkpolicies", n1=[])),
            ]
        )
        server.stores.mark("n1", "ns", "new", "uid-2")
        server.stores.mark("n2", "ns", "not-here", "uid-3")
        server.stores.bookmark()
        assert await receive(5) == [
            ("ADDED", "AddressGroup", "ag2"),
            ("DELETED", "AppliedToGroup", "atg"),
            ("ADDED", "NetworkPolicy", "p2"),
            ("MARKER", "PartialObjectMetadata", "new"),
            ("BOOKMARK", "AddressGroup", ""),
        ]
        assert versions == sorted(versions)
        assert versions[-1] == server.stores.version


async def test_the_multiplexed_watch_resumes_where_it_was(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    publish(server, "addressgroups", None, group("a", "addressgroups", n1=[pod("x")]))
    version = server.stores.version
    publish(server, "addressgroups", None, group("b", "addressgroups", n1=[pod("x")]))
    publish(server, "networkpolicies", None, group("p", "networkpolicies", n1=[]))
    async with session.get(f"/agentwatch?nodeName=n1&resourceVersion={version}") as response:
        stream = JSONStream(response)
        assert [(await stream.next())[1]["metadata"]["name"] for _ in range(2)] == ["b", "p"]
        publish(server, "addressgroups", None, group("c", "addressgroups", n1=[pod("x")]))
        event, document = await stream.next()
        assert (event, document["metadata"]["name"]) == ("ADDED", "c")


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("?nodeName=n1&resourceVersion=12", 410), ("?nodeName=n1&resourceVersion=zz", 410)],
)
async def test_the_multiplexed_watch_refuses(serve: Serve, query: str, status: int) -> None:
    session = await serve(make_server())
    async with session.get("/agentwatch" + query) as response:
        assert response.status == status
        assert (await response.json())["kind"] == "Status"


async def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(serve: Serve) -> None:
    server = make_server(watch_limit=50)
    session = await serve(server)
    host, port = str(session._base_url.host), session._base_url.port  # type: ignore[union-attr]
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    writer.write(f"GET {BASE}/addressgroups?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    async with session.get(f"{BASE}/addressgroups?watch=1") as healthy:
        stream = JSONStream(healthy)
        assert (await stream.next())[0] == "BOOKMARK"
        while len(server.stores.all_watchers()) < 2:
            await asyncio.sleep(0.01)
        big = [pod("p" * 1000) for _ in range(200)]
        for number in range(200):
            publish(server, "addressgroups", None, group(f"g{number}", "addressgroups", n1=big))
            _, document = await stream.next()
            assert document["metadata"]["name"] == f"g{number}"
            if len(server.stores.all_watchers()) == 1:
                break
        assert len(server.stores.all_watchers()) == 1, "the stuck client still has its watch"
    writer.close()
    del reader


async def test_a_client_that_reads_nothing_for_long_is_sent_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "STUCK_SECONDS", 0.2)
    server = make_server()
    session = await serve(server)
    host, port = str(session._base_url.host), session._base_url.port  # type: ignore[union-attr]
    _, writer = await asyncio.open_connection(host, port, limit=1024)
    writer.write(f"GET {BASE}/addressgroups?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    while not server.stores.all_watchers():
        await asyncio.sleep(0.01)
    big = [pod("p" * 1000) for _ in range(200)]
    for number in range(80):  # 16 MB: more than the kernel's buffers take, and far from the bound on events
        publish(server, "addressgroups", None, group(f"g{number}", "addressgroups", n1=big))
    for _ in range(500):
        if not server.stores.all_watchers():
            break
        await asyncio.sleep(0.01)
    assert not server.stores.all_watchers(), "the stuck client still has its watch"
    writer.close()


async def test_a_client_that_leaves_takes_its_watch_with_it(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    response = await session.get(f"{BASE}/addressgroups?watch=1")
    await JSONStream(response).next()
    assert len(server.stores.all_watchers()) == 1
    response.close()
    for _ in range(200):
        if not server.stores.all_watchers():
            break
        await asyncio.sleep(0.01)
    assert not server.stores.all_watchers()


async def test_streams_end_in_order_when_the_stores_close(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    async with session.get(f"{BASE}/addressgroups?watch=1") as response:
        stream = JSONStream(response)
        assert (await stream.next())[0] == "BOOKMARK"
        server.stores.close()
        assert await stream.ended()


async def test_a_resource_that_is_unregistered_ends_its_watches(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    async with session.get(f"{BASE}/addressgroups?watch=1") as response:
        stream = JSONStream(response)
        assert (await stream.next())[0] == "BOOKMARK"
        server.unregister("controlplane.antrea.io", "v1beta2", "addressgroups")
        assert await stream.ended()
    async with session.get(f"{BASE}/addressgroups") as response:
        assert response.status == 404


async def test_watches_resume_from_the_version_of_a_list(serve: Serve) -> None:
    server = make_server()
    session = await serve(server)
    publish(server, "addressgroups", None, group("a", "addressgroups", n1=[]))
    async with session.get(f"{BASE}/addressgroups") as response:
        listed = await response.json()
    version = listed["metadata"]["resourceVersion"]
    assert version == listed["items"][0]["metadata"]["resourceVersion"]
    publish(server, "networkpolicies", None, group("p", "networkpolicies", n1=[]))
    publish(server, "addressgroups", None, group("b", "addressgroups", n1=[]))
    async with session.get(f"{BASE}/addressgroups?watch=1&resourceVersion={version}") as response:
        event, document = await JSONStream(response).next()
        assert (event, document["metadata"]["name"]) == ("ADDED", "b")
    older = int(version) - 1_000_000_000
    async with session.get(f"{BASE}/addressgroups?watch=1&resourceVersion={older}") as response:
        assert (response.status, (await response.json())["reason"]) == (410, "Expired")
