"""A running lab: its processes, its nodes, and what the control socket can ask of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

from client import kubeconfig as kubeconfigs
from client.errors import ApiError, ConnectionFailed
from client.resources import AGENT_INFOS, LEASES, NODES, PODS, TIERS
from client.rest import RestClient
from lab import bootstrap
from lab.addressing import MAX_NODES, node_addresses
from lab.directory import LabDirectory
from lab.errors import LabError
from lab.journal import Journal
from lab.nodes import netns, ovs, topology
from lab.processes import TOKEN_VARIABLE, resident_megabytes
from lab.supervisor import plan
from lab.supervisor.control import Progress, number, text
from runtime.child import Child, ProcessSpec

API_START_TIMEOUT = 30.0
API_START_TRIES = 4
API_LOAD_TIMEOUT = 1200.0  # with manifests to read before it serves
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class RunningLab:
    def __init__(self, directory: LabDirectory) -> None:
        self.directory = directory
        self.facts = directory.facts()
        self.journal = Journal(directory.journal)
        self.children: dict[str, Child] = {}
        self.nodes: dict[str, int] = {}  # name → index
        self.started = time.time()
        self.ready = False
        self.failed = ""
        self.stopping = asyncio.Event()
        self._steps: list[str] = []  # what was done so far, for whoever asks later
        self._listeners: list[Progress] = []
        self._listen: socket.socket | None = None
        self._client: RestClient | None = None
        self._joining = asyncio.Lock()  # one node at a time gets its index
        self._environment = {**os.environ, TOKEN_VARIABLE: self.facts.token}

    # -- progress ----------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        self._steps.append(text)
        print(time.strftime("%H:%M:%S"), text, flush=True)
        for listener in self._listeners:
            listener(text)

    # -- processes ---------------------------------------------------------------------------------
    def supervise(self, spec: ProcessSpec) -> Child:
        child = self.children[spec.name] = Child(spec, self._environment)
        child.start()
        return child

    def child(self, name: str) -> Child:
        try:
            return self.children[name]
        except KeyError:
            raise LabError(
                f"the lab has no process {name!r}; it has {', '.join(sorted(self.children))}"
            ) from None

    async def _stop_children(self, wanted: Callable[[str], bool]) -> None:
        names = [name for name in self.children if wanted(name)]
        await asyncio.gather(*(self.children[name].stop() for name in names))
        for name in names:
            del self.children[name]

    # -- coming up ---------------------------------------------------------------------------------
    async def start(self, nodes: int) -> None:
        """Bring everything up; ``ready`` or ``failed`` is set at the end."""
        try:
            await self._start(nodes)
            self.ready = True
            self.say("ready")
        except (LabError, ApiError, ConnectionFailed, OSError) as error:
            self.failed = str(error)
            self.say(f"failed: {error}")
        except Exception as error:  # a mistake in the lab itself: whoever waits must hear of it too
            traceback.print_exc()
            self.failed = f"{type(error).__name__}: {error} (details in {self.directory.supervisor_log})"
            self.say(f"failed: {self.failed}")

    async def _start(self, nodes: int) -> None:
        self._listen = self._open_api_socket()
        if self.facts.with_nodes:
            self.say("control network namespace")
            await topology.make_control(self.directory.control_netns, self.journal)
        self.say("Kubernetes API")
        bootstrap.write_kubeconfigs(self.directory, self.facts)
        self.supervise(plan.api(self.directory, self.facts, self._listen.fileno()))
        names = [f"node-{index}" for index in range(1, nodes + 1)]
        for name in names:
            self.nodes[name] = self._free_index()
        # Switches come up while the API does: neither needs the other.
        switches = asyncio.gather(*(self._make_switch(name) for name in names))
        try:
            client = await self._connect()
            self.say("bootstrap objects: namespaces, accounts, roles, CRDs, APIServices")
            await bootstrap.apply_all(client, self.facts)
            await bootstrap.write_component_kubeconfigs(client, self.directory, self.facts)
            self.supervise(plan.controller(self.directory, self.facts))
            self.say("antrea-controller")
        finally:
            await switches
        for name in names:
            await self._start_node_processes(name)
        await asyncio.gather(*(self._wait_node_ready(name) for name in names), self._wait_aggregated())
        await self._wait_tiers()

    async def _wait_tiers(self, timeout: float = 10.0) -> None:
        """Wait until the controller has made a Tier: its webhooks answer by then, and policies name Tiers."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                await self.client.get(TIERS.path("application"))
                return
            except ApiError as error:
                if error.status != 404:
                    raise
            if time.monotonic() > deadline:
                self.say(
                    "the built-in Tiers are not there yet: Antrea's own policies are refused until they are"
                )
                return
            await asyncio.sleep(0.05)

    async def _wait_aggregated(self, timeout: float = 30.0) -> None:
        """Wait until the controller's API groups are there: kubectl remembers for long which ones are not."""
        path = "/apis/apiregistration.k8s.io/v1/apiservices"
        deadline = time.monotonic() + timeout
        while True:
            absent = {}
            for item in (await self.client.request("GET", path)).json()["items"]:
                conditions = (item.get("status") or {}).get("conditions") or [{}]
                if "service" in item["spec"] and conditions[0].get("status") != "True":
                    absent[item["metadata"]["name"]] = conditions[0].get("message", "not asked yet")
            if not absent:
                return
            if time.monotonic() > deadline:
                name, reason = min(absent.items())
                child = self.child("antrea-controller")
                raise LabError(
                    f"the API group of APIService {name} does not answer: {reason}; antrea-controller is "
                    f"{child.state}, last exit: {child.last_exit or 'none'}. Its log is {child.spec.log}"
                )
            await asyncio.sleep(0.05)

    def _open_api_socket(self) -> socket.socket:
        """The API's address on the host: loopback only. It stays open over the API's restarts."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.facts.api_port))
        listener.listen(256)
        self.facts.api_port = listener.getsockname()[1]
        if not self.facts.with_nodes:
            self.facts.controller_port = _free_port()
        self.directory.write_facts(self.facts)
        return listener

    async def _connect(self) -> RestClient:
        """Wait until the API answers."""
        deadline = time.monotonic() + (API_LOAD_TIMEOUT if self.facts.load else API_START_TIMEOUT)
        child = self.child("api")
        endpoint = await kubeconfigs.load(str(self.directory.kubeconfig))
        self._client = RestClient(endpoint, user_agent="antrea-lab")
        while True:
            try:
                await self._client.request("GET", "/readyz", timeout=2)
                return self._client
            except (ApiError, ConnectionFailed) as error:
                reason = f"{error}; the process is {child.state}, last exit: {child.last_exit or 'none'}"
            if time.monotonic() > deadline or child.starts > API_START_TRIES:
                raise LabError(
                    f"the lab's Kubernetes API does not answer: {reason}. Its log is {child.spec.log}"
                )
            await asyncio.sleep(0.05)

    @property
    def client(self) -> RestClient:
        if self._client is None:
            raise LabError("the lab's Kubernetes API is not up yet")
        return self._client

    # -- nodes -------------------------------------------------------------------------------------
    def _free_index(self) -> int:
        for index in range(1, MAX_NODES + 1):
            if index not in self.nodes.values():
                return index
        raise LabError(f"a lab has at most {MAX_NODES} nodes")

    async def _make_switch(self, name: str) -> None:
        """Namespace, links, the OVS pair and the underlay's address of a node that has its index."""
        index = self.nodes[name]
        node = self.directory.node(name)
        addresses = node_addresses(index, self.facts.family)
        node.create()
        (node.path / "node.json").write_text(json.dumps({"index": index}))
        self.say(f"{name}: network namespace and Open vSwitch")
        namespace = self.directory.node_netns(name)
        await topology.make_node(
            self.directory.control_netns, namespace, addresses, self.journal, self.facts.datapath
        )
        await ovs.create_database(node)
        for spec in plan.open_vswitch(self.directory, self.facts, node):
            self.supervise(spec)
        self.supervise(plan.runtime(self.directory, node))
        await ovs.initialize(node)
        if self.facts.datapath == "userspace":
            await ovs.make_underlay_bridge(node, namespace)
        await topology.address_underlay(namespace, addresses, self.facts.datapath)

    async def _start_node_processes(self, name: str) -> None:
        node = self.directory.node(name)
        addresses = node_addresses(self.nodes[name], self.facts.family)
        self.supervise(plan.kubelet(self.directory, self.facts, node, addresses))
        self.supervise(plan.agent(self.directory, self.facts, node, addresses))
        self.say(f"{name}: kubelet and antrea-agent")

    async def _wait_node_ready(self, name: str, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        reason = "it is not registered"
        while time.monotonic() < deadline:
            try:
                response = await self.client.request("GET", NODES.path(name))
                conditions = (response.json().get("status") or {}).get("conditions") or []
                found = {c["type"]: c for c in conditions}.get("Ready", {})
                if found.get("status") == "True":
                    self.say(f"{name}: ready")
                    return
                reason = found.get("message", "it has not reported yet")
            except (ApiError, ConnectionFailed) as error:
                reason = str(error)
            await asyncio.sleep(0.1)
        agent = self.children.get(f"{name}/antrea-agent")
        hint = (
            f"; antrea-agent: {agent.state}, started {agent.starts} times, log {agent.spec.log}"
            if agent
            else ""
        )
        raise LabError(f"{name} is not ready after {timeout:g} s: {reason}{hint}")

    async def add_node(self, name: str | None) -> str:
        """A node joins. Returns its name once it is ready."""
        if not self.facts.with_nodes:
            raise LabError(
                "this lab has only the control plane (--nodes 0) and takes no nodes; make one with nodes"
            )
        async with self._joining:
            if name is None:
                name = next(n for i in range(1, MAX_NODES + 2) if (n := f"node-{i}") not in self.nodes)
            if not _NODE_NAME.fullmatch(name) or name in ("ctl",) or name.startswith("pod-"):
                raise LabError(
                    f"{name!r} cannot be a node's name: at most 40 lower-case letters, digits and dashes"
                )
            if name in self.nodes:
                raise LabError(f"the lab has a node {name} already")
            self.nodes[name] = self._free_index()
            try:
                await self._make_switch(name)
                await self._start_node_processes(name)
            except BaseException:
                await asyncio.shield(self._dismantle(name))
                raise
        await self._wait_node_ready(name)
        return name

    async def remove_node(self, name: str) -> None:
        """A node leaves for good: its pods and its objects are deleted, then its processes and namespace."""
        if name not in self.nodes:
            raise LabError(f"the lab has no node {name!r}; it has {', '.join(sorted(self.nodes)) or 'none'}")
        async with self._joining:
            self.say(f"{name}: leaves")
            await self._evict(name)
            await self._dismantle(name)
            self.say(f"{name}: gone")

    async def _evict(self, name: str) -> None:
        """Delete the node's pods at once (a node that is gone has no grace to give), and its objects."""
        body = (
            await self.client.request("GET", PODS.path(), query={"fieldSelector": f"spec.nodeName={name}"})
        ).json()
        now = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        paths = [
            PODS.path(p["metadata"]["name"], p["metadata"]["namespace"]) for p in body.get("items") or []
        ]
        # The kubelet stops first: it would register the node anew.
        await self._stop_children(lambda child: child == f"{name}/kubelet")
        paths += [NODES.path(name), AGENT_INFOS.path(name), LEASES.path(name, "kube-node-lease")]
        for path in paths:
            try:
                await self.client.delete(path, now)
            except ApiError as error:
                if error.status != 404:
                    raise

    async def _dismantle(self, name: str) -> None:
        node = self.directory.node(name)
        await self._stop_children(lambda child: child.startswith(f"{name}/"))
        journal = Journal(node.journal)
        for _, namespace in list(journal.remaining()):
            await netns.remove(namespace, journal)
        await topology.remove_node(
            self.directory.control_netns, self.directory.node_netns(name), self.nodes[name], self.journal
        )
        self.nodes.pop(name, None)
        shutil.rmtree(node.path, ignore_errors=True)

    # -- going down --------------------------------------------------------------------------------
    async def stop(self) -> None:
        """End all processes: those that use the others first. What remains is removed by lab/teardown."""
        self.say("stopping")
        if self._client:
            await self._client.close()
        for kinds in (("kubelet",), ("antrea-agent",), ("antrea-controller",), None):
            await self._stop_children(
                lambda name, kinds=kinds: kinds is None or name.rpartition("/")[2] in kinds  # type: ignore[misc]
            )
        if self._listen:
            self._listen.close()

    # -- control socket ----------------------------------------------------------------------------
    def handlers(self) -> dict[str, Any]:
        return {
            "wait": self._on_wait,
            "status": self._on_status,
            "add-node": self._on_add_node,
            "remove-node": self._on_remove_node,
            "signal": self._on_signal,
            "stop-process": self._on_stop_process,
            "start-process": self._on_start_process,
            "down": self._on_down,
        }

    async def _on_wait(self, request: dict[str, Any], progress: Progress) -> None:
        """Wait until the lab is up; tells every step on the way."""
        for step in self._steps:
            progress(step)
        self._listeners.append(progress)
        try:
            while not self.ready and not self.failed:
                await asyncio.sleep(0.02)
        finally:
            self._listeners.remove(progress)
        if self.failed:
            raise LabError(self.failed)

    async def _on_status(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        processes = [
            {
                "name": name,
                "state": child.state,
                "pid": child.pid,
                "uptime": child.uptime,
                "restarts": max(0, child.starts - 1),
                "lastExit": child.last_exit,
                "memory": resident_megabytes(child.pid) if child.pid else 0.0,
                "log": str(child.spec.log),
            }
            for name, child in self.children.items()
        ]
        return {
            "name": self.directory.name,
            "pid": os.getpid(),
            "family": self.facts.family,
            "datapath": self.facts.datapath,
            "ready": self.ready,
            "failed": self.failed,
            "started": self.started,
            "api": f"https://127.0.0.1:{self.facts.api_port}",
            "memory": resident_megabytes(os.getpid()),
            "nodes": [
                {"name": name, "addresses": node_addresses(index, self.facts.family).underlay}
                for name, index in sorted(self.nodes.items(), key=lambda item: item[1])
            ],
            "processes": processes,
        }

    async def _on_add_node(self, request: dict[str, Any], progress: Progress) -> str:
        self._listeners.append(progress)
        try:
            return await self.add_node(text(request, "name") if request.get("name") is not None else None)
        finally:
            self._listeners.remove(progress)

    async def _on_remove_node(self, request: dict[str, Any], progress: Progress) -> None:
        self._listeners.append(progress)
        try:
            await self.remove_node(text(request, "name"))
        finally:
            self._listeners.remove(progress)

    async def _on_signal(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Signal a process; it is started again if that ends it. Returns the pid that was meant."""
        child = self.child(text(request, "process"))
        pid = child.pid
        name = text(request, "signal", "SIGKILL")
        if name not in signal.Signals.__members__:
            raise LabError(f"there is no signal {name!r}; SIGTERM and SIGKILL are the usual ones")
        child.signal(signal.Signals[name])
        return {"pid": pid, "starts": child.starts}

    async def _on_stop_process(self, request: dict[str, Any], progress: Progress) -> float:
        """Stop a process and keep it stopped; returns how many seconds it took."""
        child = self.child(text(request, "process"))
        before = time.monotonic()
        await child.stop(number(request, "grace", 5.0))
        return time.monotonic() - before

    async def _on_start_process(self, request: dict[str, Any], progress: Progress) -> int | None:
        child = self.child(text(request, "process"))
        child.start()
        return child.pid

    async def _on_down(self, request: dict[str, Any], progress: Progress) -> None:
        self._listeners.append(progress)
        await self.stop()
        self.stopping.set()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
