"""A lab's directory: made once, marked, removed only if it is one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lab.addressing import node_addresses
from lab.directory import LabDirectory, LabFacts, labs, write_atomically
from lab.errors import LabError


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 21, "a_b"])
def test_names_that_cannot_be_namespaces_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="name"):
        LabDirectory(name, tmp_path)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    directory = LabDirectory("one", tmp_path)
    directory.create(LabFacts("one", "t"))
    with pytest.raises(LabError, match="there already"):
        LabDirectory("one", tmp_path).create(LabFacts("one", "t"))
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert [lab.name for lab in labs(tmp_path)] == ["one"]
    assert directory.facts() == LabFacts("one", "t", created=directory.facts().created)


def test_a_removed_lab_is_gone_and_an_unknown_one_says_so(tmp_path: Path) -> None:
    directory = LabDirectory("one", tmp_path)
    directory.create(LabFacts("one", "t"))
    directory.node("node-1").create()
    directory.remove()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LabError, match="antrea-lab up"):
        directory.facts()


def test_a_directory_that_no_lab_made_is_not_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "precious"
    foreign.mkdir()
    (foreign / "file").write_text("mine")
    LabDirectory("precious", tmp_path).remove()
    assert (foreign / "file").read_text() == "mine"
    assert list(labs(tmp_path)) == []


def test_written_files_are_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write_atomically(path, "a")
    write_atomically(path, "b")
    assert path.read_text() == "b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("index", "family", "underlay", "cidrs"),
    [
        (1, "ipv4", ("172.31.0.1",), ("10.10.1.0/24",)),
        (17, "ipv6", ("fd00:31::11",), ("fd00:10:10:11::/64",)),
        (2, "dual", ("172.31.0.2", "fd00:31::2"), ("10.10.2.0/24", "fd00:10:10:2::/64")),
    ],
)
def test_addresses_follow_from_index_and_family(
    index: int, family: str, underlay: tuple[str, ...], cidrs: tuple[str, ...]
) -> None:
    addresses = node_addresses(index, family)
    assert addresses.underlay == underlay
    assert addresses.pod_cidrs == cidrs


def test_no_two_nodes_share_an_address() -> None:
    everything = [
        a
        for i in range(1, 201)
        for a in (
            *node_addresses(i, "dual").underlay,
            *node_addresses(i, "dual").pod_cidrs,
            node_addresses(i, "dual").management,
        )
    ]
    assert len(everything) == len(set(everything))
