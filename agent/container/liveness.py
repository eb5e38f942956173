"""container_liveness_probe: whether the daemons of a container answer. Exit status 0 if all of them do."""

from __future__ import annotations

import subprocess
import sys

import click

PATIENCE = 8.0  # seconds for one daemon; kubelet gives the whole probe ten
DAEMONS = {"ovs": ("ovsdb-server", "ovs-vswitchd")}


def silent(daemon: str) -> str | None:
    """Why a daemon of Open vSwitch counts as dead, or None."""
    try:
        done = subprocess.run(
            ["ovs-appctl", "-t", daemon, "version"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{daemon} did not answer within {PATIENCE:g} s"
    except OSError as error:
        return f"ovs-appctl cannot be run: {error}"
    return None if done.returncode == 0 else f"{daemon} does not answer: {done.stderr.strip()}"


@click.command("container_liveness_probe", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("container", type=click.Choice(sorted(DAEMONS)))
def command(container: str) -> int:
    """Ask the daemons of CONTAINER whether they are alive."""
    for daemon in DAEMONS[container]:
        if (problem := silent(daemon)) is not None:
            click.echo(f"container_liveness_probe: {problem}", err=True)
            return 1
    return 0


def main() -> None:
    try:
        sys.exit(command(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
