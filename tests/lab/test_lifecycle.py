"""A lab from its beginning to its end, and to its various ends: nothing is left that nobody asked for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.errors import ApiError
from lab import apply, pods, processes
from lab.errors import LabError
from lab.handle import Lab
from lab.nodes import netns
from lab.probing import Prober
from tests.support.lab import command, running_lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("life", nodes=1) as running:
        yield running


def namespaces_of(lab: Lab) -> list[str]:
    return sorted(path.name for path in netns.DIRECTORY.iterdir() if path.name.startswith(f"{lab.name}-"))


def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def cli(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command("antrea-lab"), *arguments], capture_output=True, text=True, timeout=120, check=check
    )


# -- a lab that runs ----------------------------------------------------------------------------------


async def test_pods_come_answer_and_go(lab: Lab) -> None:
    async with lab.client() as client:
        wanted = [pods.pod(f"life/{name}", {"app": name}, [("TCP", 80, "web"), ("UDP", 53)]) for name in "ab"]
        await apply.apply_all(client, [pods.namespace("life"), *wanted, pods.pod("life/silent", ports=())])
        running = await lab.wait_pods_ready(client, ["life/a", "life/b", "life/silent"])
        assert {pod.node for pod in running} == {"node-1"}
        matrix = ("matrix", "--name", lab.name, "-n", "life", "--timeout", "5", "-o", "json")
        measured = json.loads(cli(*matrix, "-p", "web").stdout)
        everybody = {"life/a": True, "life/b": True}
        assert measured == {
            "port": "web",
            "protocol": "TCP",
            "allowed": {"life/a": everybody, "life/b": everybody, "life/silent": everybody},
        }
        by_number = json.loads(cli(*matrix, "-p", "53", "-T", "udp").stdout)
        assert by_number["port"] == 53
        assert by_number["allowed"]["life/a"] == {**everybody, "life/silent": False}
        assert cli("probe", "--name", lab.name, "life/a", "life/b:80").returncode == 0
        assert cli("probe", "--name", lab.name, "life/a", "life/b:81", check=False).returncode == 1
        for pod in running:
            await applier_delete(client, pod.namespace, pod.name)
        until(lambda: not [name for name in namespaces_of(lab) if "-pod-" in name])
        records = lab.directory.node("node-1").kubelet / "sandboxes"
        until(lambda: not list(records.iterdir()))  # each goes when all that it stands for is gone


async def applier_delete(client: object, namespace: str, name: str) -> None:
    metadata = {"namespace": namespace, "name": name}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    await apply.Applier(client).delete(document)  # type: ignore[arg-type]


async def test_a_pod_that_cannot_start_says_why(lab: Lab) -> None:
    async with lab.client() as client:
        taken = pods.pod("life/taken", ports=[("TCP", 10350)])  # the agent's
        taken["spec"] |= {"hostNetwork": True, "nodeName": "node-1"}
        await apply.apply_all(client, [pods.namespace("life"), taken])
        path = "/api/v1/namespaces/life/"

        async def told() -> tuple[str, list[str]]:
            status = (await client.request("GET", path + "pods/taken")).json()["status"]
            events = (await client.request("GET", path + "events")).json()["items"]
            (container,) = status.get("containerStatuses") or [{"state": {}}]
            messages = [e["message"] for e in events if e["involvedObject"]["name"] == "taken"]
            return container["state"].get("waiting", {}).get("reason", ""), messages

        deadline = time.monotonic() + 20
        while (said := await told())[0] != "CreateContainerError":
            assert time.monotonic() < deadline, said
            await asyncio.sleep(0.05)
        assert "port 10350" in said[1][0]
        await applier_delete(client, "life", "taken")


async def test_a_pod_outlives_its_kubelet_and_is_restarted_when_it_dies(lab: Lab) -> None:
    async with lab.client() as client:
        await apply.apply_all(client, [pods.namespace("life"), pods.pod("life/tough")])
        (pod,) = await lab.wait_pods_ready(client, ["life/tough"])

        def responder() -> int | None:
            for process in processes.of_lab(lab.directory.facts().token):
                try:
                    if Path(f"/proc/{process.pid}/comm").read_text().strip() == "pod:tough":
                        return process.pid
                except OSError:
                    continue
            return None

        first = responder()
        assert first
        killed = lab.kill("node-1/kubelet")
        until(lambda: lab.process("node-1/kubelet")["pid"] not in (None, killed))
        await asyncio.sleep(1.0)
        assert responder() == first
        os.kill(first, signal.SIGKILL)
        until(lambda: responder() not in (None, first))
        path = "/api/v1/namespaces/life/pods/tough"

        async def restarts() -> int:
            status = (await client.request("GET", path)).json()["status"]
            return int(status["containerStatuses"][0]["restartCount"])

        deadline = time.monotonic() + 10
        while await restarts() != 1:
            assert time.monotonic() < deadline
        (again,) = await lab.wait_pods_ready(client, ["life/tough"])
        assert again.ips == pod.ips
        await applier_delete(client, "life", "tough")


def test_a_second_supervisor_is_refused_and_disturbs_nothing(lab: Lab) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "lab.supervisor", str(lab.directory.path), "1"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode == 1
    assert f"the lab {lab.name!r} has a supervisor already" in second.stderr
    assert lab.status()["ready"]


def test_everything_that_dies_comes_back(lab: Lab) -> None:
    names = [process["name"] for process in lab.status()["processes"]]
    assert {name.rpartition("/")[2] for name in names} == {
        "api",
        "antrea-controller",
        "ovsdb-server",
        "ovs-vswitchd",
        "runtime",
        "kubelet",
        "antrea-agent",
    }
    for name in names:
        killed = lab.kill(name)
        until(lambda name=name, killed=killed: lab.process(name)["pid"] not in (None, killed))  # type: ignore[misc]
    assert cli("status", "--name", lab.name).stdout.count("SIGKILL") == len(names)


def test_commands_run_in_nodes_and_know_their_switch(lab: Lab) -> None:
    shown = cli(
        "exec", "--name", lab.name, "node/node-1", "--", "ovs-vsctl", "--timeout=10", "list-br"
    ).stdout
    assert shown.split() == ["br-int", "br-phy"]
    addresses = cli("exec", "--name", lab.name, "node/node-1", "--", "ip", "-br", "addr").stdout
    assert "172.31.0.1" in addresses
    assert (
        "no node 'node-9'" in cli("exec", "--name", lab.name, "node/node-9", "--", "true", check=False).stderr
    )


async def test_nodes_join_and_leave(lab: Lab) -> None:
    assert lab.add_node() == "node-2"
    with pytest.raises(LabError, match="already"):
        lab.add_node("node-2")
    async with lab.client() as client:
        far, near = pods.pod("life/far", node="node-2"), pods.pod("life/near", node="node-1")
        await apply.apply_all(client, [pods.namespace("life"), far, near])
        await lab.wait_pods_ready(client, ["life/far", "life/near"])
        result = cli("probe", "--name", lab.name, "--timeout", "5", "life/near", "life/far:80")
        assert "allowed" in result.stdout
        lab.remove_node("node-2")
        names = [
            item["metadata"]["name"]
            for item in (await client.request("GET", "/api/v1/nodes")).json()["items"]
        ]
        assert names == ["node-1"]
        assert [pod.key for pod in await lab.pods(client, ["life"], everything=True)] == ["life/near"]
        await applier_delete(client, "life", "near")
    assert not any("node-2" in name for name in namespaces_of(lab))
    assert not (lab.directory.node("node-2").path).exists()
    with pytest.raises(LabError, match="no node 'node-2'"):
        lab.remove_node("node-2")


# -- ends ---------------------------------------------------------------------------------------------


def test_a_second_lab_lives_beside_the_first_and_a_second_up_says_so(lab: Lab) -> None:
    with running_lab("life", nodes=1) as other:
        assert other.process("api")["pid"] != lab.process("api")["pid"]
        with pytest.raises(LabError, match="up already"):
            other.up(1)
        listed = cli("status", "--all").stdout
        assert lab.name in listed
        assert other.name in listed
    assert lab.status()["ready"]
    assert namespaces_of(other) == []


def nothing_is_left(lab: Lab, token: str) -> None:
    assert namespaces_of(lab) == []
    assert list(processes.of_lab(token)) == []
    assert not lab.directory.path.exists()


def test_down_removes_everything() -> None:
    with running_lab("end", nodes=1) as lab:
        token = lab.directory.facts().token
        report = lab.down()
    assert report.orderly
    assert report.killed == []
    nothing_is_left(lab, token)
    with pytest.raises(LabError, match="there is no lab"):
        lab.down()


def test_what_a_killed_supervisor_leaves_is_removed() -> None:
    with running_lab("end", nodes=1) as lab:
        token = lab.directory.facts().token
        os.kill(lab.status()["pid"], signal.SIGKILL)
        until(lambda: not lab_answers(lab))
        assert len(list(processes.of_lab(token))) > 4
        assert "supervisor does not run" in cli("status", "--name", lab.name, check=False).stderr
        said = cli("down", "--name", lab.name).stderr
    assert "killed what was left" in said
    nothing_is_left(lab, token)


def lab_answers(lab: Lab) -> bool:
    try:
        lab.status()
    except LabError:
        return False
    return True


def test_up_after_a_crash_clears_first() -> None:
    with running_lab("end", nodes=1) as lab:
        first = lab.directory.facts().token
        os.kill(lab.status()["pid"], signal.SIGKILL)
        until(lambda: not lab_answers(lab))
        said: list[str] = []
        lab.up(1, say=said.append)
        assert "supervisor is gone" in said[0]
        assert list(processes.of_lab(first)) == []
        assert lab.status()["ready"]


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.8, 1.5])
def test_a_supervisor_that_is_killed_while_it_comes_up_leaves_nothing(seconds: float) -> None:
    lab = Lab(f"cut-{int(seconds * 100)}")
    argv = [command("antrea-lab"), "up", "--name", lab.name, "--nodes", "2"]
    starting = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: lab.directory.exists)
        token = lab.directory.facts().token
        time.sleep(seconds)
        for process in processes.of_lab(token):
            if "lab.supervisor" in process.command:
                os.kill(process.pid, signal.SIGKILL)
        assert starting.wait(timeout=60) in (0, 1)
    finally:
        starting.kill()
        starting.wait()
        if lab.directory.exists:
            lab.down()
    nothing_is_left(lab, token)


def test_namespaces_of_others_are_left_alone() -> None:
    with running_lab("end", nodes=1) as lab:
        foreign = f"{lab.name}-node-2"
        subprocess.run(["ip", "netns", "add", foreign], check=True)
        try:
            with pytest.raises(LabError, match="did not make"):
                lab.add_node("node-2")
            # One of the lab's own is replaced by somebody else's under the same name.
            ours = lab.directory.node_netns("node-1")
            os.kill(lab.status()["pid"], signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", ours], check=True)
            subprocess.run(["ip", "netns", "add", ours], check=True)
            said = cli("down", "--name", lab.name).stderr
            assert "stays" in said
            assert namespaces_of(lab) == [ours, foreign]
        finally:
            for name in (foreign, lab.directory.node_netns("node-1")):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_without_nodes_only_the_control_plane_runs() -> None:
    with running_lab("zero", nodes=0) as lab:
        assert {process["name"] for process in lab.status()["processes"]} == {"api", "antrea-controller"}
        assert namespaces_of(lab) == []
        assert oct(lab.kubeconfig.stat().st_mode & 0o777) == "0o600"
        with pytest.raises(LabError, match="takes no nodes"):
            lab.add_node()
        with Prober(lab.directory.probe_ports):
            pass  # needs no nodes either


async def test_manifests_applied_again_take_back_what_they_no_longer_say() -> None:
    with running_lab("again", nodes=0) as lab:
        async with lab.client() as client:
            spec = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"]}
            policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec}
            policy["metadata"] = {"name": "p"}
            wanted = [pods.pod("default/a"), policy]
            assert [o.what for o in await apply.apply_all(client, wanted)] == ["created", "created"]
            spec["podSelector"] = {"matchLabels": {"role": "b"}}
            assert [o.what for o in await apply.apply_all(client, wanted)] == ["configured", "configured"]
            path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p"
            assert (await client.request("GET", path)).json()["spec"] == spec
            spec["podSelectr"] = spec.pop("podSelector")
            with pytest.raises(ApiError, match="podSelectr"):
                await apply.apply_all(client, wanted)
        refused = cli("matrix", "--name", lab.name, check=False)
        assert "only the control plane" in refused.stderr
