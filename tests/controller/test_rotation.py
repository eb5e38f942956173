"""The serving certificate from one to the next: what is published and what is served, at every step."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from apiserver.certificates import KeyPair, create_authority, issue, self_signed
from client.errors import ApiError, ConnectionFailed
from controller import certificates as module
from controller.certificates import Certificates, usable
from controller.rotation import Identity, Stock, contains, joined, split
from controller.tlsfiles import ProvidedFiles

NAMES = ["antrea.kube-system.svc"]


def identity(lifetime: timedelta = timedelta(days=365)) -> Identity:
    pair = issue(create_authority("antrea-ca", lifetime), "antrea", names=NAMES, lifetime=lifetime)
    return Identity(pair, pair.certificate)


def test_at_every_step_what_is_published_vouches_for_what_is_served_before_and_after() -> None:
    first, second = identity(), identity()
    steady = Stock(first)
    prepared = steady.prepared(second, 1.0)
    promoted = prepared.promoted(2.0)
    settled = promoted.settled(3.0)
    for before, after in ((steady, prepared), (prepared, promoted), (promoted, settled)):
        # Whoever is one step behind serves what the other's bundle vouches for, and the other way round;
        # only dropping the old one needs everybody to have come along.
        assert contains(after.bundle, [before.current.ca]) or after is settled
        assert contains(before.bundle, [after.current.ca])
    assert set(split(prepared.bundle)) == set(split(promoted.bundle))
    assert (settled.current, settled.next, settled.previous) == (second, None, b"")
    assert prepared.abandoned() == Stock(first, None, b"", 1.0)


def test_bundles_are_certificates_each_once() -> None:
    one, other = identity().ca, identity().ca
    assert len(split(one)) == 2  # the leaf and its CA
    assert joined(one, other, one) == one + other
    ragged = b"# a comment\n" + one.replace(b"-----END", b"\n-----END").replace(b"\n\n", b"\r\n")
    assert len(split(ragged)) == 2
    ssl.create_default_context(cadata=joined(one, other).decode())
    assert split(b"") == []
    assert contains(one, [b""])
    assert not contains(b"", [one])


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (identity().pair, True),
        (identity(timedelta(days=30)).pair, True),  # near its end: replaced in order
        (identity(timedelta(minutes=30)).pair, False),
        (self_signed("other", ["other.svc"]), False),
        (KeyPair(identity().pair.certificate, identity().pair.key), False),
        (KeyPair(b"", b""), False),
        (KeyPair(b"nonsense", b"nonsense"), False),
    ],
    ids=["good", "near its end", "ended", "another name", "another key", "empty", "nonsense"],
)
def test_which_certificate_can_be_served(pair: KeyPair, expected: bool) -> None:
    assert usable(pair, "kube-system") is expected


# -- two controllers on one Secret ---------------------------------------------------------------------------


class Api:
    """One Secret, with versions; it can be away, or forbidden."""

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0
        self.fails: Exception | None = None

    async def get(self, path: str, query: object = None) -> bytes:
        await self._turn()
        if self.document is None:
            raise ApiError(404, "NotFound", "not found")
        return msgspec.json.encode(self.document)

    async def create(self, path: str, body: dict[str, Any]) -> bytes:
        await self._turn()
        if self.document is not None:
            raise ApiError(409, "AlreadyExists", "it is there")
        return self._store(body)

    async def update(self, path: str, body: dict[str, Any]) -> bytes:
        await self._turn()
        if self.document is None:
            raise ApiError(404, "NotFound", "not found")
        if body["metadata"].get("resourceVersion") != str(self.version):
            raise ApiError(409, "Conflict", "the object has been modified")
        return self._store(body)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails

    def _store(self, body: dict[str, Any]) -> bytes:
        self.version += 1
        self.writes += 1
        self.document = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return msgspec.json.encode(self.document)


class World:
    """The Secret, what is published, and controllers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.api = Api()
        self.published = b""
        self.history: list[bytes] = []  # everything that was ever published
        self.publishes = True
        self.tasks: list[asyncio.Task[None]] = []
        self.violations: list[str] = []

    async def controller(self, name: str, *, run: bool = True, self_signed: bool = True) -> Certificates:
        made = Certificates(self.api, "kube-system", self.directory / name, self_signed)  # type: ignore[arg-type]
        made.publish = lambda bundle: self._publish(made, bundle)
        tls = await made.start()
        serve = tls.reload

        def reload(pair: KeyPair) -> None:
            if not contains(self.published, [split(pair.certificate)[0]]) and self_signed:
                self.violations.append(f"{name} serves what is not published")
            serve(pair)

        tls.reload = reload  # type: ignore[method-assign]
        if run:
            self.tasks.append(asyncio.create_task(made.run()))
        return made

    async def _publish(self, who: Certificates, bundle: bytes) -> bool:
        await asyncio.sleep(0)
        if not self.publishes:
            return False
        if bundle != self.published:
            self.published = await who.fresh_bundle()  # as the publisher does, before it overwrites anything
            self.history.append(self.published)
        return True

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(module, "FILES_SECONDS", 0.02)
    monkeypatch.setattr(module, "OVERLAP_SECONDS", 0.3)
    made = World(tmp_path)
    yield made
    await made.close()
    assert made.violations == []


