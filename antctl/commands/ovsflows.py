"""``antctl get ovsflows``: the flows and groups of the node's bridge, all or those of one object."""

from __future__ import annotations

from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.commands.networkpolicy import TYPES
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.output.table import render
from antctl.session import Session


def build(spec: Spec, mode: Mode) -> click.Command:
    options = [
        click.Option(["-n", "--namespace"], default="", help="the Namespace of the Pod, Service or policy"),
        click.Option(["-p", "--pod"], default="", help="the flows of a Pod of this node"),
        click.Option(["-S", "--service"], default="", help="the flows and groups of a Service"),
        click.Option(["-N", "--networkpolicy"], default="", help="the flows of a policy"),
        click.Option(["--type"], default="", help="the type of the policy: " + "|".join(TYPES)),
        click.Option(["-T", "--table"], default="", help="tables by name or number, separated by commas"),
        click.Option(["--table-names-only"], is_flag=True, help="only the names of the tables"),
        click.Option(["-G", "--groups"], default="", help="groups by id, separated by commas, or all"),
    ]
    return leaf(spec, mode, run, options=options)


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    if flags.get("type") and flags["type"] not in TYPES:
        raise CommandError(f"unsupported value {flags['type']} for flag type")
    flows = decode(session.get("/ovsflows", flags)) or []
    return write(flows, form, table)


def table(flows: list[dict[str, Any]]) -> str:
    if not flows:
        return "\n"
    return render(("",), [(flow.get("flow", ""),) for flow in flows])
