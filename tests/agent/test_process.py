"""antrea-agent as a process, on a private Open vSwitch, with neither Kubernetes API nor controller to find.

It comes up from what is on the disk, goes on trying, and a restart sends the switch nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.policies.disk import PolicyDisk
from agent.policies.objects import Kind
from agent.policies.stream import Put, decode
from tests.agent.policies.support import group_message, policy_message
from tests.support.ovs import OpenVSwitch, unique

pytestmark = pytest.mark.lab

PATIENCE = 30.0


class Node:
    """A node with its Open vSwitch and a run directory in which an earlier agent has left its Node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ovs = OpenVSwitch(directory, unique("agentproc"))
        self.run_dir = directory / "run"
        self.config = directory / "agent.conf"
        self.agents = 0
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        self.ovs.__enter__()
        namespace = self.ovs.namespace
        namespace.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        namespace.run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
        for link in ("up0", "up1"):
            namespace.run("ip", "link", "set", link, "up")
        self.run_dir.mkdir()
        node = {
            "metadata": {"name": "n1"},
            "spec": {"podCIDRs": ["10.77.1.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }
        (self.run_dir / "node.json").write_text(json.dumps(node))
        kubeconfig = self.directory / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(KUBECONFIG))
        self.config.write_text(
            yaml.safe_dump(
                {
                    "clientConnection": {"kubeconfig": str(kubeconfig)},
                    "ovsDatapathType": "netdev",
                    "ovsRunDir": str(self.ovs.run_dir),
                    "hostProcPathPrefix": "",
                    "nodeName": "n1",
                    "runDir": str(self.run_dir),
                    "cniDataDir": str(self.directory / "cni"),
                }
            )
        )

    def remember_policies(self) -> None:
        """What an earlier agent has received: one policy that selects the pod default/web-0."""
        disk = PolicyDisk(self.run_dir / "networkpolicy")
        peers = [{"pod": ("default", "cli"), "ips": ["10.77.2.2"]}]
        rule = {"direction": "In", "groups": ["g"], "services": [("TCP", 80, None)]}
        for kind, message in (
            (Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", peers)),
            (
                Kind.APPLIED_TO_GROUP,
                group_message(Kind.APPLIED_TO_GROUP, "t", [{"pod": ("default", "web-0")}]),
            ),
            (Kind.NETWORK_POLICY, policy_message("p1", [rule], ["t"])),
        ):
            value = decode(kind, message)
            disk.record([(Put(kind, value, message), value)])
        disk.mark_synced()
        disk.close()

    def attach_pod(self) -> None:
        """What an earlier agent has attached, as OVSDB and the kernel keep it."""
        self.ovs.namespace.run(
            "ip", "link", "add", "web-0-abcdef", "type", "veth", "peer", "name", "web-0-peer"
        )
        ids = {
            "antrea-type": "container",
            "attached-mac": "0a:00:00:00:00:01",
            "container-id": "cid",
            "ip-address": "10.77.1.2",
            "pod-name": "web-0",
            "pod-namespace": "default",
        }
        settings = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        self.ovs.vsctl("add-port", "br-int", "web-0-abcdef", "--", "set", "port", "web-0-abcdef", *settings)

    def start(self) -> str:
        """Start an agent and wait until it is ready; its log."""
        self.agents += 1
        path = self.directory / f"agent-{self.agents}.log"
        command = str(Path(sys.executable).with_name("antrea-agent"))
        with path.open("wb") as log:
            self.process = subprocess.Popen(
                self.ovs.namespace.command(command, "--config", str(self.config)), stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while "is ready" not in path.read_text():
            assert self.process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, path.read_text()
            time.sleep(0.05)
        return path.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(5)  # the promise
        self.process = None
        return status

    def get(self, path: str) -> str:
        token = (self.run_dir / "apiserver" / "loopback-client-token").read_text()
        return self.ovs.namespace.run(sys.executable, "-c", GET, f"/{path}", token)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.ovs.close()


# Inside the node's namespace; the local API's certificate is its own. Bodies count whatever the status.
GET = """
import http.client, ssl, sys
connection = http.client.HTTPSConnection("127.0.0.1", 10350, timeout=5,
    context=ssl._create_unverified_context())
connection.request("GET", sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
sys.stdout.write(connection.getresponse().read().decode())
"""

KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [
        {"name": "c", "cluster": {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": True}}
    ],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


@pytest.fixture
def node() -> Iterator[Node]:
    directory = Path(tempfile.mkdtemp(prefix="aap-"))  # short: sockets live in it
    made = Node(directory)
    try:
        made.prepare()
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


def mods(log: str) -> list[int]:
    """What the first synchronization of an agent sent: added, modified, deleted."""
    found = re.search(r"added=(\d+), modified=(\d+), deleted=(\d+), groups=0, meters=0", log)
    assert found is not None, log
    return [int(number) for number in found.groups()]


def test_an_agent_comes_up_from_the_disk_and_a_restart_sends_nothing(node: Node) -> None:
    node.remember_policies()
    first = node.start()
    assert "Restored 1 policies" in first
    assert mods(first)[0] > 0
    assert node.stop() == 0

    node.attach_pod()
    second = node.start()
    added, modified, deleted = mods(second)
    assert added > 0  # the pod's flows, and the policy's now that its pod is there
    assert (modified, deleted) == (0, 0)
    flows = [entry["flow"] for entry in json.loads(node.get("ovsflows?networkpolicy=p1-source&namespace=ns"))]
    assert any("nw_src=10.77.2.2" in flow and "conjunction" in flow for flow in flows)
    assert any("table=IngressDefaultRule" in flow and flow.endswith("actions=drop") for flow in flows)
    of_pod = [entry["flow"] for entry in json.loads(node.get("ovsflows?pod=web-0&namespace=default"))]
    assert any("table=SpoofGuard" in flow and "10.77.1.2" in flow for flow in of_pod)
    assert json.loads(node.get("podinterfaces"))[0]["name"] == "web-0"

    node.stop(signal.SIGKILL)
    assert mods(node.start()) == [0, 0, 0]
    assert node.stop() == 0
    assert mods(node.start()) == [0, 0, 0]
    assert node.get("livez") == "ok"
    assert "[-]watcher failed" in node.get("readyz")  # no controller: alive, but not ready


def test_spoilt_state_ends_no_agent(node: Node) -> None:
    node.remember_policies()
    for path in (node.run_dir / "networkpolicy").glob("journal-*"):
        path.write_bytes(b"\xff" * 500)
    (node.run_dir / "networkpolicy" / "network-policies").mkdir(exist_ok=True)
    (node.run_dir / "networkpolicy" / "network-policies" / "junk").write_bytes(b"k8s\0junk")
    (node.run_dir / "conjunction-ids").write_bytes(b"\xff\xfe garbage\n\n")
    log = node.start()
    assert "junk is left out" in log
    assert node.stop() == 0


def test_an_agent_waits_for_open_vswitch(node: Node) -> None:
    node.remember_policies()
    node.ovs.kill_vswitchd()
    path = node.directory / "late.log"
    command = str(Path(sys.executable).with_name("antrea-agent"))
    with path.open("wb") as log:
        node.process = subprocess.Popen(
            node.ovs.namespace.command(command, "--config", str(node.config)), stdout=log, stderr=log
        )
    deadline = time.monotonic() + PATIENCE
    while "cannot be prepared yet" not in path.read_text():
        assert node.process.poll() is None, path.read_text()
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.1)
    node.ovs.start_vswitchd()
    while "is ready" not in path.read_text():
        assert node.process.poll() is None, path.read_text()
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.1)
    assert node.stop() == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("apiPrt: 1", "'apiPrt', which is not known"),
        ("clientConnection: {kubeconfig: /no/such/file}", "/no/such/file"),
    ],
)
def test_a_mistake_in_the_configuration_ends_the_start_with_a_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "agent.conf"
    path.write_text(f"{text}\nrunDir: {tmp_path / 'run'}\n")
    command = str(Path(sys.executable).with_name("antrea-agent"))
    result = subprocess.run(
        [command, "--config", str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("antrea-agent:")]
    assert sentence in line