def serving(controller: Certificates) -> bytes:
    return controller._tls.pair.certificate


async def until(check: Any, what: str) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)
    assert check(), what


async def test_of_two_that_start_at_once_both_have_one_certificate(world: World) -> None:
    for _ in range(5):
        world.api.document = None
        first, second = await asyncio.gather(
            world.controller("a", run=False), world.controller("b", run=False)
        )
        assert serving(first) == serving(second)
        assert world.api.document is not None
        assert world.api.document["type"] == "kubernetes.io/tls"
    assert world.api.writes == 5


async def test_a_rotation_takes_its_steps_and_drops_the_old_one_in_the_end(world: World) -> None:
    first, second = await world.controller("a"), await world.controller("b")
    old = serving(first)
    first.rotate()
    second.rotate()
    await until(lambda: serving(first) == serving(second) != old, "both serve the new one")
    assert any(contains(bundle, [old, serving(first)]) for bundle in world.history)
    await until(lambda: world.published == serving(first), "the old one is dropped")
    assert world.api.document is not None
    assert set(world.api.document["data"]) == {"tls.crt", "tls.key", "step-time"}
    assert world.api.writes == 4  # made, prepared, promoted, settled: each once


@pytest.mark.parametrize("when", [b"99999999999", b"nan", b"inf"])
async def test_a_step_of_a_clock_that_was_set_back_ends_as_well(world: World, when: bytes) -> None:
    controller = await world.controller("a")
    await until(lambda: world.published == serving(controller), "it is published")
    assert world.api.document is not None
    old = create_authority("of before").certificate
    added = {"previous.crt": base64.b64encode(old).decode(), "step-time": base64.b64encode(when).decode()}
    document = world.api.document
    world.api._store({**document, "data": {**document["data"], **added}})
    await until(lambda: contains(world.published, [old]), "the one before is published")
    await until(lambda: world.published == serving(controller), "the one before is dropped")


async def test_what_cannot_be_published_is_not_served(world: World) -> None:
    controller = await world.controller("a")
    await until(lambda: world.published, "it is published")
    old = serving(controller)
    world.publishes = False
    controller.rotate()
    await until(lambda: "next.crt" in (world.api.document or {})["data"], "it is prepared")
    await asyncio.sleep(0.4)
    assert serving(controller) == old
    world.publishes = True
    await until(lambda: serving(controller) != old, "now it is served")


async def test_a_certificate_about_to_end_is_replaced_though_not_all_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "make", lambda namespace: identity(timedelta(days=3)))
    controller = await world.controller("a")
    old = serving(controller)
    world.published = old
    monkeypatch.setattr(module, "make", lambda namespace: identity())
    world.publishes = False
    await until(lambda: serving(controller) != old, "it is replaced")
    world.violations.clear()  # that is what this rule gives up


async def test_near_its_end_it_is_replaced_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "make", lambda namespace: identity(timedelta(days=89)))
    controller = await world.controller("a")
    old = serving(controller)
    monkeypatch.setattr(module, "make", lambda namespace: identity())
    await until(lambda: serving(controller) != old, "it is replaced")


