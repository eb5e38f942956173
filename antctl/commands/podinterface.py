"""``antctl get podinterface``: the OVS ports of the node's Pods."""

from __future__ import annotations

from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.output.table import render
from antctl.session import Session

HEADER = ("NAMESPACE", "NAME", "INTERFACE-NAME", "IP", "MAC", "PORT-UUID", "OF-PORT", "CONTAINER-ID")
SHORT_ID = 12  # longer container ids are cut, to one character less than this


def build(spec: Spec, mode: Mode) -> click.Command:
    options = [click.Option(["-n", "--namespace"], default="", help="only Pods of this Namespace")]
    return leaf(spec, mode, run, options=options, argument="name")


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    query = {**flags, **({"name": names[0]} if names else {})}
    interfaces = decode(session.get("/podinterfaces", query)) or []
    return write(interfaces, form, table)


def table(interfaces: list[dict[str, Any]]) -> str:
    if not interfaces:
        return "\n"
    return render(HEADER, [_row(interface) for interface in interfaces], sort=True)


def _row(interface: dict[str, Any]) -> tuple[str, ...]:
    container = interface.get("containerID", "")
    return (
        interface.get("podNamespace", ""),
        interface.get("name", ""),
        interface.get("interfaceName", ""),
        ", ".join(interface.get("ips") or ()),
        interface.get("mac", ""),
        interface.get("portUUID", ""),
        str(interface.get("ofPort", 0)),
        container[: SHORT_ID - 1] if len(container) > SHORT_ID else container,
    )
