"""Pods attached through the real plugin binary to a real Open vSwitch, and what is left after a crash."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cni import plugin
from agent.cni.naming import host_interface_name
from agent.cni.server import SERVICE
from tests.support.ovs import Namespace, OpenVSwitch, run, unique

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[3]
V4, V6 = "10.77.1.0/24", "fd00:10:77:1::/64"


@dataclass
class Node:
    """A node: Open vSwitch, a mini agent, the plugin installed as an executable, and pods."""

    directory: Path
    ovs: OpenVSwitch
    cidrs: str = V4
    agent: subprocess.Popen[str] | None = None
    mods: int = -1
    pods: dict[str, Namespace] = field(default_factory=dict)

    def start_agent(self, die: str = "", *extra: str) -> None:
        command = [sys.executable, "-m", "tests.support.mini_agent", str(self.directory)]
        command += [
            str(self.ovs.run_dir),
            self.cidrs,
            *self.options(),
            *(["--die", die] if die else []),
            *extra,
        ]
        with open(self.directory / "agent.log", "ab") as log:
            self.agent = subprocess.Popen(
                self.ovs.namespace.command(*command), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        assert self.agent.stdout is not None
        line = self.agent.stdout.readline().split()
        assert line[:1] == ["ready"], (self.directory / "agent.log").read_text()[-4000:]
        self.mods = int(line[1])

    def options(self) -> list[str]:
        return []

    def stop_agent(self, kill: bool = False) -> None:
        if self.agent is not None:
            (self.agent.kill if kill else self.agent.terminate)()
            self.agent.wait(10)
            assert self.agent.stdout is not None
            self.agent.stdout.close()
        self.agent = None

    def restart_agent(self) -> None:
        self.stop_agent()
        self.start_agent()

    def namespace(self, pod: str) -> Namespace:
        if pod not in self.pods:
            self.pods[pod] = Namespace(f"{self.ovs.namespace.name}-{pod}").create()
        return self.pods[pod]

    def container(self, pod: str) -> str:
        return f"cid-{self.ovs.namespace.name}-{pod}"

    def cni(
        self, command: str, pod: str, previous: Any = None, version: str = "1.1.0", **keys: Any
    ) -> tuple[int, Any]:
        """Run the plugin; its exit status and output (None where it printed nothing)."""
        config: dict[str, Any] = {
            "cniVersion": version,
            "name": "antrea",
            "type": "antrea",
            "ipam": {"type": "host-local"},
            **keys,
        }
        if previous is not None:
            config["prevResult"] = previous
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.container(pod),
            "CNI_NETNS": self.namespace(pod).path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}",
            "CNI_PATH": str(self.directory),
        }
        result = subprocess.run(
            [str(self.directory / "bin" / "antrea")],
            input=json.dumps(config),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.stderr == ""
        return result.returncode, json.loads(result.stdout) if result.stdout else None

    def add(self, pod: str) -> Any:
        status, result = self.cni("ADD", pod)
        assert status == 0, result
        return result

    def delete(self, pod: str) -> None:
        status, result = self.cni("DEL", pod)
        assert (status, result) == (0, None)

    def address(self, result: Any, version: int = 4) -> str:
        interfaces = (ipaddress.ip_interface(entry["address"]) for entry in result["ips"])
        return next(str(interface.ip) for interface in interfaces if interface.version == version)

    def ping(self, pod: str, address: str, count: int = 1) -> bool:
        command = self.namespace(pod).command("ping", "-c", str(count), "-W", "2", "-i", "0.2", address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def reserved(self) -> set[str]:
        names = os.listdir(self.directory / "networks" / "antrea")
        return {name for name in names if name.startswith(("10.", "fd00"))}

    def ports(self) -> set[str]:
        return set(self.ovs.vsctl("list-ports", "br-int").split()) - {"antrea-gw0", "antrea-tun0"}

    def veths(self) -> set[str]:
        links = json.loads(self.ovs.namespace.run("ip", "-j", "link", "show", "type", "veth") or "[]")
        return {link["ifname"] for link in links}

    def flows(self, text: str) -> list[str]:
        dump = self.ovs.ofctl("--no-stats", "dump-flows", self.ovs.bridge("br-int"))
        return [line for line in dump.splitlines() if text in line]

    def is_clean(self) -> bool:
        return not (self.reserved() or self.ports() or self.veths())


def make_node(cidrs: str) -> Iterator[Node]:
    directory = Path(tempfile.mkdtemp(prefix="aocn-"))
    try:
        with OpenVSwitch(directory, unique("aocn")) as ovs:
            ovs.namespace.run("ip", "link", "add", "phy0", "type", "bridge")
            ovs.namespace.run("ip", "addr", "add", "192.0.2.1/24", "dev", "phy0")
            ovs.namespace.run("ip", "addr", "add", "2001:db8::1/64", "dev", "phy0", "nodad")
            ovs.namespace.run("ip", "link", "set", "phy0", "up")
            node = Node(directory, ovs, cidrs)
            plugin.install(str(directory / "bin"), str(directory / "cni.sock"))
            node.start_agent()
            try:
                yield node
            finally:
                node.stop_agent(kill=True)
                for namespace in node.pods.values():
                    namespace.delete()
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def node() -> Iterator[Node]:
    yield from make_node(V4)


@pytest.fixture
def dual_stack_node() -> Iterator[Node]:
    yield from make_node(f"{V4},{V6}")


def test_add_gives_two_pods_a_network(node: Node) -> None:
    first, second = node.add("web-0"), node.add("cli-0")
    a, b = node.address(first), node.address(second)
    assert (a, b) == ("10.77.1.2", "10.77.1.3")
    assert node.ping("web-0", b)
    assert node.ping("cli-0", a)
    assert node.ping("web-0", "10.77.1.1")  # the gateway
    assert (
        subprocess.run(node.ovs.namespace.command("ping", "-c1", "-W2", a), capture_output=True).returncode
        == 0
    )


def test_result_and_configuration(node: Node) -> None:
    result = node.add("web-0")
    host = host_interface_name("web-0", node.container("web-0"))
    namespace = node.namespace("web-0")
    (link,) = json.loads(namespace.run("ip", "-j", "addr", "show", "eth0"))
    assert result == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": host, "mac": result["interfaces"][0]["mac"], "mtu": 1450},
            {"name": "eth0", "mac": link["address"], "mtu": 1450, "sandbox": namespace.path},
        ],
        "ips": [{"interface": 1, "address": "10.77.1.2/24", "gateway": "10.77.1.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.1.1"}],
        "dns": {},
    }
    assert (link["mtu"], link["operstate"]) == (1450, "UP")
    assert [
        (entry["local"], entry["prefixlen"]) for entry in link["addr_info"] if entry["family"] == "inet"
    ] == [("10.77.1.2", 24)]
    (default,) = json.loads(namespace.run("ip", "-j", "route", "show", "default"))
    assert (default["gateway"], default["dev"]) == ("10.77.1.1", "eth0")
    assert "tx-checksumming: off" in namespace.run("ethtool", "-k", "eth0")
    assert node.ports() == {host}
    assert node.flows("10.77.1.2")


def test_dual_stack(dual_stack_node: Node) -> None:
    node = dual_stack_node
    first, second = node.add("web-0"), node.add("cli-0")
    for version in (4, 6):
        assert node.ping("cli-0", node.address(first, version), 2), version
        assert node.ping("web-0", node.address(second, version), 2), version
    assert [route["dst"] for route in first["routes"]] == ["0.0.0.0/0", "::/0"]
    assert node.ping("web-0", "fd00:10:77:1::1", 2)


def test_add_twice_is_add_once(node: Node) -> None:
    assert node.add("web-0") == node.add("web-0")
    assert len(node.ports()) == len(node.reserved()) == 1


def test_del_twice_and_del_of_what_never_was(node: Node) -> None:
    node.add("web-0")
    node.delete("web-0")
    assert node.is_clean()
    assert node.flows("10.77.1.2") == []
    node.delete("web-0")
    node.delete("never-was")


def test_del_after_the_namespace_is_gone(node: Node) -> None:
    node.add("web-0")
    node.namespace("web-0").delete()
    node.delete("web-0")
    assert node.is_clean()


def test_an_address_comes_back_last(node: Node) -> None:
    given = []
    for turn in range(3):
        given.append(node.address(node.add(f"pod-{turn}")))
        node.delete(f"pod-{turn}")
    assert given == ["10.77.1.2", "10.77.1.3", "10.77.1.4"]


def test_check(node: Node) -> None:
    result = node.add("web-0")
    assert node.cni("CHECK", "web-0", previous=result) == (0, None)
    status, error = node.cni("CHECK", "web-0")
    assert (status, error["code"]) == (1, 2)
    node.namespace("web-0").run("ip", "addr", "del", "10.77.1.2/24", "dev", "eth0")
    status, error = node.cni("CHECK", "web-0", previous=result)
    assert (status, error["code"]) == (1, 103)
    assert "eth0 has no address 10.77.1.2/24" in error["msg"]
    status, error = node.cni("CHECK", "web-0", previous=result, version="0.3.1")
    assert (status, error["code"]) == (1, 1)


def test_status_and_garbage_collection(node: Node) -> None:
    assert node.cni("STATUS", "any") == (0, None)
    status, error = node.cni("STATUS", "any", version="1.0.0")
    assert (status, error["code"]) == (1, 1)
    kept = node.add("web-0")
    node.add("lost-0")
    (node.directory / "networks" / "antrea" / "10.77.1.200").write_bytes(b"cid-of-a-crash\r\neth0")
    valid = [{"containerID": node.container("web-0"), "ifname": "eth0"}]
    assert node.cni("GC", "any", **{"cni.dev/valid-attachments": valid}) == (0, None)
    assert node.reserved() == {node.address(kept)}
    assert len(node.ports()) == len(node.veths()) == 1
    status, error = node.cni("GC", "any")
    assert (status, error["code"]) == (1, 7)


def test_a_pod_with_an_eth0_of_its_own_is_refused_and_left_alone(node: Node) -> None:
    namespace = node.namespace("odd")
    namespace.run("ip", "link", "add", "eth0", "type", "bridge")
    status, error = node.cni("ADD", "odd")
    assert (status, error["code"]) == (1, 102)
    assert node.is_clean()
    assert "eth0" in namespace.run("ip", "link")


def test_an_agent_that_restarts_sends_nothing_and_pods_go_on(node: Node) -> None:
    first, second = node.add("web-0"), node.add("cli-0")
    node.restart_agent()
    assert node.mods == 0
    assert node.ping("cli-0", node.address(first))
    assert node.add("web-0") == first
    assert node.cni("CHECK", "cli-0", previous=second) == (0, None)
    node.delete("web-0")
    node.delete("cli-0")
    assert node.is_clean()


def test_what_the_api_does_not_know_is_collected_at_start(node: Node) -> None:
    result = node.add("web-0")
    node.add("gone-0")
    node.stop_agent(kill=True)
    (node.directory / "networks" / "antrea" / "10.77.1.200").write_bytes(b"cid-of-a-crash\r\neth0")
    (node.directory / "pods").write_text("default/web-0\n")
    node.start_agent()
    assert node.reserved() == {node.address(result)}
    assert len(node.ports()) == len(node.veths()) == 1
    assert node.flows("10.77.1.3") == []


def test_vswitchd_killed(node: Node) -> None:
    first, _ = node.add("web-0"), node.add("cli-0")
    node.ovs.kill_vswitchd()
    node.ovs.start_vswitchd()
    assert node.ping("cli-0", node.address(first), 5)
    node.add("late-0")
    assert node.ping("late-0", node.address(first))


def test_ovsdb_server_killed(node: Node) -> None:
    first = node.add("web-0")
    node.ovs.kill_ovsdb()
    node.ovs.start_ovsdb()
    node.add("cli-0")
    assert node.ping("cli-0", node.address(first), 5)


def test_policy_comes_before_traffic(node: Node) -> None:
    """Until the pod's policies are realized it has its port, by which rules name it, but no way out or in."""
    node.add("peer")
    node.stop_agent()
    node.start_agent("", "--gate", "20")
    with ThreadPoolExecutor(1) as executor:
        adding = executor.submit(node.add, "web-0")
        name = host_interface_name("web-0", node.container("web-0"))
        await_true(
            lambda: (
                name in node.ports() and node.ovs.vsctl("get", "interface", name, "ofport").strip() != "[]"
            )
        )
        assert node.flows("10.77.1.3") == []
        assert not node.ping("web-0", "10.77.1.2")
        assert not adding.done()
        (node.directory / "realized").touch()
        result = adding.result(20)
    assert node.address(result) == "10.77.1.3"
    assert node.ping("web-0", "10.77.1.2")


