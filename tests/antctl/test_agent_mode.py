"""antctl on a node: the agent's recorded answers, and what upstream's antctl printed for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from antctl import main
from runtime.version import FULL
from tests.antctl.server import Answer, FixedServer

TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DATA = Path(__file__).parents[1] / "data" / "antctl" / "agent"
BODIES = {f"/{file.stem}": file.read_bytes() for file in DATA.glob("*.body")}


def respond(path: str, query: dict[str, str]) -> Answer | None:
    """What upstream's agent did with these parameters, over its recorded state."""
    if path == "/networkpolicies" and query.get("pod") == "web-0":
        return 400, b"invalid pod option format. Expected format is podNamespace/podName"
    if path == "/networkpolicies" and query.get("name") == "nope":
        return 200, b'{"metadata":{},"items":[]}'
    if path == "/podinterfaces":
        chosen = [
            interface
            for interface in json.loads(BODIES[path])
            if interface["name"] == query.get("name", interface["name"])
            and interface["podNamespace"] == query.get("namespace", interface["podNamespace"])
        ]
        return (200, json.dumps(chosen).encode()) if chosen else (404, b"")
    if path == "/ovsflows":
        if "pod" in query or "service" in query:
            return 500, b"OVS flow dumping failed"
        for parameter, name in (("table-names-only", "--table-names-only"), ("groups", "-G_all")):
            if parameter in query:
                return 200, _flows(name)
        return 200, _flows("-T_IngressRule")
    if path == "/addressgroups":
        return 200, _address_groups()
    if path == "/loglevel" and "level" in query:
        return 200, b""
    return (200, BODIES[path]) if path in BODIES else None


def _flows(name: str) -> bytes:
    lines = (DATA / f"get_ovsflows_{name}.out").read_text().splitlines()[1:]
    return json.dumps([{"flow": line} for line in lines]).encode()


def _address_groups() -> bytes:
    """The list as the agent sends it, from what antctl made of it."""
    import base64
    import ipaddress

    items = []
    for group in json.loads((DATA / "get_addressgroup_-o_json.out").read_text()):
        members = [
            {
                "pod": member["pod"],
                "ips": [base64.b64encode(ipaddress.IPv6Address(f"::ffff:{member['ip']}").packed).decode()],
                "ports": member["ports"],
            }
            for member in group["pods"]
        ]
        items.append({"metadata": {"name": group["name"]}, "groupMembers": members})
    return json.dumps({"items": items}).encode()


@pytest.fixture(scope="module")
def agent() -> Iterator[FixedServer]:
    server = FixedServer(respond)
    yield server
    server.close()


COMMANDS = [
    (line.partition(" -> ")[0], int(line.partition(" -> ")[2]))
    for line in (DATA / "index.txt").read_text().splitlines()
]
# A recording exists for the commands that this version has; featuregates asks the agent itself here, while
# upstream's wanted a kubeconfig in the agent's Pod.
HERE = [
    pair
    for pair in COMMANDS
    if (DATA / (pair[0].removeprefix("antctl ").replace(" ", "_") + ".out")).exists()
]


@pytest.mark.parametrize(("command", "exit_code"), HERE, ids=[command for command, _ in HERE])
def test_output_is_as_recorded(
    command: str,
    exit_code: int,
    agent: FixedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "apiserver").mkdir()
    (tmp_path / "apiserver" / "loopback-client-token").write_text("secret\n")
    monkeypatch.setenv("POD_NAME", "antrea-agent-n1")
    monkeypatch.setenv("ANTREA_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("ANTREA_API_SERVER", agent.url)

    assert main.run(command.split()) == exit_code

    stem = command.removeprefix("antctl ").replace(" ", "_")
    printed = capsys.readouterr()
    wanted = (DATA / f"{stem}.out").read_text()
    assert TIME.sub("TIME", printed.out.replace(FULL, "v2.7.0-unknown")) == TIME.sub("TIME", wanted)
    if (DATA / f"{stem}.err").exists():
        assert printed.err == (DATA / f"{stem}.err").read_text()
    if agent.requests and exit_code == 0:
        assert agent.requests[-1][2]["Authorization"] == "Bearer secret"


def test_most_recorded_commands_are_compared() -> None:
    assert len(HERE) >= 20


def test_feature_gates_come_from_the_agent(
    agent: FixedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POD_NAME", "antrea-agent-n1")
    monkeypatch.setenv("ANTREA_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("ANTREA_API_SERVER", agent.url)
    assert main.run(["antctl", "get", "featuregates"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Antrea Agent Feature Gates"
    assert lines[1].split() == ["FEATUREGATE", "STATUS", "VERSION"]
    assert len(lines) == 2 + len(json.loads(BODIES["/featuregates"]))

    assert main.run(["antctl", "get", "featuregates", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(BODIES["/featuregates"])
    assert main.run(["antctl", "get", "featuregates", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == json.loads(BODIES["/featuregates"])
