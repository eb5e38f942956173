"""``antctl get featuregates``: which features are on, in the agents and in the controller."""

from __future__ import annotations

import json
from typing import Any

import click

from antctl.cli import FORMATS, leaf
from antctl.commands import Spec
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.session import Session

AGGREGATED = "/apis/system.antrea.io/v1beta1/controllerinfos/antrea-controller/featuregates"
CONNECT_TIMEOUT = 5.0  # seconds for an address that may not answer at all
TITLES = {
    "agent": "Antrea Agent Feature Gates",
    "agent-windows": "Antrea Agent Feature Gates (Windows)",
    "controller": "Antrea Controller Feature Gates",
}


def build(spec: Spec, mode: Mode) -> click.Command:
    # Upstream's command has no -o; and it lets words stand behind it, which ``output=None`` keeps.
    options = [click.Option(["-o", "--output"], default="table", metavar="FORMAT", help="|".join(FORMATS))]
    if mode.letter == "R":
        options.append(
            click.Option(["--insecure"], is_flag=True, help="do not verify the controller's certificate")
        )
    return leaf(spec, mode, run, options=options, output=None)


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    return write(decode(_gates(session, "insecure" in flags)), form, render)


def _gates(session: Session, insecure: bool) -> bytes:
    """What the server of this mode says, a list of (component, name, status, version) as JSON. Raises
    CommandError."""
    if session.mode.in_pod:
        return _fetch(session, None)
    from antctl import controller

    session.timeout = session.timeout or CONNECT_TIMEOUT
    try:
        return _fetch(session, controller.direct(session, insecure=insecure))
    except CommandError as error:
        # The controller's own address may be out of reach from here; antrea-py's answers through the
        # Kubernetes API too.
        try:
            return session.resource(AGGREGATED)
        except CommandError:
            raise error from None


def _fetch(session: Session, endpoint: Any) -> bytes:
    from antctl.transport import TransportError

    try:
        answer = session.request("/featuregates", endpoint=endpoint, accept="*/*")
    except TransportError as error:
        raise CommandError(f"error when requesting feature gates list: {error}") from error
    if answer.status >= 400:
        text = json.dumps(answer.text.strip())
        raise CommandError(
            f"error when requesting feature gates list: the server answered {answer.status} ({text})"
        )
    return answer.body


def render(gates: list[dict[str, str]]) -> str:
    """One section per component; the Windows and the controller's section begin with a blank line."""
    text = ""
    for component, title in TITLES.items():
        rows = [gate for gate in gates if gate["component"] == component]
        if not rows:
            continue
        name_width = max(len("FEATUREGATE"), *(len(gate["name"]) for gate in rows)) + 5
        status_width = max(len("STATUS"), *(len(gate["status"]) for gate in rows)) + 5
        if component != "agent":
            text += "\n"
        text += f"{title}\n{'FEATUREGATE':{name_width}}{'STATUS':{status_width}}VERSION\n"
        for gate in rows:
            text += f"{gate['name']:{name_width}}{gate['status']:{status_width}}{gate['version']}\n"
    return text
