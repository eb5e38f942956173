"""Configuration files: what is accepted, and which sentence ends the start."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import config
from runtime.config import Inert, Section
from runtime.errors import ConfigurationError
from runtime.features import GATES, FeatureGates


class Inner(Section):
    port: int = 1
    names: list[str] = []
    old_name: Inert[str] = ""


class Outer(Section):
    api_port: int = 10
    ratio: float = 0.5
    enabled: bool | None = None
    inner: Inner = msgspec.field(default_factory=Inner)
    unused: Inert[Inner] = msgspec.field(default_factory=Inner)
    acronym: str = msgspec.field(name="kubeAPIServer", default="")


@pytest.mark.parametrize(
    ("text", "wanted", "inert"),
    [
        ("", Outer(), []),
        ("# only a comment\n", Outer(), []),
        ("apiPort: 5\nratio: 1\n", Outer(api_port=5, ratio=1.0), []),
        ("enabled: true\nkubeAPIServer: h", Outer(enabled=True, acronym="h"), []),
        ("inner: {port: 3, names: [a]}", Outer(inner=Inner(port=3, names=["a"])), []),
        ("inner:\napiPort:\n", Outer(), []),
        ("inner: {oldName: x}", Outer(inner=Inner(old_name="x")), ["inner.oldName"]),
        ("unused: {port: 3, oldName: x}", Outer(unused=Inner(port=3, old_name="x")), ["unused"]),
    ],
)
def test_what_a_file_says(text: str, wanted: Outer, inert: list[str]) -> None:
    loaded = config.parse(text, Outer, "f.conf")
    assert (loaded.value, loaded.inert) == (wanted, inert)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiPrt: 5", ["apiPrt", "not known", "did you mean apiPort?"]),
        ("inner: {prt: 5}", ["inner.prt", "inner.port"]),
        ("unused: {nothing: 5}", ["unused.nothing"]),
        ("apiPort: x", ["apiPort", "whole number"]),
        ("inner: {port: 1.5}", ["inner.port"]),
        ("inner: {names: [1]}", ["inner.names"]),
        ("inner: text", ["inner", "a mapping"]),
        ("unused: {port: x}", ["unused.port"]),
        ("apiPort: 1\napiPort: 2", ["'apiPort' twice", "lines 1 and 2"]),
        ("- a", ["a list"]),
        ("5: 6", ["key 5", "line 1"]),
        ("a: [", ["not valid YAML", "line"]),
        ("a: !!python/object/apply:os.system [true]", ["not valid YAML"]),
    ],
)
def test_mistakes_are_named_with_key_and_file(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.parse(text, Outer, "some/f.conf")
    sentence = str(refused.value)
    for word in ["some/f.conf", *words]:
        assert word.lower() in sentence.lower()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        config.parse(text, Outer, "f.conf")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        config.load(tmp_path / "missing", Outer)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        config.load(tmp_path / "binary", Outer)


def test_every_gate_of_the_release_is_known() -> None:
    assert len(GATES) == 34
    assert {name for name, gate in GATES.items() if gate.locked} == {
        "EndpointSlice", "TopologyAwareHints", "ServiceTrafficDistribution",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "name", "enabled"),
    [
        ({}, "AntreaPolicy", True),
        ({}, "Multicluster", False),
        ({"Multicluster": True}, "Multicluster", True),
        ({"AllAlpha": True}, "Multicluster", True),
        ({"AllAlpha": True}, "AdminNetworkPolicy", False),
        ({"AllBeta": False}, "AntreaPolicy", False),
        ({"AllBeta": False, "AntreaPolicy": True}, "AntreaPolicy", True),
        ({"L7FlowExporter": True}, "AntreaPolicy", True),
    ],
)
def test_gates_follow_groups_and_then_names(overrides: dict[str, bool], name: str, enabled: bool) -> None:
    assert FeatureGates("C", overrides).enabled(name) is enabled


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"AntreaPolcy": True}, ["AntreaPolcy", "did you mean AntreaPolicy?"]),
        ({"EndpointSlice": False}, ["EndpointSlice", "locked"]),
        ({"SecondaryNetwork": True}, ["SecondaryNetwork", "AntreaIPAM"]),
        ({"ClusterNetworkPolicy": True, "AntreaPolicy": False}, ["ClusterNetworkPolicy", "AntreaPolicy"]),
    ],
)
def test_wrong_gates_end_the_start(overrides: dict[str, bool], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        FeatureGates("A", overrides, "agent.conf")
    for word in ["agent.conf", *words]:
        assert word in str(refused.value)


def test_gates_without_effect_are_named() -> None:
    gates = FeatureGates("C", {"Multicast": True, "L7FlowExporter": True, "AllAlpha": False})
    assert gates.without_effect(["Multicast"]) == ["L7FlowExporter"]
