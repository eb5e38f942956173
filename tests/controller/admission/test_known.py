"""What the rules know of the cluster, over a scripted API: lists, watches, resources that are not there."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from apiserver.errors import StatusError
from client.resources import Resource
from controller.admission.known import Known, Metadata, Table
from tests.client.kubernetes_api import ScriptedApi, serving
from tests.controller.control_plane import eventually

THINGS = Resource("", "v1", "things")


class Thing(msgspec.Struct):
    metadata: Metadata
    size: int = 0


def thing(name: str, version: int, size: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a", "resourceVersion": str(version)}, "size": size}


class Sizes(Table[int]):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None, int | None]] = []
        super().__init__(THINGS, "Thing", Thing, lambda thing: thing.size)

    def changed(self, key: tuple[str, str], old: int | None, new: int | None) -> None:
        self.seen.append((key[1], old, new))


async def test_a_table_follows_what_is_created_changed_and_deleted() -> None:
    api, table = ScriptedApi(), Sizes()
    api.objects = [thing("x", 1, 5), thing("y", 1, 6), {"metadata": {"name": "bad"}, "size": "large"}]
    known = Known()
    known.add(table)
    with pytest.raises(StatusError) as caught:
        table.objects  # noqa: B018
    assert caught.value.code == 503
    async with serving(api) as client:
        [(name, reflector)] = known.reflectors(client).items()
        assert name == "things"
        running = asyncio.create_task(reflector.run())
        await eventually(lambda: table.listed, "it is listed")
        assert dict(table.objects) == {("a", "x"): 5, ("a", "y"): 6}
        api.watch_scripts.put_nowait(
            [
                ("MODIFIED", thing("x", 2, 7)),
                ("DELETED", thing("y", 3, 6)),
                ("ADDED", thing("z", 4, 8)),
                30.0,
            ]
        )
        await eventually(lambda: ("a", "z") in table.objects, "the watch is read")
        assert dict(table.objects) == {("a", "x"): 7, ("a", "z"): 8}
        assert table.seen == [("x", None, 5), ("y", None, 6), ("x", 5, 7), ("y", 6, None), ("z", None, 8)]
        running.cancel()


async def test_a_resource_that_is_not_there_holds_nothing_up_and_is_found_when_it_comes() -> None:
    api, table = ScriptedApi(), Sizes()
    api.list_failures = [404, 404]
    api.objects = [thing("x", 1, 5)]
    async with serving(api) as client:
        running = asyncio.create_task(table.follow(client).run())
        await eventually(lambda: table.listed, "the absence is known")
        assert dict(table.objects) in ({}, {("a", "x"): 5})
        await eventually(lambda: dict(table.objects) == {("a", "x"): 5}, "it is followed in the end")
        running.cancel()


async def test_a_resource_that_goes_takes_its_objects_with_it() -> None:
    api, table = ScriptedApi(), Sizes()
    api.objects = [thing("x", 1, 5)]
    async with serving(api) as client:
        running = asyncio.create_task(table.follow(client).run())
        await eventually(lambda: table.listed, "it is listed")
        api.list_failures = [404] * 50
        api.watch_scripts.put_nowait(404)
        await eventually(lambda: not table.objects, "nothing is left")
        assert table.listed
        running.cancel()


async def test_while_it_cannot_be_read_nothing_is_claimed() -> None:
    api, table = ScriptedApi(), Sizes()
    api.list_failures = [403] * 100
    async with serving(api) as client:
        reflector = table.follow(client)
        running = asyncio.create_task(reflector.run())
        await eventually(lambda: reflector.lists > 1, "it was tried")
        assert not table.listed
        running.cancel()
