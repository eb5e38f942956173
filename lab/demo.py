"""What `make demo` runs: two nodes, six pods, one NetworkPolicy, and what becomes of packets.

    python -m lab.demo [--keep]

It says what it does while it does it, and ends with status 1 if any cell of a matrix is not what the
policy says. What the policy says is written down here cell by cell, not computed by the code under test.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import yaml
from rich.panel import Panel
from rich.syntax import Syntax

from client.errors import ApiError, ConnectionFailed
from client.resources import NETWORK_POLICIES
from client.rest import RestClient
from lab import apply, matrix, pods
from lab.console import err, out
from lab.directory import labs
from lab.errors import LabError
from lab.flowmonitor import FlowMonitor
from lab.handle import Lab
from lab.inventory import LabPod, probe_between
from lab.probing import Prober
from lab.supervisor.plan import script

PODS = (
    pods.pod("shop/frontend", {"app": "frontend"}, node="node-1"),
    pods.pod("shop/backend", {"app": "backend"}, node="node-2"),
    pods.pod("shop/database", {"app": "database"}, node="node-1"),
    pods.pod("monitoring/scraper", {"app": "scraper"}, node="node-2"),
    pods.pod("guests/browser", {"app": "browser"}, node="node-1"),
    pods.pod("guests/scanner", {"app": "scanner"}, node="node-2"),
)
NAMES = tuple(f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in PODS)

POLICY_TEXT = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: database
  namespace: shop
spec:
  podSelector:
    matchLabels: {app: database}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector: {matchLabels: {app: backend}}
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
      ports: [{protocol: TCP, port: 80}]
  egress: []
"""
POLICY: dict[str, Any] = yaml.safe_load(POLICY_TEXT)

# Without a policy everybody reaches everybody.
BEFORE = {source: dict.fromkeys(NAMES, True) for source in NAMES}
# With it, two may speak to the database, and it speaks to nobody (a pod always reaches itself).
MAY_REACH_DATABASE = ("shop/backend", "monitoring/scraper", "shop/database")
AFTER = {
    source: {
        destination: (
            source in MAY_REACH_DATABASE
            if destination == "shop/database"
            else source != "shop/database" or destination == source
        )
        for destination in NAMES
    }
    for source in NAMES
}
RATE = 200.0  # probes per second that look for the moment of enforcement


def step(text: str) -> None:
    err.print(f"[bold cyan]▸[/bold cyan] {text}", highlight=False)


def detail(text: str) -> None:
    err.print(f"  [dim]{text}[/dim]", highlight=False)


