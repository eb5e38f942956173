"""``antctl supportbundle``: an archive of what the controller knows, says and logs; what the cluster runs.

Agents collect no bundles in this version: where upstream would ask them, it is said that they are missing.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click

from antctl import clusterinfo
from antctl.bundle import collect
from antctl.cli import leaf
from antctl.commands import Spec
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.session import Session

NO_AGENTS = "agents collect no support bundles in this version of antrea-py yet"


def build(spec: Spec, mode: Mode) -> click.Command:
    since = click.Option(["--since"], default="", metavar="DURATION", help="only logs that are not older")
    if mode.in_pod:
        return leaf(spec, mode, _in_the_pod, options=[since], output=None)
    options = [
        since,
        click.Option(["-d", "--dir"], default="", help="where to; default ./support-bundles_TIME"),
        click.Option(["--controller-only"], is_flag=True, help="do not ask for those of the agents"),
        click.Option(["-l", "--label-selector"], default="", help="the agents of Nodes with these labels"),
        click.Option(["-f", "--node-list-file"], default="", help="the agents of the Nodes in this file"),
        click.Option(
            ["--insecure"], is_flag=True, help="without effect: it comes through the Kubernetes API"
        ),
    ]
    return leaf(spec, mode, _remote, options=options, output=None)


def _in_the_pod(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    if names:
        raise CommandError(f'unknown command "{names[0]}" for "antctl supportbundle"')
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = Path(tempfile.gettempdir(), f"bundle_controller_{stamp}.tar.gz")
    collect(session, target, flags.get("since", ""))
    return f"Created bundle under {target}\n"


def _remote(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    chosen = names or flags.get("label-selector") or flags.get("node-list-file")
    if chosen and "controller-only" not in flags:
        raise CommandError(f"{NO_AGENTS}: ask for that of the controller with --controller-only")
    stamp = time.strftime("%Y%m%dT%H%M%S%z")
    directory = Path(flags.get("dir") or f"support-bundles_{stamp}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"error when creating output dir: {error}") from error
    collect(session, directory / "controller.tar.gz", flags.get("since", ""))
    text, problems = clusterinfo.document(session)
    try:
        with open(
            os.open(directory / "clusterinfo", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{directory / 'clusterinfo'} cannot be written: {error}") from error
    for problem in problems:
        click.echo(problem, err=True)
    if "controller-only" not in flags:
        click.echo(f"Without bundles of Nodes: {NO_AGENTS}.", err=True)
    return f"Created bundle under {directory}\n"
