"""The reflector: what its handler is told, whatever happens to lists and watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from client.reflector import Reflector
from client.rest import RestClient
from client.watch import WatchFrame
from runtime.backoff import Backoff
from tests.client.kubernetes_api import ScriptedApi, serving, thing


class State:
    """A handler that keeps what it is told, as the simplest informer."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.told: list[str] = []
        self.changed = asyncio.Event()
        self._listing: dict[str, str] = {}

    def _note(self, text: str) -> None:
        self.told.append(text)
        self.changed.set()

    async def list_started(self) -> None:
        self._listing = {}
        self._note("list")

    async def list_page(self, items: Sequence[msgspec.Raw]) -> None:
        for item in items:
            metadata = msgspec.json.decode(item)["metadata"]
            self._listing[metadata["name"]] = metadata["resourceVersion"]
        self._note(f"page of {len(items)}")

    async def list_finished(self) -> None:
        self.objects = self._listing
        self._note("listed")

    async def events(self, events: Sequence[WatchFrame]) -> None:
        for event in events:
            metadata = msgspec.json.decode(event.object)["metadata"]
            if event.type == "DELETED":
                self.objects.pop(metadata["name"])
            else:
                self.objects[metadata["name"]] = metadata["resourceVersion"]
            self._note(f"{event.type} {metadata['name']}")

    async def until(self, text: str, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.told.count(text) < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def following(api: ScriptedApi, **options: Any) -> AsyncIterator[tuple[State, Reflector]]:
    async with serving(api) as client, _running(client, **options) as pair:
        yield pair


@asynccontextmanager
async def _running(client: RestClient, **options: Any) -> AsyncIterator[tuple[State, Reflector]]:
    state = State()
    reflector = Reflector(
        client, "/api/v1/things", state, backoff=Backoff(initial=0.01, maximum=0.02), **options
    )
    task = asyncio.create_task(reflector.run())
    try:
        yield state, reflector
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "only cancellation ends a reflector"


async def test_a_list_takes_what_the_server_has_at_hand_and_the_watch_starts_at_its_version() -> None:
    api = ScriptedApi()
    api.objects, api.version = [thing(f"t{n}", n) for n in range(5)], 9
    api.watch_scripts.put_nowait([("ADDED", thing("new", 10)), 5.0])
    async with following(api) as (state, reflector):
        await state.until("ADDED new")
        assert api.requests[0] == {"resourceVersion": "0"}
        assert set(state.objects) == {"t0", "t1", "t2", "t3", "t4", "new"}
        assert api.requests[-1]["resourceVersion"] == "9"
        assert reflector.synced


@pytest.mark.parametrize("failure", [410, 504, "cut off"])
async def test_a_list_that_cannot_be_had_whole_comes_in_pages(failure: int | str) -> None:
    api = ScriptedApi()
    api.objects, api.version = [thing(f"t{n}", n) for n in range(5)], 9
    api.watch_scripts.put_nowait([("ADDED", thing("new", 10)), 5.0])
    api.list_failures = [failure]
    async with following(api, page_size=2) as (state, reflector):
        await state.until("ADDED new")
        assert [r.get("limit") for r in api.requests if "watch" not in r] == [None, "2", "2", "2"]
        assert [text for text in state.told if "page" in text] == ["page of 2", "page of 2", "page of 1"]
        assert set(state.objects) == {"t0", "t1", "t2", "t3", "t4", "new"}
        assert api.requests[-1]["resourceVersion"] == "9"
        assert reflector.synced


async def test_a_watch_that_ends_is_resumed_without_a_list() -> None:
    api = ScriptedApi()
    api.watch_scripts.put_nowait([("ADDED", thing("a", 5)), ("BOOKMARK", thing("", 7))])
    api.watch_scripts.put_nowait([("MODIFIED", thing("a", 8)), 5.0])
    async with following(api) as (state, reflector):
        await state.until("MODIFIED a")
        assert [r["resourceVersion"] for r in api.requests if "watch" in r] == ["1", "7"]
        assert reflector.lists == 1
        assert "BOOKMARK " not in state.told


async def test_410_leads_to_a_new_list_which_shows_what_has_gone() -> None:
    api = ScriptedApi()
    api.objects = [thing("stays", 1), thing("goes", 1)]
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    api.watch_scripts.put_nowait([0.05, ("ADDED", thing("x", 2)), ("ERROR", gone)])
    api.watch_scripts.put_nowait(410)  # also as an answer
    api.watch_scripts.put_nowait([5.0])
    async with following(api) as (state, reflector):
        await state.until("ADDED x")
        api.objects = [thing("stays", 1)]
        await state.until("listed", 3)
        assert set(state.objects) == {"stays"}
        assert reflector.lists == 3


async def test_a_new_list_is_not_older_than_what_was_seen() -> None:
    api = ScriptedApi()
    api.watch_scripts.put_nowait([("ADDED", thing("a", 5)), 0.05])
    api.watch_scripts.put_nowait(410)
    api.watch_scripts.put_nowait([5.0])
    async with following(api) as (state, _):
        await state.until("listed", 2)
        assert [r["resourceVersion"] for r in api.requests if "watch" not in r] == ["0", "5"]


async def test_failures_are_survived() -> None:
    api = ScriptedApi()
    api.list_failures = [500, 403, 503]
    api.watch_scripts.put_nowait([b"this is no JSON\n"])
    api.watch_scripts.put_nowait([b'{"type":"ADDED"', b',"object":{"metadata":{"name":"cut'])
    api.watch_scripts.put_nowait(500)
    api.watch_scripts.put_nowait([b'["a list"]\n'])
    api.watch_scripts.put_nowait([("ADDED", thing("after all", 3)), 5.0])
    async with following(api) as (state, reflector):
        await state.until("ADDED after all")
        assert reflector.lists == 4
        assert state.told.count("listed") == 1


async def test_an_event_may_come_in_pieces() -> None:
    api = ScriptedApi()
    line = b'{"type":"ADDED","object":{"metadata":{"name":"slow","namespace":"a","resourceVersion":"4"}}}\n'
    api.watch_scripts.put_nowait([part for byte in line for part in (bytes([byte]),)] + [5.0])
    async with following(api) as (state, reflector):
        await state.until("ADDED slow")
        assert state.objects == {"slow": "4"}
        assert reflector.version == "4"


async def test_a_watch_on_which_nothing_comes_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.reflector.IDLE_SECONDS", 0.05)
    api = ScriptedApi()
    api.watch_scripts.put_nowait([("ADDED", thing("a", 5)), 5.0])
    api.watch_scripts.put_nowait([("ADDED", thing("b", 6)), 5.0])
    async with following(api) as (state, reflector):
        await state.until("ADDED b")
        assert reflector.lists == 1
        assert [r["resourceVersion"] for r in api.requests if "watch" in r] == ["1", "5"]


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    api = ScriptedApi()
    async with serving(api) as client:
        address = client.endpoint.url
    async with RestClient(client.endpoint) as unreachable, _running(unreachable) as (state, _):
        await state.until("list", 3)
        assert "listed" not in state.told
    assert address.startswith("http://127.0.0.1")