class Demo:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.wrong: list[str] = []

    async def run(self) -> None:
        async with self.lab.client() as client:
            step("six pods in three namespaces, through the Kubernetes API")
            names = dict.fromkeys(p["metadata"]["namespace"] for p in PODS)
            await apply.apply_all(client, [*map(pods.namespace, names), *PODS])
            running = await self.lab.wait_pods_ready(client, NAMES)
            for pod in running:
                detail(f"{pod.key} on {pod.node}: {', '.join(pod.ips)}")
            with Prober(self.lab.directory.probe_ports) as prober:
                step("who reaches whom on TCP 80, by real packets, before any policy")
                self._matrix(prober, running, BEFORE)
                step("a NetworkPolicy through the ordinary Kubernetes API")
                out.print(
                    Panel(Syntax(POLICY_TEXT.rstrip(), "yaml", background_color="default"), expand=False)
                )
                await self._apply_and_time(client, prober, running)
                step("who reaches whom now")
                self._matrix(prober, running, AFTER)
            self._show("the policy as antctl sees it", ["antctl", "get", "networkpolicy"], None)
            self._show_flows(running)

    def _matrix(self, prober: Prober, running: list[LabPod], expected: dict[str, dict[str, bool]]) -> None:
        measured = matrix.measure(prober, running, running, 80, "TCP", timeout=2.0)
        out.print(measured.table(expected))
        out.print(measured.legend())
        wrong = measured.differences(expected)
        self.wrong += wrong
        cells = sum(map(len, expected.values()))
        if wrong:
            err.print(
                f"  [bold red]{len(wrong)} of {cells} cells are wrong[/bold red]: {'; '.join(wrong[:5])}"
            )
        else:
            detail(f"all {cells} cells are what the policy says ({measured.seconds:.2f} s)")

    async def _apply_and_time(self, client: RestClient, prober: Prober, running: list[LabPod]) -> None:
        """Apply the policy while one denied pair is probed and the node's flows are watched."""
        by_key = {pod.key: pod for pod in running}
        probe = probe_between(by_key["guests/browser"], by_key["shop/database"], 80, "TCP", 4)
        assert probe is not None
        node = by_key["shop/database"].node
        with FlowMonitor(self.lab.directory.node(node).ovs) as monitor:
            stream = prober.stream(probe, rate=RATE, timeout=0.3)
            await asyncio.sleep(0.5)
            sent = time.monotonic()
            await client.create(NETWORK_POLICIES.path(namespace="shop"), POLICY)
            answered = time.monotonic()
            await asyncio.to_thread(monitor.wait_event, sent, 10.0)
            last = await asyncio.to_thread(monitor.wait_quiet, 0.3, 10.0)
            await asyncio.sleep(0.8)
            stream.stop()
        denied = [result.sent_at for result in stream.results(sent) if not result.passed]
        allowed = [result.sent_at for result in stream.results(sent) if result.passed]
        if last is None or not denied:
            self.wrong.append("the policy was not enforced within 10 s")
            return
        flows = len(monitor.events(sent))
        first_denied = next((at for at in denied if not allowed or at > max(allowed)), denied[0])
        step("from the API's answer to enforcement")
        detail(f"the API answered after {(answered - sent) * 1000:.1f} ms")
        in_ovs, treated = (last - answered) * 1000, (first_denied - answered) * 1000
        out.print(
            f"  [bold]{in_ovs:+.1f} ms[/bold]: the last of {flows} flow changes is in OVS on {node}, "
            "says its flow monitor",
            highlight=False,
        )
        out.print(
            f"  [bold]{treated:+.1f} ms[/bold]: the first packet treated by the policy "
            f"(one probe each {1000 / RATE:.0f} ms)",
            highlight=False,
        )

    def _show(self, title: str, command: list[str], node: str | None) -> str:
        step(title)
        detail(("antrea-lab exec node/" + node + " -- " if node else "") + " ".join(command))
        argv = [script(command[0]), *command[1:]]
        if node:
            done = self.lab.run_on_node(node, argv, check=False)
        else:
            environment = {**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)}
            done = subprocess.run(
                argv, env=environment, capture_output=True, text=True, timeout=30, check=False
            )
        if done.returncode:
            self.wrong.append(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
            err.print(f"  [red]{done.stderr.strip()}[/red]", highlight=False)
        out.print(done.stdout.rstrip(), highlight=False, markup=False, soft_wrap=True)
        return done.stdout

    def _show_flows(self, running: list[LabPod]) -> None:
        node = next(pod.node for pod in running if pod.key == "shop/database")
        text = self._show(
            f"the flows that carry it, on {node}",
            ["antctl", "get", "ovsflows", "--networkpolicy", "database", "-n", "shop"],
            node,
        )
        if "conjunction" not in text and "conj_id" not in text:
            self.wrong.append(f"antctl shows no conjunctive flows of the policy on {node}")


def _free_name() -> str:
    taken = {directory.name for directory in labs()}
    return next(name for i in range(1, 1000) if (name := "demo" if i == 1 else f"demo{i}") not in taken)


def run(keep: bool = False) -> int:
    """The whole demonstration; the exit status."""
    begun = time.monotonic()
    lab = Lab(_free_name())
    demo = Demo(lab)
    status = 1
    try:
        step("a lab of two nodes: network namespaces, each with its own Open vSwitch")
        lab.up(2, "ipv4", detail)
        asyncio.run(demo.run())
        status = 1 if demo.wrong else 0
    except (LabError, ApiError, ConnectionFailed, subprocess.SubprocessError) as error:
        err.print(f"[bold red]the demo failed:[/bold red] {error}", highlight=False, soft_wrap=True)
        _show_logs(lab)
    finally:
        if keep:
            out.print(f"export KUBECONFIG={lab.kubeconfig}", highlight=False, soft_wrap=True)
        elif lab.directory.exists:
            step("cleaning up")
            lab.down(detail)
    for sentence in demo.wrong:
        err.print(f"[bold red]wrong:[/bold red] {sentence}", highlight=False, soft_wrap=True)
    verdict = (
        "[bold green]all as the policy says[/bold green]"
        if status == 0
        else "[bold red]not as it should be[/bold red]"
    )
    err.print(f"{verdict}, {time.monotonic() - begun:.0f} s in all", highlight=False)
    return status


def _show_logs(lab: Lab) -> None:
    """The ends of the logs of what was restarted: where the cause is most likely told."""
    try:
        processes = lab.status()["processes"]
    except LabError:
        return
    for process in processes:
        if process["restarts"] or process["state"] != "running":
            err.print(f"[dim]— {process['name']} ({process['lastExit']}):[/dim]")
            try:
                with open(process["log"], errors="replace") as log:
                    for line in log.readlines()[-5:]:
                        err.print(f"  {line.rstrip()}", highlight=False, markup=False)
            except OSError:
                continue


if __name__ == "__main__":
    sys.exit(run("--keep" in sys.argv))
