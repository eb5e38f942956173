"""The command line that every daemon has: a configuration file, a verbosity, a version.

_command = command.daemon("antrea-agent", "The agent of Antrea …", config.load, serve)

def main(arguments: Sequence[str] | None = None) -> None:
    command.run(_command, arguments)
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import click

from runtime import log, metrics, process, version
from runtime.errors import ConfigurationError
from runtime.tasks import Supervisor

logger = log.get("runtime.command")


class Settings(Protocol):
    """A configuration that has been checked."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to be logged once."""

    @property
    def source(self) -> str:
        """Where it comes from: a path, or "the defaults"."""


S = TypeVar("S", bound=Settings)


def daemon(
    name: str, about: str, load: Callable[[str], S], serve: Callable[[Supervisor, S], Awaitable[None]]
) -> click.Command:
    """A command that reads the configuration file and serves until it is stopped.

    ``load`` gets the path ("" for none) and raises ConfigurationError, whose sentence goes to stderr. The
    result of the command is the exit status of the process.
    """

    @click.command(name, help=about, context_settings={"help_option_names": ["-h", "--help"]})
    @click.option("--config", "path", default="", metavar="FILE", help=f"{name}.conf")
    @click.option("-v", "--v", "verbosity", default=0, metavar="N", help="log verbosity, as klog's")
    @click.version_option(version.FULL, prog_name=name, message="%(prog)s %(version)s")
    def command(path: str, verbosity: int) -> int:
        log.setup(verbosity)
        metrics.forget_default_registry()
        try:
            settings = load(path)
        except ConfigurationError as error:
            click.echo(f"{name}: {error}", err=True)
            return 1
        for note in settings.notes:
            logger.warning("%s", note)
        logger.info("%s %s starts with %s", name, version.FULL, settings.source)
        return process.run(name, lambda supervisor: serve(supervisor, settings))

    return command


def run(command: click.Command, arguments: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with its status."""
    sys.exit(command(args=arguments, standalone_mode=False) or 0)
