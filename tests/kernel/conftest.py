"""The kernel tier: every test of this folder runs in a guest kernel (see guest.py), and reports here.

Outside, each test is an item that waits for its report; the first one boots the guest, which runs all those
that were selected. Inside, the tests are what they are written as.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.handle import Lab
from lab.probing import Prober
from tests.e2e.runner import Arena
from tests.kernel import guest, kernel
from tests.support.lab import running_lab

PATIENCE = 3.0  # the guest has one processor, and each of its system calls costs some microseconds more
GUEST = pytest.StashKey[guest.Guest]()


class FailedInside(Exception):
    """A test failed in the guest; the text is its report."""


class GuestItem(pytest.Item):
    """A test as seen from outside."""

    def runtest(self) -> None:
        stash = self.session.stash
        if GUEST not in stash:
            factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
            tests = [item.nodeid for item in self.session.items if isinstance(item, GuestItem)]
            stash[GUEST] = guest.Guest(factory.mktemp("guest"), tests)
        try:
            report = stash[GUEST].wait_for(self.nodeid)
        except guest.DidNotBoot as problem:
            pytest.skip(f"user-mode Linux does not run on this machine: {problem}")
        self.add_report_section("call", "guest", f"{report['seconds']} s in the guest")
        if report["outcome"] == "skipped":
            pytest.skip(report["text"])
        if report["outcome"] == "failed":
            raise FailedInside(report["text"])

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, FailedInside | guest.GuestError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if guest.is_inside():
        return
    for number, item in enumerate(items):
        if item.get_closest_marker("kernel"):
            assert item.parent is not None
            substitute = GuestItem.from_parent(item.parent, name=item.name)
            substitute.own_markers[:] = item.own_markers
            substitute.keywords.update(item.keywords)
            items[number] = substitute


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """The kernel is built before the first test, whose time limit it would exceed."""
    wanted = (isinstance(item, GuestItem) and not item.get_closest_marker("skip") for item in session.items)
    if any(wanted) and not session.config.option.collectonly:
        kernel.build()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if GUEST in session.stash:
        session.stash[GUEST].end()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two nodes on the kernel datapath, in both families; one lab for all tests."""
    with running_lab("kernel", nodes=2, family="dual", datapath="kernel") as made:
        yield made


@pytest.fixture
async def arena(lab: Lab) -> AsyncIterator[Arena]:
    """Nine pods without policies."""
    async with lab.client() as client:
        with Prober(lab.directory.probe_ports) as prober:
            made = Arena(lab, client, prober, [4, 6], PATIENCE)
            await made.prepare(lab.directory.nodes())
            yield made
            await made.clear()
