"""host-local IPAM: no address has two owners, none is lost, and one that was used comes back last."""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cni import ipam as module
from agent.cni.ipam import HostLocalIPAM, NoFreeAddress
from tests.support.smalldisk import small_disk

V4 = ipaddress.ip_network("10.77.1.0/29")  # pods: .2 to .6
V6 = ipaddress.ip_network("fd00::/125")  # pods: ::2 to ::7


def ip(text: str) -> Any:
    return ipaddress.ip_address(text)


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch() as path:
        yield path


@contextmanager
def scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="aocn-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def test_addresses_of_each_family_without_network_gateway_and_broadcast(directory: Path) -> None:
    ipam = HostLocalIPAM(directory, [V4, V6])
    given_out = [ipam.allocate(f"c{number}") for number in range(5)]
    assert [str(v4) for v4, _ in given_out] == [f"10.77.1.{number}" for number in range(2, 7)]
    assert [str(v6) for _, v6 in given_out] == [f"fd00::{number}" for number in range(2, 7)]
    with pytest.raises(NoFreeAddress, match=r"No address of 10.77.1.0/29 is free"):
        ipam.allocate("c5")
    assert ipam.addresses("c5") == ()  # and its IPv6 address was not kept back


def test_layout_is_host_locals(directory: Path) -> None:
    HostLocalIPAM(directory, [V4]).allocate("cid", "eth0")
    assert (directory / "10.77.1.2").read_bytes() == b"cid\r\neth0"
    assert (directory / "last_reserved_ip.0").read_text() == "10.77.1.2"
    assert {path.name for path in directory.iterdir()} == {"10.77.1.2", "last_reserved_ip.0", "lock"}


def test_asked_again_the_same_address_also_by_another_process(directory: Path) -> None:
    first = HostLocalIPAM(directory, [V4]).allocate("c")
    assert HostLocalIPAM(directory, [V4]).allocate("c") == first
    assert HostLocalIPAM(directory, [V4]).allocate("c", "net1") != first


def test_a_directory_of_the_cni_projects_plugin_is_taken_over(directory: Path) -> None:
    (directory / "10.77.1.2").write_bytes(b"old\r\neth0")
    (directory / "10.77.1.3").write_bytes(b"older\neth0\n")
    (directory / "last_reserved_ip.0").write_bytes(b"10.77.1.3")
    ipam = HostLocalIPAM(directory, [V4])
    assert ipam.allocate("new") == (ip("10.77.1.4"),)
    assert ipam.release("old") == (ip("10.77.1.2"),)
    assert ipam.release("older") == (ip("10.77.1.3"),)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\r\n", b"x" * 10000])
def test_a_file_that_nobody_understands_keeps_its_address(directory: Path, content: bytes) -> None:
    (directory / "10.77.1.2").write_bytes(content)
    (directory / "last_reserved_ip.0").write_bytes(content)
    (directory / "notes.txt").write_bytes(content)
    assert HostLocalIPAM(directory, [V4]).allocate("c") == (ip("10.77.1.3"),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("10.77.1.3", b""),
        ("10.77.1.3", b"\x00\xff\x07"),
        ("last_reserved_ip.0", b"10.77.1"),
        ("last_reserved_ip.0", b"\xff"),
    ],
)
def test_a_spoilt_file_is_named_once_and_costs_no_address(
    directory: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes
) -> None:
    HostLocalIPAM(directory, [V4]).allocate("first")
    (directory / name).write_bytes(content)
    ipam = HostLocalIPAM(directory, [V4])
    given_out = [str(ipam.allocate(f"c{number}")[0]) for number in range(2)]
    assert len({"10.77.1.2", *given_out} - {"10.77.1.3" if name == "10.77.1.3" else ""}) == 3
    assert caplog.text.count(str(directory / name)) == 1


@pytest.mark.lab
def test_a_full_disk_refuses_an_address_and_frees_one(directory: Path) -> None:
    with small_disk(directory / "small") as disk:
        ipam = HostLocalIPAM(disk.path / "store", [V4])
        (first,) = ipam.allocate("a")
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            ipam.allocate("b")
        assert ipam.reservations.keys() == {first}
        assert ipam.release("a") == (first,), "giving back needs no room"
        disk.empty()
        (second,) = ipam.allocate("b")
        assert second != first
        assert HostLocalIPAM(disk.path / "store", [V4]).reservations.keys() == {second}
        leftovers = [path.name for path in (disk.path / "store").iterdir() if path.name.startswith(".")]
        assert leftovers == []


def test_a_store_that_cannot_be_made_yet_is_made_later(directory: Path) -> None:
    (directory / "file").touch()
    ipam = HostLocalIPAM(directory / "file" / "store", [V4])
    with pytest.raises(OSError):
        ipam.allocate("a")
    (directory / "file").unlink()
    assert len(ipam.allocate("a")) == 1


