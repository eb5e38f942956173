"""The configuration files as they are installed: every key is there, commented out, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.config import AgentConfig, load
from controller.config import ControllerConfig
from runtime import config
from runtime.errors import ConfigurationError
from runtime.features import GATES, FeatureGates

DIRECTORY = Path(__file__).parents[2] / "deploy" / "base" / "config"
FILES: dict[str, tuple[type[Any], str]] = {
    "antrea-agent.conf": (AgentConfig, "A"),
    "antrea-controller.conf": (ControllerConfig, "C"),
}
# For processes that share a file system, or for machines that are no Nodes: not for a cluster's ConfigMap.
ELSEWHERE = {
    "AgentConfig": {
        "clientConnection", "antreaClientConnection", "cniSocket", "ovsRunDir", "hostProcPathPrefix",
        "nodeName", "runDir", "cniDataDir", "apiAddress", "controllerAddress", "antreaNamespace",
        "tunnelName", "policyWaitTimeout", "nodeType", "externalNode",
        # The spellings of older releases.
        "multicastInterfaces", "flowCollectorAddr", "flowPollInterval", "activeFlowExportTimeout",
        "idleFlowExportTimeout",
    },
    "ControllerConfig": {"clientConnection", "apiAddress", "runDir"},
}  # fmt: skip


def uncommented(text: str) -> str:
    """``#key:`` and ``#  key:`` are keys that are commented out; ``# Text`` is a comment."""
    return "\n".join(re.sub(r"^#(?! ?\S*\s*# )(?! \S)", "", line) for line in text.splitlines())


@pytest.mark.parametrize("name", FILES)
def test_as_installed_nothing_is_set(name: str) -> None:
    shape, _ = FILES[name]
    loaded = config.load(DIRECTORY / name, shape)
    assert loaded.value == shape()
    assert loaded.inert == []


@pytest.mark.parametrize("name", FILES)
def test_every_gate_is_shown_with_its_default(name: str) -> None:
    shape, component = FILES[name]
    loaded = config.parse(uncommented((DIRECTORY / name).read_text()), shape, name)
    shown = loaded.value.feature_gates
    assert shown == {gate.name: gate.default for gate in GATES.values() if component in gate.components}
    FeatureGates(component, shown, name)


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_shown(name: str) -> None:
    shape, _ = FILES[name]
    text = (DIRECTORY / name).read_text()
    shown = set(re.findall(r"^#?(\w+):", text, re.MULTILINE))
    keys = {field.encode_name for field in msgspec.structs.fields(shape)}
    assert shown == keys - ELSEWHERE[shape.__name__]


OVERLAYS = sorted((DIRECTORY.parents[1] / "overlays").glob("*/antrea-agent.conf"))
NOT_YET = {
    "no-encap": "trafficEncapMode",
    "hybrid": "trafficEncapMode",
    "network-policy-only": "trafficEncapMode",
    "ipsec": "trafficEncryptionMode",
}


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.parent.name)
def test_an_overlay_is_understood_or_refused_by_name(path: Path) -> None:
    config.load(path, AgentConfig)
    missing = NOT_YET.get(path.parent.name)
    if missing is None:
        load(str(path))
        return
    with pytest.raises(ConfigurationError, match=rf"value of {missing} in .*(supported|encrypted)"):
        load(str(path))
    assert "Not yet" in (path.parent / "kustomization.yaml").read_text()