def test_policies_that_are_not_realized_in_time_mean_try_again(node: Node) -> None:
    node.stop_agent()
    node.start_agent("", "--gate", "0.3")
    status, error = node.cni("ADD", "web-0")
    assert (status, error["code"]) == (1, 11)
    assert "please retry later" in error["msg"]
    assert node.is_clean()
    (node.directory / "realized").touch()
    node.add("web-0")


def test_random_bytes_on_the_socket(node: Node) -> None:
    """No client can end the agent, or keep the others from being served."""
    first = node.add("web-0")
    generator = random.Random(7)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    headers = plugin.frame(1, 4, 1, b"\x83\x86" + plugin.header(b":path", f"/{SERVICE}/CmdAdd".encode()))
    open_connections = []
    for number in range(60):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(node.directory / "cni.sock"))
        start = (b"", preface, preface + headers, preface + plugin.frame(4, 0, 0, b"") + headers)[number % 4]
        try:
            connection.sendall(start + generator.randbytes(generator.randrange(3000)))
        except OSError:
            pass  # refused half-way, as it should
        open_connections.append(connection)
    assert node.add("web-0") == first
    for connection in open_connections:
        connection.close()
    assert node.add("web-0") == first


def test_sigterm_ends_the_agent_with_a_request_under_way(node: Node) -> None:
    node.stop_agent()
    node.start_agent("", "--gate", "30")
    with ThreadPoolExecutor(1) as executor:
        adding = executor.submit(node.cni, "ADD", "web-0")
        await_true(lambda: node.ports())
        assert node.agent is not None
        node.agent.terminate()
        node.agent.wait(5)
        status, error = adding.result(10)
    assert (status, error["code"]) == (1, 11)


