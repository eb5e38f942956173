"""``antctl completion SHELL``: a script that lets the shell ask antctl how a word may end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from antctl.errors import CommandError

if TYPE_CHECKING:
    import click

SHELLS = ("bash", "fish", "zsh")


def variable(program: str) -> str:
    """The environment variable with which the script calls antctl."""
    return f"_{program}_COMPLETE".replace("-", "_").upper()


def asked(program: str) -> bool:
    return bool(os.environ.get(variable(program)))


def script(root: click.Command, program: str, words: Sequence[str]) -> str:
    """The script for a shell. Raises CommandError."""
    if len(words) != 1 or words[0] not in SHELLS:
        raise CommandError(f"name the shell: {program} completion {'|'.join(SHELLS)}")
    from click.shell_completion import get_completion_class

    found = get_completion_class(words[0])
    assert found is not None
    return found(root, {}, program, variable(program)).source()
