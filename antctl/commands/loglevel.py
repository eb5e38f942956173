"""``antctl log-level [N]``: show or set how much the process in this Pod logs."""

from __future__ import annotations

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.session import Session


def build(spec: Spec, mode: Mode) -> click.Command:
    return leaf(
        spec,
        mode,
        run,
        argument="level",
        output="yaml",
        text="Show or set log verbosity level of ${component}",
    )


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    body = session.get("/loglevel", {"level": names[0]} if names else None)
    if not body.strip():
        return ""
    return write(decode(body), form, lambda value: f"{value}\n")