def test_an_address_comes_back_after_all_others_then_the_longest_free_first(directory: Path) -> None:
    ipam = HostLocalIPAM(directory, [V4])
    for name in "abcde":
        ipam.allocate(name)  # .2 … .6
    for name in "dab":
        ipam.release(name)  # .5, .2, .3
    assert [str(ipam.allocate(name)[0]) for name in "xyz"] == ["10.77.1.5", "10.77.1.2", "10.77.1.3"]


def test_a_restart_goes_on_behind_the_last_address(directory: Path) -> None:
    first = HostLocalIPAM(directory, [V4])
    first.allocate("a")
    first.release("a")
    assert HostLocalIPAM(directory, [V4]).allocate("b") == (ip("10.77.1.3"),)


def test_collect_frees_what_nobody_keeps(directory: Path) -> None:
    ipam = HostLocalIPAM(directory, [V4])
    for name in "abc":
        ipam.allocate(name)
    assert set(ipam.collect({ip("10.77.1.3")})) == {ip("10.77.1.2"), ip("10.77.1.4")}
    assert set(ipam.reservations) == {ip("10.77.1.3")}


def test_threads_and_instances_share_a_directory(directory: Path) -> None:
    cidr = ipaddress.ip_network("10.9.0.0/24")
    found: list[Any] = []

    def work(part: int) -> None:
        ipam = HostLocalIPAM(directory, [cidr])
        for number in range(20):
            found.append(ipam.allocate(f"{part}-{number}")[0])

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(found) == 80


@pytest.mark.parametrize("cidr", ["10.0.0.0/31", "10.0.0.1/32", "fd00::/127"])
def test_a_cidr_without_room_is_refused(directory: Path, cidr: str) -> None:
    with pytest.raises(ValueError, match="no room"):
        HostLocalIPAM(directory, [ipaddress.ip_network(cidr)])


class Killed(BaseException):
    """SIGKILL, as far as the file system can tell: nothing after it happens."""


WRITES = ["mkstemp", "replace", "link", "unlink", "fdopen"]


@contextmanager
def killed_at(countdown: int) -> Iterator[None]:
    """The process dies before its ``countdown``-th change of the file system, clean-up included."""
    left = [countdown]
    originals: list[tuple[Any, str, Callable[..., Any]]] = [
        (tempfile, "mkstemp", tempfile.mkstemp),
        (os, "replace", os.replace),
        (os, "link", os.link),
        (Path, "unlink", Path.unlink),
        (os, "fdopen", os.fdopen),
    ]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*args, **kwargs)

        return step

    try:
        for holder, name, original in originals:
            setattr(holder, name, wrap(original))
        yield
    finally:
        for holder, name, original in originals:
            setattr(holder, name, original)


Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["allocate", "release", "collect", "restart"]),
        st.sampled_from(list("abcdefg")),
        st.integers(0, 12),  # at which change of the file system this step dies; most steps have fewer
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_killed_between_any_two_writes(sequence: list[Step]) -> None:
    with scratch() as directory:
        ipam = HostLocalIPAM(directory, [V4, V6])
        model: dict[str, tuple[Any, ...]] = {}  # what an ADD that was answered has given out
        unsure: set[str] = set()  # died in an ADD or a DEL: whatever it has, the next DEL frees it
        for action, owner, countdown in sequence:
            try:
                with killed_at(countdown):
                    if action == "allocate":
                        addresses = ipam.allocate(owner)
                        if owner in model:
                            assert addresses == model[owner]
                        model[owner] = addresses
                        unsure.discard(owner)
                    elif action == "release":
                        ipam.release(owner)
                        model.pop(owner, None)
                        unsure.discard(owner)
                    elif action == "collect":
                        ipam.collect({address for addresses in model.values() for address in addresses})
                        unsure.clear()
                    else:
                        raise Killed
            except NoFreeAddress:
                continue
            except Killed:
                if action == "release":
                    model.pop(owner, None)
                if action in ("allocate", "release"):
                    unsure.add(owner)
                ipam = HostLocalIPAM(directory, [V4, V6])
            check(ipam, model, unsure)
        for owner in sorted(unsure | set(model)):
            ipam.release(owner)
        assert ipam.reservations == {}
        assert {path.name for path in directory.iterdir()} <= {
            "lock",
            "last_reserved_ip.0",
            "last_reserved_ip.1",
        }


def check(ipam: HostLocalIPAM, model: dict[str, tuple[Any, ...]], unsure: set[str]) -> None:
    held = [address for owner, addresses in model.items() for address in addresses]
    assert len(set(held)) == len(held)
    reservations = ipam.reservations
    for owner, addresses in model.items():
        for address in addresses:
            assert reservations[address].container_id == owner
    strangers = {owner.container_id for owner in reservations.values()} - set(model)
    assert strangers <= unsure  # nothing is reserved for somebody who never asked


def test_the_module_uses_only_the_writes_that_the_kill_test_knows() -> None:
    source = Path(module.__file__ or "").read_text()
    for name in ("write_text", "write_bytes", "os.rename", "symlink", "truncate", "os.open(self.directory /"):
        assert source.count(name) == (1 if name.startswith("os.open") else 0), name