def await_true(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 10 s"
        time.sleep(0.02)


ADD_STEPS = ["allocate", "create_pair", "configure", "add_pod_port", "add", "install_pod", "commit"]
DEL_STEPS = ["uninstall_pod", "commit", "delete_port", "delete", "release"]


def test_agent_killed_at_every_step(node: Node) -> None:
    """After a kill at any step of ADD or DEL, the next DEL leaves nothing, and the next ADD a working pod."""
    peer = node.address(node.add("peer"))
    cases = [("ADD", f"{moment}:{step}") for step in ADD_STEPS for moment in ("before", "after")]
    cases += [("DEL", f"{moment}:{step}") for step in DEL_STEPS for moment in ("before", "after")]
    base = (node.ports(), node.veths(), node.reserved())
    for number, (command, die) in enumerate(cases):
        pod = f"p{number}"
        if command == "DEL":
            node.add(pod)
        node.stop_agent()
        node.start_agent(die)
        status, error = node.cni(command, pod)
        assert (status, error["code"]) == (1, 11), (die, error)
        assert node.agent is not None
        assert node.agent.wait(5) == -9
        node.stop_agent()
        node.start_agent()
        if command == "ADD" and number % 2:  # the runtime may ask for the same sandbox again, or give it up
            node.add(pod)
            assert node.ping(pod, peer), die
        node.delete(pod)
        assert (node.ports(), node.veths(), node.reserved()) == base, die
        node.add(pod)
        assert node.ping(pod, peer), die
        node.delete(pod)
        assert (node.ports(), node.veths(), node.reserved()) == base, die


def test_the_plugin_killed_in_the_middle(node: Node) -> None:
    """The agent carries on; a DEL afterwards undoes it."""
    config = json.dumps(
        {"cniVersion": "1.0.0", "name": "antrea", "type": "antrea", "ipam": {"type": "host-local"}}
    )
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": node.container("p"),
        "CNI_NETNS": node.namespace("p").path,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p",
        "CNI_PATH": "/",
    }
    for _ in range(5):
        process = subprocess.Popen(
            [str(node.directory / "bin" / "antrea")], stdin=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdin is not None
        process.stdin.write(config)
        process.stdin.close()
        run("sleep", "0.02")
        process.kill()
        process.wait()
        node.delete("p")
        assert node.is_clean()