@pytest.mark.parametrize("step", ["next.crt", "previous.crt"])
async def test_one_that_dies_in_the_middle_is_followed_by_one_that_goes_on(world: World, step: str) -> None:
    controller = await world.controller("a")
    old = serving(controller)
    controller.rotate()
    await until(lambda: step in (world.api.document or {})["data"], "the step is taken")
    await world.close()
    again = await world.controller("again")
    assert contains(world.published, [serving(again)])
    await until(lambda: serving(again) != old, "the new one is served")
    await until(lambda: world.published == serving(again), "the old one is dropped")
    assert world.api.writes == 4


@pytest.mark.parametrize(
    "failure", [ConnectionFailed("away"), ApiError(500, "", "broken")], ids=["away", "broken"]
)
async def test_without_the_api_one_is_served_and_the_secrets_later(world: World, failure: Exception) -> None:
    theirs = await world.controller("theirs", run=False)
    world.api.fails = failure
    controller = await world.controller("a")
    mine = serving(controller)
    assert mine != serving(theirs)
    await asyncio.sleep(0.1)
    assert serving(controller) == mine
    world.api.fails = None
    await until(lambda: serving(controller) == serving(theirs), "that of the Secret is served")


async def test_where_the_secret_is_forbidden_one_is_kept_in_memory(world: World) -> None:
    world.api.fails = ApiError(403, "Forbidden", "secrets is forbidden")
    controller = await world.controller("a")
    old = serving(controller)
    await until(lambda: world.published == old, "it is published")
    controller.rotate()
    await until(lambda: serving(controller) != old, "it can be replaced")
    await until(lambda: world.published == serving(controller), "the old one is dropped")
    world.api.fails = None
    await until(lambda: world.api.document is not None, "it is kept once that is allowed")


# -- files of an administrator -------------------------------------------------------------------------------


def mount(directory: Path, pair: KeyPair, ca: bytes, generation: str) -> None:
    """As kubelet does it: a directory for each generation, a link to it, and links through that one."""
    target = directory / generation
    target.mkdir(parents=True)
    for name, data in (("tls.crt", pair.certificate), ("tls.key", pair.key), ("ca.crt", ca)):
        (target / name).write_bytes(data)
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    (directory / "..tmp").symlink_to(generation)
    os.rename(directory / "..tmp", directory / "..data")


def theirs(authority: KeyPair) -> KeyPair:
    return issue(authority, "theirs", names=NAMES)


async def test_mounted_files_are_taken_over_when_kubelet_swaps_them(world: World) -> None:
    directory = world.directory / "a" / module.PROVIDED_DIRECTORY
    old, new = create_authority("old"), create_authority("new")
    first, second, third = theirs(old), theirs(old), theirs(new)
    mount(directory, first, old.certificate, "..1")
    controller = await world.controller("a", self_signed=False)
    assert serving(controller) == first.certificate
    await until(lambda: world.published == old.certificate, "the administrator's CA is published")
    await asyncio.sleep(0.2)

    mount(directory, second, old.certificate, "..2")
    await until(lambda: serving(controller) == second.certificate, "the new leaf is served")
    assert world.published == old.certificate

    bundles: set[bytes] = set()
    mount(directory, third, new.certificate, "..3")
    while serving(controller) != third.certificate:
        bundles.add(world.published)
        await asyncio.sleep(0.01)
    assert joined(old.certificate, new.certificate) in bundles
    await until(lambda: world.published == new.certificate, "the old CA is dropped")
    assert world.api.document is None


def test_files_that_do_not_belong_together_are_not_taken(tmp_path: Path) -> None:
    authority = create_authority("ca")
    first, second = theirs(authority), theirs(authority)
    files = ProvidedFiles(tmp_path)
    assert files.read() is None
    mount(tmp_path, first, authority.certificate, "..1")
    assert files.changed()
    assert files.read() == Identity(first, authority.certificate)
    assert not files.changed()
    mount(tmp_path, KeyPair(second.certificate, first.key), authority.certificate, "..2")
    assert files.changed()
    assert files.read() is None
    mount(tmp_path, second, b"nonsense", "..3")
    assert files.read() is None
    mount(tmp_path, second, authority.certificate, "..4")
    assert files.read() == Identity(second, authority.certificate)
