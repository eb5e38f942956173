"""antrea-lab: a Kubernetes cluster with pod network on one machine, for trying and testing policies."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.table import Table

from lab import apply as manifests
from lab.cli_probe import exec_, matrix, probe
from lab.console import existing, name_option, out, reporting, say
from lab.directory import DATAPATHS, FAMILIES, labs
from lab.errors import LabError
from lab.handle import Lab


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A Kubernetes API in memory and nodes made of network namespaces, each with its own Open vSwitch,
    under antrea-controller and antrea-agent: real policies, real packets, no cluster."""


@main.command()
@name_option
@click.option(
    "--nodes", default=2, show_default=True, help="How many nodes; 0: only the control plane, no root."
)
@click.option("--ip-family", type=click.Choice(FAMILIES), default="ipv4", show_default=True)
@click.option(
    "--datapath",
    type=click.Choice(DATAPATHS),
    default="userspace",
    show_default=True,
    help="Which datapath of Open vSwitch; kernel needs the module openvswitch.",
)
@click.option(
    "-f", "--filename", "files", multiple=True, type=click.Path(path_type=Path), help="Manifests to apply."
)
@reporting
def up(name: str, nodes: int, ip_family: str, datapath: str, files: tuple[Path, ...]) -> None:
    """Bring a lab up and leave it running."""
    documents = manifests.read(files)  # a typo in a file name is told before anything is made
    lab = Lab(name)
    begun = time.monotonic()
    was_there = lab.directory.exists
    try:
        lab.up(nodes, ip_family, say, datapath=datapath)
    except Exception:
        if lab.directory.exists and not was_there:
            say(f"`antrea-lab down --name {name}` removes what there is of the lab")
        raise
    if documents:
        try:
            asyncio.run(_apply(lab, documents))
        except Exception:
            say(f"the lab {name!r} is up, but not all of the manifests are in it")
            raise
        if nodes:
            say("waiting for the pods")
            asyncio.run(_wait(lab))
    took = time.monotonic() - begun
    say(f"the lab {name!r} is up after {took:.1f} s; `antrea-lab down --name {name}` removes it")
    out.print(f"export KUBECONFIG={lab.kubeconfig}", highlight=False, soft_wrap=True)


async def _apply(lab: Lab, documents: list[manifests.Document], namespace: str = "default") -> None:
    async with lab.client() as client:
        applier = manifests.Applier(client, namespace)
        for document in documents:
            say(str(await applier.apply(document)))


async def _wait(lab: Lab) -> None:
    async with lab.client() as client:
        await lab.wait_pods_ready(client)


@main.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="Every lab of this user.")
@reporting
def down(name: str, everything: bool) -> None:
    """Remove a lab and all it made, in whatever state it is."""
    chosen = [Lab(directory.name) for directory in labs()] if everything else [existing(name)]
    if not chosen:
        say("there is no lab")
    for lab in chosen:
        report = lab.down(say)
        for command in report.killed:
            say(f"killed what was left: {command[:100]}")
        for namespace in report.spared:
            say(f"the network namespace {namespace} is not the one this lab made, and stays")
        say(f"the lab {lab.name!r} is gone")


@main.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="A line for every lab of this user.")
@reporting
def status(name: str, everything: bool) -> None:
    """What runs, since when, how often it was restarted."""
    if everything:
        table = Table("LAB", "STATE", "NODES", "API", box=None)
        for directory in labs():
            try:
                facts = Lab(directory.name).status()
                state = "ready" if facts["ready"] else facts["failed"] or "coming up"
                table.add_row(directory.name, state, str(len(facts["nodes"])), facts["api"])
            except LabError:
                table.add_row(directory.name, "[red]its supervisor is gone[/red]", "", "")
        out.print(table)
        return
    lab = existing(name)
    facts = lab.status()
    state = "ready" if facts["ready"] else facts["failed"] or "coming up"
    out.print(
        f"lab {facts['name']}: {state}, {facts['family']}, {facts['datapath']} datapath, API {facts['api']}",
        highlight=False,
        soft_wrap=True,
    )
    out.print(f"export KUBECONFIG={lab.kubeconfig}", highlight=False, soft_wrap=True)
    table = Table("PROCESS", "STATE", "PID", "UP", "RESTARTS", "MEMORY", box=None, header_style="cyan")
    age, memory = _age(time.time() - facts["started"]), f"{facts['memory']:.0f} MB"
    table.add_row("supervisor", "running", str(facts["pid"]), age, "", memory)
    for process in facts["processes"]:
        restarts = str(process["restarts"])
        if process["restarts"] and process["lastExit"]:
            restarts += f" ({process['lastExit']})"
        table.add_row(
            process["name"],
            process["state"],
            str(process["pid"] or ""),
            _age(process["uptime"]) if process["pid"] else "",
            restarts,
            f"{process['memory']:.0f} MB" if process["pid"] else "",
            style="" if process["state"] == "running" else "red",
        )
    out.print(table)
    if facts["ready"]:
        asyncio.run(_print_pods(lab))


async def _print_pods(lab: Lab) -> None:
    async with lab.client() as client:
        found = await lab.pods(client, everything=True)
    table = Table("POD", "NODE", "READY", "IP", "PORTS", box=None, header_style="cyan")
    for pod in found:
        ports = ", ".join(f"{number}/{protocol}" for protocol, number, _ in pod.ports)
        table.add_row(pod.key, pod.node, "yes" if pod.ready else "no", ", ".join(pod.ips), ports)
    if found:
        out.print(table)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.1f}h"


@main.group()
def node() -> None:
    """Nodes join and leave a running lab."""


@node.command("add")
@name_option
@click.argument("node_name", metavar="[NODE]", required=False)
@reporting
def node_add(name: str, node_name: str | None) -> None:
    """A node joins; without a name it gets the next number."""
    out.print(existing(name).add_node(node_name, say))


@node.command("remove")
@name_option
@click.argument("node_name", metavar="NODE")
@reporting
def node_remove(name: str, node_name: str) -> None:
    """A node leaves, its pods are deleted."""
    existing(name).remove_node(node_name, say)


@main.command("apply")
@name_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
)
@reporting
def apply_(name: str, namespace: str, files: tuple[Path, ...]) -> None:
    """Create or merge objects from manifests, as kubectl would (- is stdin)."""
    documents: list[manifests.Document] = []
    for file in files:
        documents += (
            manifests.parse(sys.stdin.read(), "stdin") if str(file) == "-" else manifests.read([file])
        )
    asyncio.run(_apply(existing(name), documents, namespace))


@main.command()
@name_option
@click.argument("process", required=False)
@click.option("-n", "lines", default=30, show_default=True, help="How many lines from the end.")
@reporting
def logs(name: str, process: str | None, lines: int) -> None:
    """The end of a process's log, such as node-1/antrea-agent; without a name, the supervisor's."""
    lab = existing(name)
    path = Path(lab.process(process)["log"]) if process else lab.directory.supervisor_log
    for line in path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []:
        click.echo(line)


@main.command()
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards.")
@reporting
def demo(keep: bool) -> None:
    """Two nodes, a policy, what it does to packets, and how fast."""
    from lab.demo import run

    sys.exit(run(keep))


main.add_command(matrix)
main.add_command(probe)
main.add_command(exec_)

if __name__ == "__main__":
    main()
