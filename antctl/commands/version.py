"""``antctl version``: antctl's own and that of the process or cluster asked."""

from __future__ import annotations

from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.session import Session
from runtime.version import FULL

CONTROLLER_INFO = "/apis/system.antrea.io/v1beta1/controllerinfos/antrea-controller"
_KEYS = {
    "agent": "agentVersion",
    "controller": "controllerVersion",
    "flowaggregator": "flowAggregatorVersion",
}


def build(spec: Spec, mode: Mode) -> click.Command:
    return leaf(spec, mode, run, output="yaml", text="Print the version of antctl and of ${component}")


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    try:
        server = _server_version(session)
    except CommandError as error:
        raise CommandError(str(error), output=f"antctlVersion: {FULL}\n") from error
    value = {_KEYS[session.mode.component]: server, "antctlVersion": FULL}
    return write(value, form, _table)


def _server_version(session: Session) -> str:
    if session.mode.letter in ("A", "F"):
        document = decode(session.get("/version"))
        version = str(document.get("gitVersion", ""))
        if document.get("gitCommit"):
            version += f"-{document['gitCommit']}"
        if document.get("gitTreeState"):
            version += f".{document['gitTreeState']}"
        return version
    return str(decode(session.resource(CONTROLLER_INFO)).get("version", ""))


def _table(value: dict[str, Any]) -> str:
    from antctl.output.table import generic

    return generic([value])
