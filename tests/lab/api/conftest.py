"""One API for the tests of this folder that do not restart it; each test works in namespaces of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.lab.api.process import LabApi

NODES = ("n1", "n2")


def node(name: str, **spec: object) -> dict[str, object]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabApi]:
    """A dual-stack cluster with two Ready nodes."""
    state = tmp_path_factory.mktemp("lab-api")
    arguments = [
        "--cluster-cidr",
        "10.10.0.0/16,fd00:10::/48",
        "--service-cidr",
        "10.96.0.0/16,fd00:96::/112",
    ]
    running = LabApi(state, arguments)
    running.start()
    for name in NODES:
        running.create("/api/v1/nodes", node(name))
    yield running
    assert running.process is not None
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def own_api(tmp_path: pathlib.Path) -> Iterator[LabApi]:
    """An API of the test's own, to kill and restart."""
    running = LabApi(tmp_path / "state")
    running.start()
    yield running
    assert running.process is not None
    if running.process.poll() is None:
        running.stop()
