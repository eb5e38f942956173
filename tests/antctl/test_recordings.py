"""The command line against recordings of upstream's antctl v2.7.0: what it printed, ours prints.

The server's answers are rebuilt from the same recordings (tests/data/antctl). Not compared: versions, help
texts, the order of group members (random upstream), and wordings of Go's libraries that say the same in
other words here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antctl import main
from runtime.version import FULL
from tests.antctl.server import Answer, FixedServer, status, write_kubeconfig

DATA = Path(__file__).parents[1] / "data" / "antctl"
CASES: list[dict[str, Any]] = [
    case
    for case in json.loads((DATA / "commands.json").read_text())["cases"]
    if not ("featuregates" in case["argv"] and case["exitCode"] == 0)  # tests/controller/test_feature_gates
    and not case["name"].endswith("-fg-output-flag")  # refused by upstream; test_agent_mode has ours
]
ANSWERS: dict[str, Any] = json.loads((DATA / "answers.json").read_text())
CP = "/apis/controlplane.antrea.io/v1beta2"
INFO = "/apis/system.antrea.io/v1beta1/controllerinfos/antrea-controller"
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
VERSION = "v2.7.0-unknown"  # of the recorded binaries

# Rows with equal keys come in any order.
UNSTABLE = ("r-np-sort-sourceRef-type", "r-np-sort-metadata-creationTimestamp")
# The text after these is from a library of the other implementation.
SAME_UP_TO = ("nor could InClusterConfig be used:", "at path 'HOME/bad':")


def recorded(name: str) -> Any:
    return json.loads(next(case for case in CASES if case["name"] == name)["stdout"])


class Cluster:
    """The recorded cluster's answers."""

    def __init__(self) -> None:
        self.empty = False
        self.log_level = 2
        self.policies = {policy["metadata"]["name"]: policy for policy in recorded("r-np-json")}

    def respond(self, path: str, query: dict[str, str]) -> Answer | None:
        if path == "/loglevel":
            return self._log_level(query)
        if path == INFO:
            return 200, json.dumps({**ANSWERS[INFO], "version": VERSION}).encode()
        parts = path.removeprefix(f"{CP}/").split("/")
        if path.startswith(CP) and len(parts) <= 2:
            return self._resource(*parts)
        return None

    def _resource(self, plural: str, name: str = "") -> Answer | None:
        kinds = {"networkpolicies": "NetworkPolicy", "addressgroups": "AddressGroup"}
        kind = kinds.get(plural, "AppliedToGroup")
        if plural == "networkpolicies":
            items = list(self.policies.values())
        else:
            items = [dict(item) for item in ANSWERS[f"{CP}/{plural}"]["items"]]
        head = {"apiVersion": "controlplane.antrea.io/v1beta2"}
        if name:
            found = next((item for item in items if item["metadata"]["name"] == name), None)
            if found is None:
                text = f'{kind.lower()}.controlplane.antrea.io "{name}" not found'
                return status(404, text, "NotFound")
            return 200, json.dumps({"kind": kind, **head, **found}).encode()
        random.Random(7).shuffle(items)
        items = [] if self.empty else items
        return 200, json.dumps({"kind": f"{kind}List", **head, "metadata": {}, "items": items}).encode()

    def _log_level(self, query: dict[str, str]) -> Answer:
        if "level" in query:
            if not query["level"].isdecimal():
                return 400, b"log level must be a positive integer"
            self.log_level = int(query["level"])
            return 200, b""
        return 200, f"{self.log_level}\n".encode()


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Cluster, FixedServer]]:
    cluster = Cluster()
    server = FixedServer(cluster.respond)
    yield cluster, server
    server.close()


def comparable(text: str) -> Any:
    """JSON and YAML of groups with members in a fixed order; other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return "\n".join(sorted(text.splitlines())) if text.startswith(("- name:", "name:")) else text
    return _sorted_members(value)


def _sorted_members(value: Any) -> Any:
    if isinstance(value, list):
        return [_sorted_members(item) for item in value]
    if isinstance(value, dict):
        return {
            key: sorted(item, key=json.dumps) if key in ("pods", "nodes") else item
            for key, item in value.items()
        }
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_output_is_as_recorded(
    case: dict[str, Any],
    cluster: tuple[Cluster, FixedServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster
    state.empty = case["name"].startswith("empty-")
    argv = [word.replace("HOME", str(tmp_path)) for word in case["argv"]]
    for name in ("POD_NAME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANTREA_RUN_DIR", str(tmp_path))
    (tmp_path / "bad").write_text("a: [\n b: }")
    if case["mode"] == "remote":
        write_kubeconfig(tmp_path / "kubeconfig", server.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    elif case["mode"] == "controller":
        monkeypatch.setenv("POD_NAME", "antrea-controller-0")
        argv = [word.replace("https://127.0.0.1:42010", server.url) for word in argv]
    else:
        for name, value in (case.get("env") or {}).items():
            monkeypatch.setenv(name, value.replace("HOME", str(tmp_path)))

    code = main.run(argv)

    printed = capsys.readouterr()
    stderr = printed.err.replace(str(tmp_path), "HOME")
    assert code == case["exitCode"], stderr
    if case.get("stdoutIsHelpText"):
        assert printed.out.startswith("Usage:")
    else:
        given, wanted = printed.out.replace(FULL, VERSION), case["stdout"]
        if case["name"] in UNSTABLE:
            given, wanted = ("\n".join(sorted(text.splitlines())) for text in (given, wanted))
        assert comparable(TIME.sub("TIME", given)) == comparable(TIME.sub("TIME", wanted))
    for cut in SAME_UP_TO:
        if cut in case["stderr"]:
            assert stderr.partition(cut)[0] == case["stderr"].partition(cut)[0]
            return
    assert stderr == case["stderr"]
