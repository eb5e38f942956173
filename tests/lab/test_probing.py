"""Probes between two namespaces: what each outcome looks like on real packets, protocol by protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.probing import Outcome, Probe, Prober
from lab.probing.ports import BLOCK, FIRST, LAST, SourcePorts
from lab.supervisor.plan import PROJECT
from tests.support.ovs import Namespace, run, unique

# Of the two ends: (address, an address that routes there and that nobody has).
ADDRESSES = {4: ("10.77.0.2", "10.77.0.9"), 6: ("fd77::2", "fd77::9")}


class Runtime:
    """The forking process of a node, spoken to as the kubelet does."""

    def __init__(self, path: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-m", "lab.nodes.runtime", str(path)], env=environment
        )
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline, "the runtime did not start"
                time.sleep(0.01)
        self.socket.settimeout(10)
        self._lines = self.socket.makefile("rb")

    def ask(self, **request: Any) -> dict[str, Any]:
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self.next()

    def next(self) -> dict[str, Any]:
        return dict(json.loads(self._lines.readline()))

    def close(self) -> None:
        self._lines.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces joined by a veth pair; packets to the second address of each family vanish."""
    with Namespace(unique("probe-a")) as a, Namespace(unique("probe-b")) as b:
        run("ip", "-n", a.name, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", b.name)
        for end, number in ((a, 1), (b, 2)):
            run("ip", "-n", end.name, "addr", "add", f"10.77.0.{number}/24", "dev", "v0")
            run("ip", "-n", end.name, "addr", "add", f"fd77::{number}/64", "dev", "v0", "nodad")
            run("ip", "-n", end.name, "link", "set", "v0", "up")
        mac = json.loads(run("ip", "-n", b.name, "-j", "link", "show", "v0"))[0]["address"]
        for family in ADDRESSES:
            run("ip", "-n", a.name, "neigh", "add", ADDRESSES[family][1], "lladdr", mac, "dev", "v0")
        deadline = time.monotonic() + 10
        while "tentative" in a.run("ip", "-6", "addr") + b.run("ip", "-6", "addr"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield a, b


@pytest.fixture(scope="module")
def runtime(ends: tuple[Namespace, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    forker = Runtime(tmp_path_factory.mktemp("runtime") / "sock")
    ports = [[protocol, port] for protocol in ("TCP", "UDP", "SCTP") for port in (80, 8080)]
    answer = forker.ask(op="start", id="b", name="x/b", netns=ends[1].path, ports=ports, alone=True)
    assert "pid" in answer, answer
    yield forker
    forker.close()


@pytest.mark.lab
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_outcomes(
    runtime: Runtime, ends: tuple[Namespace, Namespace], tmp_path: Path, protocol: str, family: int
) -> None:
    there, nowhere = ADDRESSES[family]
    unroutable = "198.51.100.1" if family == 4 else "2001:db8::1"
    cases = [
        (there, 80, "x/b", Outcome.ALLOWED),
        (there, 8080, None, Outcome.ALLOWED),
        (there, 80, "x/other", Outcome.STRANGER),
        (there, 81, "x/b", Outcome.REFUSED),
        (nowhere, 80, "x/b", Outcome.TIMEOUT),
        (unroutable, 80, "x/b", Outcome.UNREACHABLE),
    ]
    with Prober(tmp_path / "ports") as prober:
        probes = [
            Probe("x/a", ends[0].path, address, port, protocol, expect) for address, port, expect, _ in cases
        ]
        found = [result.outcome for result in prober.probe_all(probes, timeout=0.5)]
    assert found == [outcome for *_, outcome in cases]


@pytest.mark.lab
def test_a_source_that_is_gone_says_nothing_of_policy(tmp_path: Path) -> None:
    with Prober(tmp_path / "ports") as prober:
        result = prober.probe(Probe("x/gone", "/run/netns/does-not-exist", "10.0.0.1", 80))
    assert result.outcome is Outcome.FAILED
    assert not result.passed


@pytest.mark.lab
def test_many_probes_at_once_come_back_in_order(runtime: Runtime, ends: tuple[Namespace, Namespace]) -> None:
    probes = [Probe("x/a", ends[0].path, "10.77.0.2", port, "TCP", "x/b") for port in (80, 81) * 300]
    with Prober() as prober:
        results = prober.probe_all(probes)
    assert [r.probe for r in results] == probes
    assert {(r.probe.port, r.outcome) for r in results} == {(80, Outcome.ALLOWED), (81, Outcome.REFUSED)}


@pytest.mark.lab
def test_a_stream_sees_a_server_go_and_come_back(runtime: Runtime, ends: tuple[Namespace, Namespace]) -> None:
    name, port = "x/c", [["TCP", 90]]
    start = {"op": "start", "id": "c", "name": name, "netns": ends[1].path, "ports": port, "alone": False}
    runtime.ask(**start)
    with Prober() as prober:
        stream = prober.stream(Probe("x/a", ends[0].path, "10.77.0.2", 90, "TCP", name), rate=50, timeout=0.3)
        assert stream.wait_for_answer(0, 5)
        exit_event = runtime.ask(op="stop", id="c", grace=1)
        assert (exit_event["event"], exit_event["id"]) == ("exit", "c")
        gone = time.monotonic()
        assert stream.wait_for_answer(gone + 0.1, 0.5) is None
        assert stream.leaks(gone + 0.1) == []
        runtime.ask(**start)
        assert stream.wait_for_answer(time.monotonic(), 5)
        stream.stop()
        assert len(stream.results()) > 10


@pytest.mark.lab
def test_one_connection_is_answered_again_and_again(
    runtime: Runtime, ends: tuple[Namespace, Namespace]
) -> None:
    script = """
import socket
c = socket.create_connection(("10.77.0.2", 80), 5)
for _ in range(3):
    c.sendall(b"hello\\n")
    assert c.recv(100) == b"x/b\\n"
c.sendall(b"push 5\\n")
assert c.recv(100).startswith(b"x/b\\n") and c.recv(100).startswith(b"x/b\\n")
h = socket.create_connection(("fd77::2", 80), 5)
h.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
assert h.recv(1000).startswith(b"HTTP/1.1 200")
print("done")
"""
    assert ends[0].run(sys.executable, "-c", script).strip() == "done"


@pytest.mark.lab
def test_responders_end_with_the_runtime_and_are_small(
    ends: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    forker = Runtime(tmp_path / "s")
    common = {"op": "start", "netns": ends[1].path, "alone": False}
    pids = [
        forker.ask(id=str(i), name=f"x/{i}", ports=[["TCP", 1000 + i]], **common)["pid"] for i in range(5)
    ]
    refused = forker.ask(
        op="start", id="again", name="x/again", netns=ends[1].path, ports=[["TCP", 1000]], alone=False
    )
    assert "in use" in refused["error"]
    assert set(forker.ask(op="list")["containers"]) >= {str(i) for i in range(5)}
    assert "error" in forker.ask(op="start", id="7")  # incomplete: told, and nobody dies of it
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
        assert private < 6000, f"{private} kB"
    forker.close()
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_source_ports_do_not_repeat_within_a_prober_nor_between_two(tmp_path: Path) -> None:
    one, two = SourcePorts(tmp_path / "ports"), SourcePorts(tmp_path / "ports")
    taken = [ports.take("x/a") for _ in range(3 * BLOCK) for ports in (one, two)]
    assert len(set(taken)) == len(taken)
    assert all(FIRST <= port < LAST + BLOCK <= 65535 for port in taken)


def test_sources_may_share_numbers_but_each_counts_for_itself(tmp_path: Path) -> None:
    ports = SourcePorts(tmp_path / "ports")
    assert ports.take("x/a") == ports.take("x/b")
    assert ports.take("x/a") != ports.take("x/a")
