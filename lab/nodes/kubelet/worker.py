"""One pod's life: a task that brings what is there to what the Pod object wants, again and again.

It wakes when the object changes, when the responder ends, when a readiness probe changes its mind, and
when something that failed is due again. One task per pod uid, so that nothing of one pod runs twice.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from client.errors import ApiError, ConnectionFailed
from client.resources import PODS
from lab.errors import LabError
from lab.nodes.kubelet import pod_facts, pod_status, readiness
from lab.nodes.kubelet.pod_facts import Pod
from lab.nodes.kubelet.sandbox import CniError, Sandbox
from runtime import log
from runtime.backoff import Backoff

if TYPE_CHECKING:
    from lab.nodes.kubelet.kubelet import Kubelet

logger = log.get("lab.kubelet.pod")
STABLE = 10.0  # seconds that a responder must live for its back-off to start over


class PodWorker:
    def __init__(self, kubelet: Kubelet, uid: str, sandbox: Sandbox | None) -> None:
        self._kubelet = kubelet
        self.uid = uid
        self.sandbox = sandbox
        self.pod: Pod | None = None
        self._known = False  # whether the API has told of the pod yet, or of its absence
        self._wake = asyncio.Event()
        self._ready: dict[str, bool] = {}
        self._probes: list[asyncio.Task[None]] = []
        self._probing = False
        self._exit: int | None = None  # an exit that is not dealt with yet
        self._ended_as: str | None = None  # Succeeded, Failed
        self._ended: Sandbox | None = None  # what it ran in: the status still tells of it
        self._waiting = ""
        self._sent: dict[str, Any] | None = None
        self._stopping = False
        self._setup_backoff = Backoff(initial=0.2, maximum=10)
        self._restart_backoff = Backoff(initial=0.05, maximum=20)
        self._attempt_at = 0.0  # not before this time (monotonic) is something that failed tried again
        self.task = asyncio.create_task(self._run(), name=f"pod {uid}")

    # -- what happens around it -------------------------------------------------------------------------
    def update(self, pod: Pod | None) -> None:
        """The object as it is now; None: it was deleted."""
        self.pod = pod
        self._known = True
        self._wake.set()

    def exited(self, status: int) -> None:
        self._exit = status
        self._wake.set()

    # -- the task ---------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                finished = await self._step()
            except (LabError, ApiError, ConnectionFailed, OSError) as error:
                logger.warning("%s: %s", self._name, error)
                self._attempt_at = time.monotonic() + self._setup_backoff.next()
                finished = False
            except Exception:  # a pod that is odd in a way nobody thought of must not be forgotten
                logger.exception("%s cannot be dealt with", self._name)
                self._attempt_at = time.monotonic() + self._setup_backoff.next()
                finished = False
            if finished:
                break
            delay = self._attempt_at - time.monotonic()
            try:
                await asyncio.wait_for(self._wake.wait(), delay if delay > 0 else None)
            except TimeoutError:
                self._attempt_at = 0.0
        self._stop_probes()
        self._kubelet.finished(self.uid)

    @property
    def _name(self) -> str:
        if self.pod:
            return pod_facts.key(self.pod)
        return f"{self.sandbox.namespace}/{self.sandbox.name}" if self.sandbox else self.uid

    async def _step(self) -> bool:
        """One round; True when nothing of the pod is left."""
        pod = self.pod
        if not self._known:
            return False
        if pod is None:
            await self._take_down()
            return True
        if pod_facts.terminating(pod):
            return await self._end(pod)
        if pod_facts.terminal(pod) or self._ended_as:
            # It ended by itself, or somebody said so in its status: nothing runs, the address goes back.
            self._ended = self._ended or self.sandbox
            await self._take_down()
            if not pod_facts.terminal(pod):
                await self._report(pod)
            return False
        await self._bring_up(pod)
        await self._report(pod)
        return False

    async def _bring_up(self, pod: Pod) -> None:
        if time.monotonic() < self._attempt_at:
            return
        if self.sandbox is None or not self.sandbox.ips:
            await self._make_sandbox(pod)
            if self.sandbox is None or not self.sandbox.ips:
                return
        runtime = self._kubelet.runtime
        await runtime.wait_connected()
        if runtime.is_running(self.sandbox.container_id):
            if not self._probing:  # taken over from a predecessor
                self._start_probes(pod)
            return
        if self.sandbox.alive:
            self._note_exit(pod)
        if self._ended_as is None and time.monotonic() >= self._attempt_at:
            await self._start_responder(pod)

    async def _make_sandbox(self, pod: Pod) -> None:
        if self.sandbox is not None:  # one that failed, or that a predecessor was killed in the middle of
            await self._kubelet.sandboxes.tear_down(self.sandbox)
            self.sandbox = None
        metadata = pod["metadata"]
        sandbox = self._kubelet.sandboxes.new(
            self.uid, metadata["namespace"], metadata["name"], pod_facts.host_network(pod)
        )
        try:
            await self._kubelet.sandboxes.set_up(sandbox)
        except LabError as error:
            delay = self._setup_backoff.next()
            self._attempt_at = time.monotonic() + delay
            self._waiting = "ContainerCreating"
            level = "later" if isinstance(error, CniError) and error.code == 11 else "again"
            logger.warning("%s: %s; trying %s in %.1f s", self._name, error, level, delay)
            self.sandbox = sandbox  # undone as far as the plugin let it; the next attempt makes sure
            await self._kubelet.event(pod, "Warning", "FailedCreatePodSandBox", str(error))
            return
        self._setup_backoff.reset()
        self.sandbox = sandbox

    def _note_exit(self, pod: Pod) -> None:
        """The responder has ended: count it, and decide whether and when it starts again."""
        assert self.sandbox is not None
        status = self._exit if self._exit is not None else -9  # unseen, it can only have been killed
        self._exit = None
        self._stop_probes()
        self.sandbox.alive = False
        self.sandbox.last_exit = status
        policy = pod_facts.restart_policy(pod)
        if policy == "Never" or (policy == "OnFailure" and status == 0):
            self._ended_as = "Succeeded" if status == 0 else "Failed"
            self._wake.set()
        else:
            self.sandbox.restarts += 1
            if time.time() - self.sandbox.started > STABLE:
                self._restart_backoff.reset()
            delay = self._restart_backoff.next()
            if delay > 0.1:
                self._waiting = "CrashLoopBackOff"
                self._attempt_at = time.monotonic() + delay
        self._kubelet.sandboxes.save(self.sandbox)

    async def _start_responder(self, pod: Pod) -> None:
        assert self.sandbox is not None
        try:
            await self._kubelet.runtime.start(
                self.sandbox.container_id,
                pod_facts.key(pod),
                self.sandbox.netns_path,
                pod_facts.declared_ports(pod),
                alone=not self.sandbox.host_network,
            )
        except LabError as error:
            delay = self._setup_backoff.next()
            self._attempt_at = time.monotonic() + delay
            self._waiting = "CreateContainerError"
            logger.warning("%s: %s; trying again in %.1f s", self._name, error, delay)
            await self._kubelet.event(pod, "Warning", "Failed", str(error))
            return
        self.sandbox.started = time.time()
        self.sandbox.alive = True
        self._kubelet.sandboxes.save(self.sandbox)
        self._waiting = ""
        self._start_probes(pod)

    # -- readiness --------------------------------------------------------------------------------------
    def _start_probes(self, pod: Pod) -> None:
        self._stop_probes()
        self._probing = True
        for name, container, probe in pod_facts.readiness_probes(pod):
            if readiness.unsupported(probe):
                logger.warning("%s: %s", self._name, readiness.unsupported(probe))
                continue
            self._ready[name] = False
            self._probes.append(asyncio.create_task(self._probe(name, container, probe)))

    def _stop_probes(self) -> None:
        for task in self._probes:
            task.cancel()
        self._probes.clear()
        self._ready.clear()
        self._probing = False

    async def _probe(self, name: str, container: dict[str, Any], probe: dict[str, Any]) -> None:
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        succeeded = failed = 0
        while self.sandbox and self.sandbox.ips:
            if await readiness.check(container, probe, self.sandbox.ips[0]):
                succeeded, failed = succeeded + 1, 0
            else:
                succeeded, failed = 0, failed + 1
            now = self._ready.get(name, False)
            if not now and succeeded >= int(probe.get("successThreshold") or 1):
                now = True
            elif now and failed >= int(probe.get("failureThreshold") or 3):
                now = False
            if now != self._ready.get(name):
                self._ready[name] = now
                self._wake.set()
            await asyncio.sleep(float(probe.get("periodSeconds") or 10))

    # -- the end ----------------------------------------------------------------------------------------
    async def _end(self, pod: Pod) -> bool:
        """Deletion with a grace period: the responder first, then the network, then the object."""
        sandbox = self.sandbox
        runtime = self._kubelet.runtime
        await runtime.wait_connected()
        if sandbox and runtime.is_running(sandbox.container_id):
            if not self._stopping:
                self._stopping = True
                self._stop_probes()
                await self._report(pod)
                runtime.stop(sandbox.container_id, pod_facts.grace_seconds(pod))
            return False  # its exit wakes the task
        await self._take_down()
        metadata = pod["metadata"]
        try:
            await self._kubelet.client.delete(
                PODS.path(metadata["name"], metadata["namespace"]),
                {
                    "kind": "DeleteOptions",
                    "apiVersion": "v1",
                    "gracePeriodSeconds": 0,
                    "preconditions": {"uid": self.uid},
                },
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        return False  # the DELETED event ends the task: finalizers may hold the object a while

    async def _take_down(self) -> None:
        self._stop_probes()
        if self.sandbox is not None:
            self._kubelet.runtime.remove(self.sandbox.container_id)
            await self._kubelet.sandboxes.tear_down(self.sandbox)
            self.sandbox = None

    # -- status -----------------------------------------------------------------------------------------
    async def _report(self, pod: Pod) -> None:
        """Write the status if it differs from what the object says."""
        sandbox = self.sandbox or self._ended
        running = bool(self.sandbox and self._kubelet.runtime.is_running(self.sandbox.container_id))
        status = pod_status.build(
            pod,
            sandbox,
            running=running,
            ready=self._ready,
            host_ips=self._kubelet.config.addresses,
            phase=self._ended_as or ("Running" if sandbox and sandbox.started else "Pending"),
            waiting_reason=self._waiting,
            now=time.time(),
        )
        current = pod.get("status") or {}
        if all(current.get(name) == value for name, value in status.items()) or status == self._sent:
            return
        metadata = pod["metadata"]
        try:
            await self._kubelet.client.patch(
                PODS.path(metadata["name"], metadata["namespace"], "status"),
                {"metadata": {"uid": self.uid}, "status": status},
            )
            self._sent = status
        except ApiError as error:
            if error.status not in (404, 409):  # gone, or a namesake with another uid
                raise
