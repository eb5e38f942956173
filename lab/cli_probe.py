"""antrea-lab matrix, probe and exec: the commands that enter pods and nodes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence

import click

from lab import matrix as matrices
from lab.console import existing, name_option, out, reporting
from lab.errors import LabError
from lab.handle import Lab
from lab.inventory import LabPod, find, port_number, probe_between
from lab.nodes import netns
from lab.probing import Probe, Prober
from lab.probing.model import PROTOCOLS
from lab.probing.prober import DEFAULT_TIMEOUT

_protocol = click.option(
    "--protocol", "-T", type=click.Choice(PROTOCOLS, case_sensitive=False), default="TCP", show_default=True
)
_timeout = click.option(
    "--timeout", default=DEFAULT_TIMEOUT, show_default=True, help="Seconds until silence counts as dropped."
)
_family = click.option(
    "--ip-family",
    type=click.Choice(["ipv4", "ipv6"]),
    default=None,
    help="Default: what the lab has, IPv4 first.",
)


def _version(lab: Lab, family: str | None) -> int:
    if family is None:
        return 6 if lab.directory.facts().family == "ipv6" else 4
    return 6 if family == "ipv6" else 4


async def _pods(lab: Lab, namespaces: Sequence[str] = ()) -> list[LabPod]:
    if not lab.directory.facts().with_nodes:
        raise LabError(
            "this lab has only the control plane (--nodes 0) and runs no pods; make one with nodes"
        )
    async with lab.client() as client:
        return await lab.pods(client, namespaces)


@click.command()
@name_option
@click.option("--port", "-p", default="80", show_default=True, help="A number, or a name that pods declare.")
@_protocol
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Only pods of these namespaces.")
@_family
@_timeout
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@reporting
def matrix(
    name: str,
    port: str,
    protocol: str,
    namespaces: tuple[str, ...],
    ip_family: str | None,
    timeout: float,
    output: str,
) -> None:
    """Who reaches whom, by real packets between all pods."""
    lab = existing(name)
    pods = asyncio.run(_pods(lab, namespaces))
    if not pods:
        where = f" in {', '.join(namespaces)}" if namespaces else ""
        raise LabError(f"no pods run{where} (yet); apply some: antrea-lab apply -f FILE")
    with Prober(lab.directory.probe_ports) as prober:
        measured = matrices.measure(
            prober, pods, pods, port, protocol.upper(), _version(lab, ip_family), timeout
        )
    if output == "json":
        click.echo(json.dumps(measured.json(), indent=2))
        return
    if not measured.cells:
        version = _version(lab, ip_family)
        if port.isdigit():
            raise LabError(f"the running pods have no IPv{version} addresses; --ip-family chooses the other")
        raise LabError(f"no running pod with an IPv{version} address declares a {protocol} port {port!r}")
    out.print(measured.table())
    out.print(measured.legend())


@click.command()
@name_option
@click.option("-n", "--namespace", default="default", show_default=True, help="Of pods named without one.")
@_protocol
@_family
@_timeout
@click.option("--count", "-c", default=1, show_default=True, help="How many probes, one after the other.")
@click.argument("source")
@click.argument("destination", metavar="DESTINATION:PORT")
@reporting
def probe(
    name: str,
    namespace: str,
    protocol: str,
    ip_family: str | None,
    timeout: float,
    count: int,
    source: str,
    destination: str,
) -> None:
    """Whether a pod (or node/NODE) reaches a pod or an address. Exit status 0: it does."""
    lab = existing(name)
    target, colon, port_text = destination.rpartition(":")
    if not colon or not target or not port_text:
        raise LabError(f"write the destination as POD:PORT or ADDRESS:PORT, not {destination!r}")
    pods = asyncio.run(_pods(lab))
    version = _version(lab, ip_family)
    chosen = _probe(lab, pods, source, target.strip("[]"), port_text, protocol.upper(), version, namespace)
    reached = True
    with Prober(lab.directory.probe_ports) as prober:
        for _ in range(count):
            result = prober.probe(chosen, timeout)
            reached = result.allowed
            detail = f" ({result.detail})" if result.detail else ""
            style = "green" if reached else "red"
            click.secho(
                f"{chosen}: {result.outcome.value}{detail} after {result.seconds * 1000:.1f} ms", fg=style
            )
    sys.exit(0 if reached else 1)


def _probe(
    lab: Lab,
    pods: list[LabPod],
    source: str,
    target: str,
    port_text: str,
    protocol: str,
    version: int,
    namespace: str,
) -> Probe:
    import ipaddress

    try:
        address: str | None = str(ipaddress.ip_address(target))
    except ValueError:
        address = None
    destination = None if address else find(pods, target, namespace)
    port = (
        destination.port(port_text, protocol)
        if destination
        else port_number(port_text)
        if port_text.isdigit()
        else None
    )
    if port is None:
        raise LabError(f"{target} declares no {protocol} port named {port_text!r}")
    if source.startswith("node/"):
        node = source.removeprefix("node/")
        lab.node_environment(node)  # says so if there is no such node
        path = str(lab.node_netns(node))
        reach = address or (destination.ip(version) if destination else None)
        if reach is None:
            raise LabError(f"{target} has no IPv{version} address")
        return Probe(source, path, reach, port, protocol, destination.key if destination else None)
    origin = find(pods, source, namespace)
    if address:
        assert origin.netns is not None
        owner = next((pod.key for pod in pods if address in pod.ips and not pod.host_network), None)
        return Probe(origin.key, origin.netns, address, port, protocol, owner)
    assert destination is not None
    found = probe_between(origin, destination, port, protocol, version)
    if found is None:
        raise LabError(f"{origin.key} and {destination.key} have no IPv{version} addresses both")
    return found


@click.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.argument("target", metavar="POD|node/NODE")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@reporting
def exec_(name: str, namespace: str, target: str, command: tuple[str, ...]) -> None:
    """Run a command of this machine in a pod's or a node's network namespace. On a node, the Open vSwitch
    tools mean that node's switch, and antctl speaks to its agent."""
    lab = existing(name)
    environment = dict(os.environ)
    if target.startswith("node/"):
        node = target.removeprefix("node/")
        environment.update(lab.node_environment(node))
        path = str(lab.node_netns(node))
    else:
        pod = find(asyncio.run(_pods(lab)), target, namespace)
        assert pod.netns is not None
        environment.update({"POD_NAMESPACE": pod.namespace, "HOSTNAME": pod.name})
        path = pod.netns
    # The project's own commands are found also when its environment is not activated.
    environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        netns.enter(path)
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - that is what exec is for
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not a command of this machine") from None
    except PermissionError:
        raise LabError("entering a namespace needs root") from None
