"""``kubectl apply -k deploy/`` on a real cluster, and what then runs with what the manifests give."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import binaries

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy" / "overlays").glob("*") if path.is_dir())
pytestmark = [pytest.mark.kubernetes, pytest.mark.lab]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scenario of tests.kubernetes.deployed, once for all tests of this file."""
    result = tmp_path_factory.mktemp("deployed") / "result.json"
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m"]
    done = subprocess.run(
        [*command, "tests.kubernetes.deployed", str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(result.read_text()))


def test_everything_is_created_and_a_second_time_unchanged(deployed: dict[str, Any]) -> None:
    assert all(line.endswith(" created") for line in deployed["applied"])
    assert [line for line in deployed["applied again"] if not line.endswith(" unchanged")] == []


def test_the_groups_are_available_and_the_controller_says_where_it_is(deployed: dict[str, Any]) -> None:
    assert len(deployed["available"]) == 3
    assert deployed["controller info"] == {"pod": True, "node": "node-1"}


def test_the_agent_is_healthy_and_connected(deployed: dict[str, Any]) -> None:
    assert deployed["agent info"] == {"subnets": ["10.89.0.0/24"], "node": "node-1"}


def test_antctl_with_its_own_account_asks_controller_and_agent(deployed: dict[str, Any]) -> None:
    assert "controllerVersion: v2.7.0" in deployed["antctl version"]
    assert "Antrea Agent Feature Gates" in deployed["antctl get featuregates"]
    assert "K8sNetworkPolicy:default/web" in deployed["antctl get networkpolicy"]
    assert deployed["agent's own API"] == "node-1"


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("version", "agentVersion: v2.7.0"),
        ("log-level", "0\n"),
        ("get agentinfo", "node-1 Healthy 10.89.0.0/24 1 "),
        ("get podinterface", "default web "),
        ("get networkpolicy", "K8sNetworkPolicy:default/web"),
        ("get appliedtogroup", "default/web"),
        ("get addressgroup", "NAME POD-IPS NODE-IPS"),
        ("get ovsflows -T IngressDefaultRule", "actions=drop"),
        ("get featuregates", "Antrea Agent Feature Gates"),
    ],
)
def test_antctl_asks_the_agent_in_its_pod(words: str, printed: str, deployed: dict[str, Any]) -> None:
    assert printed in re.sub(" +", " ", deployed["antctl on the node"][words])


def test_antctl_proxy_reaches_the_agent_at_its_nodes_address(deployed: dict[str, Any]) -> None:
    assert deployed["antctl proxy"] == ["web"]


def test_strangers_at_the_nodes_address_get_nothing_but_health(deployed: dict[str, Any]) -> None:
    assert deployed["strangers"] == {"/healthz": 200, "/agentinfo": 403, "/version": 403, "/metrics": 403}


def test_a_pod_is_attached_and_its_policy_is_in_open_vswitch(deployed: dict[str, Any]) -> None:
    assert deployed["pod address"].startswith("10.89.0.")
    assert deployed["policies"] == ["web"]


def test_webhooks_and_conversions_are_called(deployed: dict[str, Any]) -> None:
    assert deployed["refused"] == [
        "ExternalIPPool nowhere does not exist",
        "requested source Pod default/nobody not found",
    ]


@pytest.mark.parametrize("component", ["antrea-controller", "antrea-agent"])
def test_nothing_is_forbidden(deployed: dict[str, Any], component: str) -> None:
    assert deployed[f"{component} forbidden"] == []


@pytest.mark.parametrize("component", ["antrea-controller", "antrea-agent"])
def test_every_rule_is_used(deployed: dict[str, Any], component: str) -> None:
    """Least privilege: a verb on a resource that nobody has asked for here is one too many."""
    used = set(deployed[f"{component} used"])
    idle = []
    for rule in deployed[f"{component} rules"]:
        for verb in rule["verbs"]:
            for path in rule.get("nonResourceURLs", ()):
                if f"{verb} {path}" not in used:
                    idle.append(f"{verb} {path}")
            for group in rule.get("apiGroups", ()):
                for resource in rule.get("resources", ()):
                    for name in rule.get("resourceNames", ("",)):
                        wanted = f"{verb} {group}/{resource} {name}".rstrip()
                        if not any(
                            one == wanted or (not name and one.startswith(f"{wanted} ")) for one in used
                        ):
                            idle.append(wanted)
    assert idle == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_build(overlay: str) -> None:
    command = [str(binaries.require("kubectl")), "kustomize", str(ROOT / "deploy" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "kind: DaemonSet" in done.stdout
