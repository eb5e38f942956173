"""The command line that every daemon has: a configuration file, a verbosity, a version.

_command = command.daemon("antrea-agent", "The agent of Antrea …", config.load, serve)

def main(arguments: Sequence[str] | None = None) -> None:
    command.run(_command, arguments)
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

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


def _log_files(command: Callable[..., int]) -> Callable[..., int]:
    """klog's flags for log files, under the names that manifests of Antrea give them."""
    for option in (
        click.option("--log_dir", "directory", default="", metavar="DIR", help="keep log files here"),
        click.option(
            "--logtostderr",
            "to_stderr",
            type=bool,
            default=True,
            help="log to stderr and not to files; false with --log_dir",
        ),
        click.option(
            "--alsologtostderr", "also_stderr", is_flag=True, help="log to stderr as well as to files"
        ),
        click.option(
            "--log_file_max_size", "megabytes", default=100, metavar="MB", help="of one log file; 0: no limit"
        ),
        click.option(
            "--log_file_max_num", "number", default=0, metavar="N", help="log files to keep; 0: all of them"
        ),
    ):
        command = option(command)
    return command


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
    @_log_files
    @click.version_option(version.FULL, prog_name=name, message="%(prog)s %(version)s")
    def command(path: str, verbosity: int, **files: Any) -> int:
        log.setup(verbosity)
        try:
            log.to_files(name, log.Files(**files))
        except OSError as error:
            click.echo(f"{name}: --log_dir {files['directory']} cannot be written to: {error}", err=True)
            return 1
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
