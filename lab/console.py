"""How the lab's commands speak: results on stdout, everything else on stderr."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from client.errors import ApiError, ConnectionFailed
from lab.errors import LabError
from lab.handle import Lab

P = ParamSpec("P")
T = TypeVar("T")

# Without a terminal (a pipe, CI) nobody's window is too narrow for a table.
out = Console(width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, width=None if sys.stderr.isatty() else 140)


def say(text: str) -> None:
    """A step that was taken."""
    err.print(f"[dim]·[/dim] {escape(text)}", highlight=False, soft_wrap=True)


def reporting(function: Callable[P, T]) -> Callable[P, T]:
    """Turn the errors that a user can do something about into a sentence and exit status 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (LabError, ApiError, ConnectionFailed) as error:
            err.print("[red]antrea-lab:[/red]", escape(str(error)), highlight=False, soft_wrap=True)
            sys.exit(1)
        except KeyboardInterrupt:
            err.print("interrupted")
            sys.exit(130)

    return wrapped


def name_option(function: Callable[P, T]) -> Callable[P, T]:
    return click.option(
        "--name", default="lab", envvar="ANTREA_LAB", show_default=True, help="Which lab (also ANTREA_LAB)."
    )(function)


def existing(name: str) -> Lab:
    """The lab of this name. Raises LabError if there is none."""
    lab = Lab(name)
    lab.directory.facts()
    return lab
